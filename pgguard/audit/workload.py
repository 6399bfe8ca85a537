"""Running an audit's statements again: the same sessions side by side, in their own rhythm, against a server or proxy.

Only what was allowed is run. Statements without values go as they came, in one simple Query; bound values go as text. A
statement fails as it did then, or the difference is told.
"""

import asyncio
import time
from collections.abc import Iterable

import asyncpg
import msgspec

from pgguard.audit.records import DecisionMade, Record, StatementEnded
from pgguard.model.decision import Effect

_RUN_AT = ("query", "bind")
"""A Parse runs nothing, and an Execute that has a record of its own goes on with what its Bind began."""


class Step(msgspec.Struct, frozen=True):
    """`at`: seconds since the workload began. `sqlstate`: how it failed then, None where it did not."""

    at: float
    id: str
    text: str
    values: tuple[str | None, ...]
    sqlstate: str | None


class Difference(msgspec.Struct, frozen=True):
    id: str
    text: str
    then: str | None
    now: str | None


class Measured(msgspec.Struct):
    """`seconds`: of each statement. `skipped`: whose values cannot be sent as text, by this client."""

    seconds: list[float] = []
    differences: list[Difference] = []
    skipped: int = 0

    def percentile(self, percent: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def sessions_of(records: Iterable[Record], *, read_only: bool) -> dict[str, list[Step]]:
    """The steps of each session. `read_only`: only statements that plainly change nothing."""
    made: list[DecisionMade] = []
    failed: dict[str, str] = {}
    for record in records:
        if isinstance(record, StatementEnded) and record.sqlstate is not None:
            failed[record.id] = record.sqlstate
        if isinstance(record, DecisionMade) and record.effect is Effect.ALLOW and record.moment in _RUN_AT:
            made.append(record)
    if read_only:
        made = [record for record in made if all(facts.reads_only for facts in record.facts)]
    began = min((record.context.at for record in made), default=0.0)
    sessions: dict[str, list[Step]] = {}
    for record in made:
        step = Step(record.context.at - began, record.id, record.text, record.values, failed.get(record.id))
        sessions.setdefault(record.session, []).append(step)
    return sessions


async def run(sessions: dict[str, list[Step]], dsn: str, speed: float | None, *, read_only: bool) -> Measured:
    """Run all sessions at once. `speed`: how many times as fast as then; None is without any pause."""
    measured = Measured()
    settings = {"default_transaction_read_only": "on"} if read_only else {}
    connections = [await asyncpg.connect(dsn, server_settings=settings) for _ in sessions]
    try:
        began = time.perf_counter()
        await asyncio.gather(
            *(
                _session(steps, _Target(connection, measured), began, speed)
                for steps, connection in zip(sessions.values(), connections, strict=True)
            )
        )
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))
    return measured


async def _session(steps: list[Step], target: "_Target", began: float, speed: float | None) -> None:
    for step in steps:
        if speed is not None:
            await asyncio.sleep(began + step.at / speed - time.perf_counter())
        await target.run(step)


class _Target:
    def __init__(self, connection: asyncpg.Connection, measured: Measured) -> None:
        self._connection = connection
        self._measured = measured
        self._as_text: set[int] = set()

    async def run(self, step: Step) -> None:
        sqlstate = None
        began = time.perf_counter()
        try:
            if step.values:
                began = await self._bound(step)
            else:
                await self._connection.execute(step.text)
        except asyncpg.PostgresError as error:
            sqlstate = error.sqlstate
        except (asyncpg.InterfaceError, ValueError):
            self._measured.skipped += 1
            return
        self._measured.seconds.append(time.perf_counter() - began)
        if sqlstate != step.sqlstate:
            self._measured.differences.append(Difference(step.id, step.text, step.sqlstate, sqlstate))

    async def _bound(self, step: Step) -> float:
        """Run with values; when the running began, preparations left out."""
        prepared = await self._connection.prepare(step.text)
        for parameter in prepared.get_parameters():
            if parameter.oid not in self._as_text:
                await self._connection.set_type_codec(
                    parameter.name, schema=parameter.schema, encoder=str, decoder=str, format="text"
                )
                self._as_text.add(parameter.oid)
        prepared = await self._connection.prepare(step.text)
        began = time.perf_counter()
        await prepared.fetch(*step.values)
        return began
