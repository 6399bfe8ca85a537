"""The board on which the probes' values stand, each with its time; and the tasks that keep them fresh.

Theory of operation. Each probe has a task that looks at its source every `every` seconds. A statement reads what
stands on the board, and never waits. # INVARIANT: a value older than three periods is no value, and is left out of
`fresh`: conditions on it are then unknown, and fail closed. A look that fails leaves the last value to grow old.
When rules are loaded anew, tasks of probes that are as they were go on.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec

from pgguard.model.context import StateValue
from pgguard.policy.probes import Probe
from pgguard.probes.sources import Connect, ProbeFailed, Query, look_once

_log = logging.getLogger(__name__)

_PERIODS = 3
_SHORTEST_LIMIT = 1.0
"""Seconds that a look may take at least, however often it is due."""


class Posted(msgspec.Struct, frozen=True):
    """A value and when it was asked for, by the board's clock."""

    value: StateValue
    at: float


class Board:
    """`clock` gives monotonic seconds; `connect` opens connections with the proxy's own login."""

    def __init__(self, connect: Connect, clock: Callable[[], float]) -> None:
        self._connect = connect
        self._clock = clock
        self._posted: dict[str, Posted] = {}
        self._tasks: dict[Probe, asyncio.Task[None]] = {}
        self._first: dict[str, asyncio.Event] = {}
        self.generation = 0
        """Grows when a value becomes another."""
        self.errors: dict[str, str] = {}
        """Why the last look at a probe failed; without those that are well."""

    def fresh(self) -> Mapping[str, StateValue]:
        """The values that are not too old."""
        if not self._tasks:
            return {}
        now = self._clock()
        return {
            probe.name: posted.value
            for probe in self._tasks
            if (posted := self._posted.get(probe.name)) is not None and now - posted.at <= _PERIODS * probe.every
        }

    def ages(self) -> dict[str, float]:
        """By probe, the seconds since its value was asked for; without those that have none."""
        now = self._clock()
        return {name: now - posted.at for name, posted in self._posted.items()}

    def use(self, probes: Mapping[str, Probe]) -> None:
        """Poll these and no others. A new or changed one has no value before its first answer."""
        wanted = set(probes.values())
        for probe in [probe for probe in self._tasks if probe not in wanted]:
            self._tasks.pop(probe).cancel()
            self._forget(probe.name)
        for probe in wanted - self._tasks.keys():
            self._first[probe.name] = asyncio.Event()
            self._tasks[probe] = asyncio.create_task(self._keep(probe))

    async def ready(self, seconds: float) -> None:
        """Wait until each probe has been looked at once, but no longer than this."""
        try:
            async with asyncio.timeout(seconds):
                for first in list(self._first.values()):
                    await first.wait()
        except TimeoutError:
            missing = ", ".join(name for name, first in self._first.items() if not first.is_set())
            _log.warning("no first answer of these probes within %g s: %s", seconds, missing)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        self.use({})
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, probe: Probe) -> None:
        query = None
        if probe.sql is not None:
            assert probe.database is not None, "sql and database go together"
            query = Query(probe.sql, probe.database, self._connect)
        try:
            while True:
                await self._look(probe, query)
                await asyncio.sleep(probe.every)
        finally:
            if query is not None:
                await query.close()

    async def _look(self, probe: Probe, query: Query | None) -> None:
        asked = self._clock()
        limit = max(probe.every, _SHORTEST_LIMIT)
        try:
            async with asyncio.timeout(2 * limit):
                value = await look_once(probe, query, limit)
        except (ProbeFailed, TimeoutError) as error:
            self._fail(probe, str(error) or "no answer in time")
        except Exception as error:  # noqa: BLE001  # a fault of one look must not end all later ones
            self._fail(probe, f"{type(error).__name__}: {error}")
        else:
            self._post(probe, Posted(value, asked))
        self._first[probe.name].set()

    def _fail(self, probe: Probe, why: str) -> None:
        if probe.name not in self.errors:
            _log.warning('probe "%s" has no value: %s', probe.name, why)
        self.errors[probe.name] = why

    def _post(self, probe: Probe, posted: Posted) -> None:
        if self.errors.pop(probe.name, None) is not None:
            _log.info('probe "%s" answers again', probe.name)
        before = self._posted.get(probe.name)
        self._posted[probe.name] = posted
        if before is None or before.value != posted.value:
            self.generation += 1

    def _forget(self, name: str) -> None:
        self._posted.pop(name, None)
        self._first.pop(name, None)
        self.errors.pop(name, None)
        self.generation += 1
