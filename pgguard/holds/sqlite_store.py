"""Holds in one SQLite file, for one pgguard process, or for the workers of one.

SQLite blocks: its calls are made in a thread of their own, one operation after the other. A lock file beside it keeps
a second pgguard away, whose start would take the holds of the first for those of lost sessions. Workers share the file:
their supervisor has the lock, and they tell each other what they change.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from pgguard.holds.hold import Hold
from pgguard.holds.store import Heard, Record, StoreUnavailable, decoded, encoded, readable

_T = TypeVar("_T")
_Found = TypeVar("_Found", Record, Record | None)

_SCHEMA = "create table if not exists holds (number integer primary key autoincrement, record text not null)"


class Others(Protocol):
    """The other processes that use the file."""

    def hold_changed(self, number: int) -> None: ...

    def hear_of_holds(self, heard: Callable[[int], None]) -> None: ...


def claim(path: Path) -> int:
    """Keep every other pgguard away from the file, until what is returned is closed. Raises StoreUnavailable."""
    try:
        # a file for its owner alone: it holds texts and values
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except BlockingIOError as error:
        advice = 'give each a file of its own in [holds] path, or share a database: store = "postgres"'
        raise StoreUnavailable(f'the holds in "{path}" belong to another pgguard; {advice}') from error
    except OSError as error:
        raise StoreUnavailable(
            f'cannot open the holds in "{path}": {error.strerror}; name another file in [holds] path'
        ) from error
    return lock


class SqliteStore:
    """`others`: None where there are none."""

    def __init__(self, path: Path, others: Others | None = None) -> None:
        self._path = path
        self._others = others
        self._thread = ThreadPoolExecutor(1, "holds")
        self._turn = asyncio.Lock()
        self._database: sqlite3.Connection | None = None
        self._lock: int | None = None

    async def open(self, heard: Heard) -> None:
        if self._others is not None:
            self._others.hear_of_holds(heard)
        await self._in_thread(self._open)

    def _open(self) -> None:
        if self._others is None:
            self._lock = claim(self._path)
        self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._database.execute("pragma secure_delete = on")
        self._database.execute(_SCHEMA)

    async def add(self, node: str, hold: Hold) -> Record:
        def insert(database: sqlite3.Connection) -> Record:
            row = database.execute("insert into holds (record) values (?)", (encoded(Record(0, node, hold)),))
            assert row.lastrowid is not None, "an insert gives a number"
            return Record(row.lastrowid, node, hold)

        return self._told(await self._transaction(lambda: self._run(insert)))

    async def find(self, number: int) -> Record | None:
        return await self._transaction(lambda: self._read(number))

    async def all(self) -> tuple[Record, ...]:
        def read(database: sqlite3.Connection) -> tuple[Record, ...]:
            rows = database.execute("select number, record from holds order by number")
            return readable(rows)

        return await self._transaction(lambda: self._run(read))

    async def change(self, number: int, step: Callable[[Record], Record]) -> Record | None:
        async def read_and_write() -> Record | None:
            before = await self._read(number)
            if before is None:
                return None
            after = step(before)
            await self._run(
                lambda database: database.execute(
                    "update holds set record = ? where number = ?", (encoded(after), number)
                )
            )
            return after

        return self._told(await self._transaction(read_and_write))

    async def remove(self, number: int) -> Record | None:
        async def read_and_delete() -> Record | None:
            before = await self._read(number)
            await self._run(lambda database: database.execute("delete from holds where number = ?", (number,)))
            return before

        return self._told(await self._transaction(read_and_delete))

    def _told(self, record: _Found) -> _Found:
        """Tell the others that it was changed."""
        if self._others is not None and record is not None:
            self._others.hold_changed(record.number)
        return record

    async def close(self) -> None:
        async with self._turn:
            await self._in_thread(self._close)
            self._thread.shutdown()

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _read(self, number: int) -> Record | None:
        def read(database: sqlite3.Connection) -> Record | None:
            row = database.execute("select record from holds where number = ?", (number,)).fetchone()
            return None if row is None else decoded(number, row[0])

        return await self._run(read)

    async def _transaction(self, work: Callable[[], Awaitable[_T]]) -> _T:
        async with self._turn:
            await self._run(lambda database: database.execute("begin immediate"))
            try:
                result = await work()
                await self._run(lambda database: database.execute("commit"))
            except BaseException:
                await self._run(_roll_back)
                raise
            return result

    async def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        def with_database() -> _T:
            if self._database is None:
                raise StoreUnavailable(f'the holds in "{self._path}" are closed')
            return work(self._database)

        return await self._in_thread(with_database)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise StoreUnavailable(f'the holds in "{self._path}" cannot be used: {error}') from error


def _roll_back(database: sqlite3.Connection) -> None:
    if database.in_transaction:  # a disk that is full may have ended it
        database.execute("rollback")
