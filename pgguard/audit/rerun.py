"""Running a workload again: the same sessions side by side, in their own rhythm, against a server or proxy.

Theory of operation. Each session has its connection from its first statement to its last, and never more are open than
were then. What came as a simple Query goes as one; what was bound is prepared with the types that were declared and
bound with the very values, text or binary, each as it was (libpq passes them on unread). A statement fails as it did
then, or the difference is told. What is measured is the statement alone, without connecting and preparing.

Where nothing may be written, each statement runs by itself in a READ ONLY transaction that has a snapshot already and
is rolled back: from then on PostgreSQL lets nothing make it READ WRITE (docs, SET TRANSACTION), and no setting survives
it. It goes by the extended protocol, which takes one statement only: none can end the transaction and write behind it.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgguard.audit.workload import Step, Workload

_READ_ONLY = b"begin isolation level read committed read only; select 1"
_FIRST_OF_USERS = 16384
"""Types with higher OIDs were made by users, and may have another OID elsewhere (PostgreSQL source, transam.h)."""
_CONNECTION_FAILURE = "08006"
_TEXT = 0
_COPYING_IN = frozenset({pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_BOTH})


class Difference(msgspec.Struct, frozen=True):
    """A statement that failed otherwise than it did; None is success."""

    id: str
    text: str
    then: str | None
    now: str | None


class Measured(msgspec.Struct):
    """`seconds`: of each statement. `left_out`: how many were not run, by reason. `late`: seconds by which a
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
    each statement. Raises a group of psycopg.Error where the target does not let a session in.
    """
    measured = Measured()
    places = asyncio.Semaphore(max(1, workload.at_once))
    began = time.perf_counter()

    async def session(steps: list[Step]) -> None:
        await _until(steps[0], began, speed)
        async with places, _connected(dsn) as connection:
            target = _Target(_Link(connection), measured, read_only=read_only)
            for step in steps:
                measured.late = max(measured.late, await _until(step, began, speed))
                await target.run(step)
                progress()

    async with asyncio.TaskGroup() as sessions:
        for steps in workload.sessions.values():
            sessions.create_task(session(steps))
    measured.lasted = time.perf_counter() - began
    return measured


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[pq.abc.PGconn]:
    """As psql would connect, Kerberos' encryption first: psycopg wants to be told of that. A transaction that is open
    at the end is left to the server to roll back, as then; psycopg's own context would commit it.
    """
    named = {**conninfo_to_dict(dsn), "client_encoding": "utf8"}
    named.setdefault("gssencmode", os.environ.get("PGGSSENCMODE", "prefer"))
    connection = await psycopg.AsyncConnection.connect(make_conninfo("", **named), autocommit=True)
    try:
        yield connection.pgconn
    finally:
        await connection.close()


async def _until(step: Step, began: float, speed: float | None) -> float:
    """Wait for a statement's time; how late it is."""
    if speed is None:
        return 0.0
    left = began + step.at / speed - time.perf_counter()
    await asyncio.sleep(left)
    return max(0.0, -left)


class _CannotRun(Exception):  # noqa: N818  # it says what is the case
    """The statement is not run; the message says why."""


class _Target:
    """One session."""

    def __init__(self, link: "_Link", measured: Measured, *, read_only: bool) -> None:
        self._link = link
        self._measured = measured
        self._read_only = read_only

    async def run(self, step: Step) -> None:
        if self._link.is_broken:
            self._measured.left_out["the target ended the session before"] += 1
            return
        try:
            sqlstate, seconds = await (self._guarded(step) if self._read_only else self._as_it_was(step))
        except _CannotRun as reason:
            self._measured.left_out[str(reason)] += 1
            return
        self._measured.seconds.append(seconds)
        if sqlstate != step.sqlstate:
            self._measured.differences.append(Difference(step.id, step.text, step.sqlstate, sqlstate))

    async def _guarded(self, step: Step) -> tuple[str | None, float]:
        """What came of it, and how long it took, within a transaction that cannot write."""
        if await self._link.query(_READ_ONLY) is not None:
            raise _CannotRun("no read-only transaction can be begun there")
        try:
            return await self._bound(step)
        finally:
            await self._link.query(b"rollback")

    async def _as_it_was(self, step: Step) -> tuple[str | None, float]:
        if step.bound:
            return await self._bound(step)
        began = time.perf_counter()
        return await self._link.query(step.text.encode()), time.perf_counter() - began

    async def _bound(self, step: Step) -> tuple[str | None, float]:
        began = time.perf_counter()
        sqlstate = await self._link.prepare(step.text.encode(), _types(step))
        if step.bound:  # else it came as a simple Query, which is parsed each time
            began = time.perf_counter()
        if sqlstate is None:
            sqlstate = await self._link.execute(_values(step), [int(n in step.binary) for n in range(len(step.values))])
        return sqlstate, time.perf_counter() - began


def _types(step: Step) -> list[int]:
    return [oid if oid < _FIRST_OF_USERS else 0 for oid in step.types]


def _values(step: Step) -> list[bytes | None]:
    return [
        None if value is None else bytes.fromhex(value.removeprefix("\\x")) if index in step.binary else value.encode()
        for index, value in enumerate(step.values)
    ]


class _Link:
    """A libpq connection. Each call tells how what it sent failed, as an SQLSTATE, None where it did not; rows are
    read and thrown away.
    """

    def __init__(self, connection: pq.abc.PGconn) -> None:
        self._connection = connection
        connection.nonblocking = 1

    @property
    def is_broken(self) -> bool:
        return self._connection.status == pq.ConnStatus.BAD

    async def query(self, text: bytes) -> str | None:
        return await self._sent(lambda: self._connection.send_query(text))

    async def prepare(self, text: bytes, types: list[int]) -> str | None:
        return await self._sent(lambda: self._connection.send_prepare(b"", text, types))

    async def execute(self, values: list[bytes | None], formats: list[int]) -> str | None:
        return await self._sent(lambda: self._connection.send_query_prepared(b"", values, formats, _TEXT))

    async def _sent(self, send: Callable[[], None]) -> str | None:
        try:
            send()
            while self._connection.flush():
                await self._ready(writing=True)
            return await self._outcome()
        except psycopg.OperationalError:
            if not self.is_broken:
                raise
            return _CONNECTION_FAILURE

    async def _outcome(self) -> str | None:
        """The first error among all results."""
        failed: str | None = None
        while (result := await self._result()) is not None:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                sqlstate = result.error_field(pq.DiagnosticField.SQLSTATE) or _CONNECTION_FAILURE.encode()
                failed = failed or sqlstate.decode()
            elif result.status == pq.ExecStatus.COPY_OUT:
                await self._copied_out()
            elif result.status in _COPYING_IN:
                self._connection.put_copy_end(b"its data is not in the log")
        return failed

    async def _result(self) -> pq.abc.PGresult | None:
        while self._connection.is_busy():
            await self._ready()
        return self._connection.get_result()

    async def _copied_out(self) -> None:
        while (length := self._connection.get_copy_data(1)[0]) >= 0:
            if length == 0:
                await self._ready()

    async def _ready(self, *, writing: bool = False) -> None:
        """Wait until the server has sent something, or may be sent something, and take in what it has sent."""
        loop, there, socket = asyncio.get_running_loop(), asyncio.Event(), self._connection.socket
        loop.add_reader(socket, there.set)
        if writing:
            loop.add_writer(socket, there.set)
        try:
            await there.wait()
        finally:
            loop.remove_reader(socket)
            loop.remove_writer(socket)
        with suppress(psycopg.OperationalError):  # the last result tells why the connection ended
            self._connection.consume_input()
