"""One target's thread: reads on from where the target is, delivers, notes how far it came, waits and tries again."""

import random
import threading
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import assert_never

import msgspec

from pgguard.audit.follow import Follower, Position
from pgguard.audit.settings import OtlpTarget, StdoutTarget, SyslogTarget, Target
from pgguard.audit.shipping.otlp import OtlpSink
from pgguard.audit.shipping.sink import Sink, is_head, time_of
from pgguard.audit.shipping.status import Status, StatusFile
from pgguard.audit.shipping.stdout import StdoutSink
from pgguard.audit.shipping.syslog import SyslogSink

_BATCH = 256 << 10
_POLL_SECONDS = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0


def sink_of(target: Target) -> Sink:
    match target:
        case StdoutTarget():
            return StdoutSink()
        case SyslogTarget():
            return SyslogSink(target)
        case OtlpTarget():
            return OtlpSink(target)
        case _:
            assert_never(target)


class Shipper:
    """`tell` takes what the operator should know, a line each. `run` ends when `ending` is set and all is delivered,
    or the target fails then.
    """

    def __init__(self, log: Path, target: Target, tell: Callable[[str], None]) -> None:
        self._log = log
        self._target = target
        self._sink = sink_of(target)
        self._tell = tell
        self._status = StatusFile(log, target.name)
        self._pause = _FIRST_PAUSE
        self._delivered: deque[tuple[Position | None, int]] = deque()
        """The latest batches, oldest first: where each begins, and its bytes."""
        self._trouble = ""

    def run(self, ending: threading.Event) -> None:
        with closing(self._status):
            while not self._status.take():  # another process of this log ships; it may end
                if ending.wait(_POLL_SECONDS):
                    return
            with closing(Follower(self._log, self._status.read().position)) as follower, closing(self._sink):
                self._ship(follower, ending)

    def _ship(self, follower: Follower, ending: threading.Event) -> None:
        while True:
            last = ending.is_set()  # before the look that finds nothing more
            try:
                idle = not self._step(follower)
            except (OSError, EOFError, zlib.error) as error:
                self._failed(follower, error)
                if ending.wait(self._pause * random.uniform(0.75, 1.25)):  # noqa: S311  # spreads, hides nothing
                    return
                continue
            if idle and last:
                return
            if idle:
                ending.wait(_POLL_SECONDS)

    def _step(self, follower: Follower) -> bool:
        """Deliver the next records; whether there were any."""
        began, gaps = follower.position, follower.gaps
        lines = follower.read(_BATCH)
        if follower.gaps > gaps:
            self._tell(f'records are missing for "{self._target.name}": files were removed before they were shipped')
        if not lines:
            self._look_after()
            self._write(follower.position)
            return False
        self._write(began, since=time_of(lines[0]))
        wanted = [line for line in lines if self._target.records == "all" or is_head(line)]
        if wanted:
            self._sink.open()
            for complaint in self._sink.deliver(wanted):
                self._tell(f'"{self._target.name}" refuses what then stands in the file alone: {complaint}')
        self._remember(began, sum(map(len, wanted)))
        self._recovered()
        self._write(follower.position, since=time_of(lines[-1]))
        return True

    def _look_after(self) -> None:
        """While there is nothing to send: notice a connection that broke, and one that can be made again."""
        self._sink.check()
        if self._trouble:
            self._sink.open()
            self._recovered()

    def _failed(self, follower: Follower, error: Exception) -> None:
        """Go back to before what may be lost, and wait longer each time."""
        self._sink.close()
        follower.go_to(self._delivered[0][0] if self._delivered else self._status.read().position)
        self._delivered.clear()
        words = str(error) or type(error).__name__
        if not self._trouble:
            self._tell(f'"{self._target.name}" does not take records, which wait in the file: {words}')
            self._pause = _FIRST_PAUSE
        else:
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self._trouble = words
        since = self._status.read().since
        self._write(follower.position, since=since)

    def _recovered(self) -> None:
        if self._trouble:
            self._tell(f'"{self._target.name}" takes records again')
        self._trouble = ""

    def _remember(self, began: Position | None, size: int) -> None:
        """Keep as many of the latest batches as may be lost with the connection."""
        self._delivered.append((began, size))
        total = sum(size for _, size in self._delivered)
        while self._delivered and total - self._delivered[0][1] >= self._sink.unsure:
            total -= self._delivered.popleft()[1]

    def _write(self, position: Position | None, since: str = "") -> None:
        self._status.write(Status(position, since, self._trouble))


def try_target(target: Target) -> None:
    """Connect as the shipper does, and send an OpenTelemetry collector a request without records. Raises OSError."""
    sink = sink_of(target)
    try:
        sink.open()
        if isinstance(target, OtlpTarget):
            sink.deliver(())
    finally:
        sink.close()


def settings_line(log: Path, targets: tuple[Target, ...]) -> bytes:
    """What the shipping process reads first."""
    return msgspec.json.encode((str(log), targets), enc_hook=str) + b"\n"
