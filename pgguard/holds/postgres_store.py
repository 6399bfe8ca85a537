"""Holds in a PostgreSQL database that several pgguard nodes share.

One connection serves all: its row locks make racing changes one after the other, LISTEN tells of what other nodes
change. A connection that is lost is opened again in the background; until then every operation is refused, and no hold
is lost: they lie in the database. After it has come back any of them may have changed, and all are looked at.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg

from pgguard.holds.hold import Hold
from pgguard.holds.store import Heard, Record, StoreUnavailable, decoded, encoded, readable

_log = logging.getLogger(__name__)

_CHANNEL = "pgguard_holds"
_SECONDS = 5.0
"""For connecting, and for each statement."""
_RETRY_SECONDS = 0.5
_SCHEMA = (
    "create table if not exists pgguard_holds"
    " (number bigint generated always as identity primary key, record text not null)"
)
_SCHEMA_LOCK = 0x70676775
"""Nodes that start at once would both create the table: an advisory lock's number, "pggu"."""

_BROKEN = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class PostgresStore:
    def __init__(self, dsn: str, password: str | None) -> None:
        self._dsn = dsn
        self._password = password
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()
        self._heard: Heard | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def open(self, heard: Heard) -> None:
        self._heard = heard
        with _telling():
            await self._connect()
        self._keeper = asyncio.create_task(self._keep())

    async def add(self, node: str, hold: Hold) -> Record:
        async with self._transaction() as connection:
            number = await connection.fetchval(
                "insert into pgguard_holds (record) values ($1) returning number", encoded(Record(0, node, hold))
            )
            await _tell(connection, number)
        return Record(number, node, hold)

    async def find(self, number: int) -> Record | None:
        async with self._transaction() as connection:
            return await _read(connection, number)

    async def all(self) -> tuple[Record, ...]:
        async with self._transaction() as connection:
            rows = await connection.fetch("select number, record from pgguard_holds order by number")
        return readable(rows)

    async def change(self, number: int, step: Callable[[Record], Record]) -> Record | None:
        async with self._transaction() as connection:
            before = await _read(connection, number)
            if before is None:
                return None
            after = step(before)
            await connection.execute("update pgguard_holds set record = $2 where number = $1", number, encoded(after))
            await _tell(connection, number)
        return after

    async def remove(self, number: int) -> Record | None:
        async with self._transaction() as connection:
            before = await _read(connection, number)
            await connection.execute("delete from pgguard_holds where number = $1", number)
            await _tell(connection, number)
        return before

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[asyncpg.Connection]:
        async with self._turn:
            connection = self._connection
            if connection is None or connection.is_closed():
                raise StoreUnavailable("the database of the holds does not answer")
            with _telling():
                try:
                    async with connection.transaction():
                        yield connection
                except (OSError, TimeoutError):
                    connection.terminate()  # it hangs: a new one may not
                    raise

    async def _connect(self) -> None:
        connection = await asyncpg.connect(
            self._dsn,
            password=self._password,
            timeout=_SECONDS,
            command_timeout=_SECONDS,
            server_settings={"application_name": "pgguard holds"},
        )
        try:
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock($1)", _SCHEMA_LOCK)
                await connection.execute(_SCHEMA)
            await connection.add_listener(_CHANNEL, self._notified)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection

    def _notified(self, _connection: object, _process: int, _channel: str, number: str) -> None:
        if self._heard is not None:
            self._heard(int(number) if number.isdecimal() else None)

    async def _keep(self) -> None:
        """Open the connection again whenever it is lost; one that hangs is noticed by its next operation's limit."""
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            if self._connection is not None and not self._connection.is_closed():
                continue
            try:
                await self._connect()
            except _BROKEN as error:
                _log.debug("the database of the holds does not answer: %s", error)
            else:
                _log.info("the database of the holds answers again")
                if self._heard is not None:
                    self._heard(None)


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise StoreUnavailable(f"the database of the holds does not answer: {error or type(error).__name__}") from error


async def _read(connection: asyncpg.Connection, number: int) -> Record | None:
    text = await connection.fetchval("select record from pgguard_holds where number = $1 for update", number)
    return None if text is None else decoded(number, text)


async def _tell(connection: asyncpg.Connection, number: int) -> None:
    """The other nodes, once this is committed."""
    await connection.execute("select pg_notify($1, $2)", _CHANNEL, str(number))
