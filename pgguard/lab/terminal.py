"""A program at a terminal of its own: psql as a person sees it, with banner, prompts and echo.

Theory of operation. The program runs on the far side of a pseudo-terminal (pty(7)), so it is as interactive as it ever
is. `enter` sends a line and returns what appeared on the screen until the prompt came back: the prompt is the only
synchronisation there is, but for a program that waits, and says so (`until`).
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from pgguard.lab.errors import LabError

PSQL = ("psql", "--no-psqlrc", "--no-readline", "--pset=pager=off")
PSQL_PROMPT = re.compile(r"^\S+[=\-'(][*!?]?[>#] $", re.MULTILINE)
"""psql's %/%R%x%#: `shop=> `; `shop=*> ` in a transaction, `shop=!> ` once it failed."""

_ROWS, _COLUMNS = 50, 110


class Terminal:
    """One program until the end of the `with`."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        prompt: re.Pattern[str] = PSQL_PROMPT,
        patience: float = 30.0,
    ) -> None:
        self._prompt = prompt
        self._patience = patience
        self._screen, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self._popen = subprocess.Popen(
            command,
            stdin=far,
            stdout=far,
            stderr=far,
            env={**os.environ, **environment, "TERM": "dumb"},
            start_new_session=True,
        )
        os.close(far)

    def until_prompt(self) -> str:
        """What appears until the program asks for input again, or ends."""
        return self._until(lambda text: self._prompt.search(_last_line(text)) is not None, "prompt")

    def until(self, wanted: str) -> str:
        """What appears until this pattern has, and the line in which it stands is whole."""
        return self._until(lambda text: re.search(rf"{wanted}[^\n]*\n", text) is not None, f'"{wanted}"')

    def _until(self, enough: Callable[[str], bool], what: str) -> str:
        shown = b""
        deadline = time.monotonic() + self._patience
        while not enough(text := shown.decode(errors="replace")):
            if not select.select([self._screen], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise LabError(f"no {what} after {self._patience:.0f} s; the terminal shows:\n{text}")
            try:
                read = os.read(self._screen, 65536)
            except OSError:  # EIO: the program has closed its side
                read = b""
            if not read:
                self._popen.wait()
                break
            shown += read
        return shown.decode(errors="replace").replace("\r\n", "\n")

    def enter(self, line: str) -> str:
        """Type a line; returns all that appears after it, its echo and the next prompt included."""
        self.write_line(line)
        return self.until_prompt()

    def write_line(self, line: str) -> None:
        os.write(self._screen, f"{line}\n".encode())

    def press_interrupt(self) -> None:
        """Ctrl-C."""
        os.write(self._screen, b"\x03")

    @property
    def ended_with(self) -> int | None:
        return self._popen.poll()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._screen)  # hangs the terminal up: psql ends
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            self._popen.send_signal(signal.SIGKILL)
            self._popen.wait()


def _last_line(text: str) -> str:
    return text[text.rfind("\n") + 1 :]
