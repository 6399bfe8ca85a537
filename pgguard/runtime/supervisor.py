"""Several workers on one port: started, restarted when they die, replaced, and ended in order.

Theory of operation. The supervisor alone accepts, and hands each connection to a worker (reception.py); it sees no byte
of a session. What workers share beyond files goes through it (switchboard.py). It rotates and ships the audit log
that they write together, and holds the lock of the file in which they keep their holds.

A worker that dies takes its sessions along and is replaced, at once the first time, after a growing pause when it goes
on dying. One that does not answer for long is killed: its event loop does not turn any more. SIGUSR2 replaces all
workers by new ones, which have the code and the configuration of that moment, while the old ones let their sessions
end; connections are accepted all the time.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec

from pgguard.audit.log import AuditLog
from pgguard.audit.upkeep import keep_up
from pgguard.holds.sqlite_store import claim
from pgguard.runtime.config import MAX_WORKERS, Config, ConfigError, load_config
from pgguard.runtime.entrance import open_sockets
from pgguard.runtime.hold_store import hold_file, node_name
from pgguard.runtime.house import timestamp
from pgguard.runtime.member import Member, start_member
from pgguard.runtime.metrics import exposition
from pgguard.runtime.orders import Order, Ready, Reload
from pgguard.runtime.reception import Reception
from pgguard.runtime.shipping import Shipping
from pgguard.runtime.switchboard import Switchboard
from pgguard.runtime.watch_page import WatchPage

_log = logging.getLogger(__name__)

_PULSE_SECONDS = 2.0
_SILENT_SECONDS = 30.0
"""A worker that has not answered for so long is killed."""

_STEADY_SECONDS = 60.0
"""A worker that has lived for so long is not one that goes on dying."""

_LONGEST_PAUSE = 30.0
_LAST_SECONDS = 15.0
"""What workers get beyond their drain time, before they are killed."""


class WorkerFailed(Exception):  # noqa: N818  # it says what happened
    """A worker ended before it was ready; it has said itself why."""


class Supervisor:
    """`path`: of the configuration, read again for SIGUSR2. `options`: of the command, for the workers too."""

    def __init__(self, config: Config, path: Path, options: tuple[str, ...]) -> None:
        self._config = config
        self._path = path
        self._command = ("serve", "--config", str(path), *options)
        self._board = Switchboard(config.limits)
        self._reception = Reception((), self._board.serving)
        self._ending = asyncio.Event()
        self._replacing = True
        """Workers are started in the place of others, or the first ones are."""
        self._deaths = 0
        """Of workers, in a row, that had not lived for long."""
        self._lives: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._audit = AuditLog(config.audit, timestamp())
        self._watch_page: WatchPage | None = None
        self._shipping = Shipping(config.audit)

    async def start(self) -> None:
        """Raises WorkerFailed, StoreUnavailable, OSError."""
        # clients are served by the first worker already: an early signal must not end the process
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, self._replace_all)
        if self._config.metrics is not None:
            self._watch_page = WatchPage(self._config.metrics, self._page, self._troubles)
            await self._watch_page.start()
        self._reception = Reception(await open_sockets(self._config.listen, os.environ), self._board.serving)
        if self._config.holds.store == "sqlite":
            claim(hold_file(self._config))  # for as long as this process lives
        await self._start_worker()  # what keeps one from starting keeps all, and is said once
        await asyncio.gather(*(self._start_worker() for _ in range(self._config.listen.workers - 1)))
        self._replacing = False
        self._spawn(keep_up(self._audit, self._config.audit), self._tasks)
        self._spawn(self._feel_pulses(), self._tasks)
        self._shipping.start()

    async def hang_up(self) -> None:
        """Have all workers reload."""
        await self._board.ask(Reload(), str)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Accept nobody any more, and have the workers let their sessions end."""
        self._ending.set()
        self._reception.close()
        self._end_all()
        self._spawn(self._hurry(hurry), self._tasks)
        while self._lives:
            await asyncio.wait(self._lives)
        for task in list(self._tasks):
            task.cancel()
        if self._watch_page is not None:
            self._watch_page.close()
        self._audit.close()
        await self._shipping.stop()

    async def _hurry(self, hurry: asyncio.Event) -> None:
        """A second signal goes on to the workers; those that do not end in time are killed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), self._config.limits.drain_seconds)
            self._end_all()
        await asyncio.sleep(_LAST_SECONDS)
        for member in self._board.members.values():
            _log.error("worker %d did not end in time, and is killed", member.number)
            member.kill()

    def _end_all(self) -> None:
        for member in self._board.members.values():
            member.end()

    def _spawn(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        def done(task: "asyncio.Task[None]") -> None:
            among.discard(task)
            if not task.cancelled() and task.exception() is not None:
                _log.error("a background task failed", exc_info=task.exception())

        task = asyncio.create_task(work)
        among.add(task)
        task.add_done_callback(done)

    # workers

    async def _start_worker(self) -> None:
        """Start one, and wait until it serves. Raises WorkerFailed, OSError."""
        number = next(one for one in range(2 * MAX_WORKERS) if one not in self._board.members)
        config = self._workers_config(number)
        member = await start_member(number, config, self._command, self._carry_out)
        self._board.members[number] = member
        self._spawn(self._look_after(member), self._lives)
        if self._ending.is_set():
            member.end()
        if not await member.begun():
            raise WorkerFailed(f"worker {number} could not start")

    def _workers_config(self, number: int) -> Config:
        """What the supervisor does itself is left out; the name of the node tells the holds of each worker apart."""
        config, replace = self._config, msgspec.structs.replace
        return replace(
            config,
            metrics=None,
            audit=replace(config.audit, rotate_bytes=0, rotate_seconds=0, ship=()),
            holds=replace(config.holds, node=f"{node_name(config)}/{number}"),
        )

    async def _carry_out(self, member: Member, order: Order) -> object:
        answer = await self._board.carry_out(member, order)
        if isinstance(order, Ready):
            self._reception.look()
        return answer

    async def _look_after(self, member: Member) -> None:
        """Wait for a worker's end, and replace it where it has died."""
        status = await member.ended()
        self._board.leave(member)
        self._reception.look()
        if member.draining or not member.ready.is_set():
            return
        _log.error("worker %d ended with status %d; it is replaced", member.number, status)
        self._board.restarts += 1
        lived = asyncio.get_running_loop().time() - member.since
        self._deaths = 0 if lived > _STEADY_SECONDS else self._deaths + 1
        await self._restart()

    async def _restart(self) -> None:
        """Until there are enough."""
        while not self._ending.is_set() and len(self._board.serving()) < self._config.listen.workers:
            pause = 0.0 if self._deaths <= 1 else min(2.0 ** (self._deaths - 2), _LONGEST_PAUSE)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)
                return
            try:
                await self._start_worker()
            except (WorkerFailed, OSError) as error:
                _log.error("%s; it is tried again", error)  # told in full
                self._deaths += 1

    def _replace_all(self) -> None:
        if not (self._replacing or self._ending.is_set()):
            self._replacing = True
            self._spawn(self._replace_one_after_the_other(), self._tasks)

    async def _replace_one_after_the_other(self) -> None:
        """A new worker serves before an old one is told to end; where a new one cannot start, the old ones stay."""
        try:
            config = load_config(self._path)
            if (config.listen.host, config.listen.port) != (self._config.listen.host, self._config.listen.port):
                _log.warning("another address in [listen] needs a restart; the old one stays")
            self._config, self._board.ledger.limits = config, config.limits
            old = self._board.serving()
            for index in range(max(config.listen.workers, len(old))):
                if index < config.listen.workers:
                    await self._start_worker()
                if index < len(old):
                    old[index].end()
        except (ConfigError, WorkerFailed, OSError) as error:
            _log.error("workers were not replaced, those that serve stay: %s", error)  # told in full
        else:
            _log.info("all workers were replaced")
        finally:
            self._replacing = False

    async def _feel_pulses(self) -> None:
        """Know what each worker has counted, should it die; kill one whose event loop does not turn any more."""
        while True:
            await asyncio.sleep(_PULSE_SECONDS)
            for member in list(self._board.members.values()):
                if member.ready.is_set():
                    self._spawn(self._feel_pulse(member), self._tasks)

    async def _feel_pulse(self, member: Member) -> None:
        if not await self._board.look(member, _SILENT_SECONDS):
            member.kill()

    # those who watch

    async def _page(self) -> str:
        return exposition((*(await self._board.total()).families, *self._shipping.families()))

    def _troubles(self) -> tuple[str, ...]:
        if not self._reception.is_open:
            return ("no new connections are accepted: pgguard is starting or shutting down",)
        return self._board.troubles()
