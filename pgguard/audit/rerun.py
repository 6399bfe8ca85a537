"""Running a workload again: the same sessions side by side, in their own rhythm, against a server or proxy.

Theory of operation. Each session has its connection from its first statement to its last, and never more are open than
were then. Statements without values go as they came, in one simple Query. Bound values go as they were bound, text or
binary: asyncpg is told by a codec for each of their types to pass them on as they are. A statement fails as it did
then, or the difference is told. What is measured is the statement alone, without connecting and preparing.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal

import asyncpg
import msgspec

from pgguard.audit.workload import Step, Workload

_Format = Literal["text", "binary"]


class Difference(msgspec.Struct, frozen=True):
    """A statement that failed otherwise than it did; None is success."""

    id: str
    text: str
    then: str | None
    now: str | None


class Measured(msgspec.Struct):
    """`seconds`: of each statement. `left_out`: how many this client cannot send, by reason. `late`: seconds by which a
    statement began later than it should have, at most. `lasted`: seconds from the first to the last.
    """

    seconds: list[float] = []
    differences: list[Difference] = []
    left_out: Counter[str] = msgspec.field(default_factory=Counter)
    late: float = 0.0
    lasted: float = 0.0

    def percentile(self, percent: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


async def run(
    workload: Workload, dsn: str, speed: float | None, *, read_only: bool, progress: Callable[[], None] = lambda: None
) -> Measured:
    """Run all sessions. `speed`: how many times as fast as then; None is without any pause. `progress` is called for
    each statement. Raises a group of OSError or asyncpg.PostgresError where the target does not let a session in.
    """
    measured = Measured()
    settings = {"default_transaction_read_only": "on"} if read_only else {}
    places = asyncio.Semaphore(max(1, workload.at_once))
    began = time.perf_counter()

    async def session(steps: list[Step]) -> None:
        await _until(steps[0], began, speed)
        async with places:
            connection = await asyncpg.connect(dsn, server_settings=settings)
            try:
                target = _Target(connection, measured)
                for step in steps:
                    measured.late = max(measured.late, await _until(step, began, speed))
                    await target.run(step)
                    progress()
            finally:
                await connection.close(timeout=10)

    async with asyncio.TaskGroup() as sessions:
        for steps in workload.sessions.values():
            sessions.create_task(session(steps))
    measured.lasted = time.perf_counter() - began
    return measured


async def _until(step: Step, began: float, speed: float | None) -> float:
    """Wait for a statement's time; how late it is."""
    if speed is None:
        return 0.0
    left = began + step.at / speed - time.perf_counter()
    await asyncio.sleep(left)
    return max(0.0, -left)


class _CannotSend(Exception):  # noqa: N818  # it says what is the case
    """There is no way to bind these values with this client; the message says why."""


class _Target:
    """One session."""

    def __init__(self, connection: asyncpg.Connection, measured: Measured) -> None:
        self._connection = connection
        self._measured = measured
        self._formats: dict[int, _Format] = {}

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
        except (_CannotSend, asyncpg.InterfaceError) as error:
            self._measured.left_out[str(error)] += 1
            return
        self._measured.seconds.append(time.perf_counter() - began)
        if sqlstate != step.sqlstate:
            self._measured.differences.append(Difference(step.id, step.text, step.sqlstate, sqlstate))

    async def _bound(self, step: Step) -> float:
        """Run with values; when the running began, preparations left out."""
        prepared = await self._connection.prepare(step.text)
        if await self._pass_on(step, prepared.get_parameters()):
            prepared = await self._connection.prepare(step.text)
        values = [_sent(value, index in step.binary) for index, value in enumerate(step.values)]
        began = time.perf_counter()
        try:
            await prepared.fetch(*values)
        except (asyncpg.InterfaceError, ValueError) as error:
            raise _CannotSend(f"values that do not fit the statement any more: {error}") from error
        return began

    async def _pass_on(self, step: Step, parameters: tuple[asyncpg.Type, ...]) -> bool:
        """Have values of these types passed on as they were bound; whether anything had to be changed for it."""
        changed = False
        wanted: dict[int, _Format] = {}
        for index, (parameter, value) in enumerate(zip(parameters, step.values, strict=False)):
            form: _Format = "binary" if index in step.binary else "text"
            if value is None:
                continue
            if wanted.setdefault(parameter.oid, form) != form:
                raise _CannotSend(f"values of type {parameter.name} in both forms in one statement")
            if self._formats.get(parameter.oid) != form:
                await self._use(parameter, form)
                changed = True
        return changed

    async def _use(self, parameter: asyncpg.Type, form: _Format) -> None:
        try:
            await self._connection.set_type_codec(
                parameter.name, schema=parameter.schema, encoder=_as_it_is, decoder=_as_it_is, format=form
            )
        except (asyncpg.InterfaceError, ValueError) as error:
            raise _CannotSend(f"values of type {parameter.name}, which this client cannot pass on") from error
        self._formats[parameter.oid] = form


def _as_it_is(value: str | bytes) -> str | bytes:
    return value


def _sent(value: str | None, binary: bool) -> str | bytes | None:
    return bytes.fromhex(value.removeprefix("\\x")) if binary and value is not None else value
