"""The catalogs in force: one value a database, refreshed in the background, after DDL, and when a name is unknown.

Theory of operation. A database's catalog is loaded when its first session opens, and then replaced as a whole; whoever
analyses a statement takes `current` once and uses that value throughout. Refreshes of one database never overlap: a
refresh that is asked for while one is running begins after it, because the running one may have read the old state,
and one such follow-up serves all who asked meanwhile.

A catalog is read in a thread of its own (`_Reading`), which keeps what it has read for as long as the catalog goes on
changing: after each DDL of a migration only what has changed is read. A while later that is let go of, for it takes
memory, and a connection.

A database is connected to while it has sessions: DROP DATABASE waits for the last connection, and fails. Without any
its catalog is kept, unconfirmed, and a session that comes later than a refresh would have confirms it first.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from pgguard.database.catalog_loader import CANNOT_LOAD, CatalogReader, change_mark
from pgguard.sql.catalog import Catalog

_log = logging.getLogger(__name__)

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
"""Opens a connection to the named database with the proxy's own login."""

_KEPT_SECONDS = 60.0
"""So long behind the last change what has been read is kept."""


class _Reading:
    """Reads the catalog of one database, at first whole and then what has changed, until it is closed.

    In a thread, with an event loop and a connection of its own: a large catalog takes seconds of computing, and the
    sessions' loop must not wait for it.
    """

    def __init__(self, connect: Connect, database: str) -> None:
        self._connect = connect
        self._database = database
        self._thread = ThreadPoolExecutor(1, "catalog")
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection | None = None
        self._reader: CatalogReader | None = None

    async def load(self, before: Catalog | None) -> Catalog:
        """As it is now. Raises CANNOT_LOAD: then it is of no use any more."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, before)

    def _run(self, before: Catalog | None) -> Catalog:
        return self._runner.run(self._read(before))

    async def _read(self, before: Catalog | None) -> Catalog:
        if self._reader is None:
            self._connection = await self._connect(self._database)
            self._reader = CatalogReader(self._connection)
        return await self._reader.load(before)

    def close(self) -> None:
        self._thread.submit(self._end)
        self._thread.shutdown(wait=False)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._runner.close()


class CatalogKeeper:
    """The catalog of one database, which is confirmed `every` so many seconds while there are sessions."""

    def __init__(self, database: str, connect: Connect, every: float) -> None:
        self.database = database
        self._connect = connect
        self._every = every
        self._current: Catalog | None = None
        self._mark: object = None
        self._connection: asyncpg.Connection | None = None
        self._reading: _Reading | None = None
        self._changed_at = 0.0
        """When the database was last found to have changed, by the monotonic clock."""
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self.checked_at = 0.0
        """When the database last confirmed what is here, by the monotonic clock."""
        self.generation = 0
        """Grows with each replacement: what was resolved under another one is resolved anew."""
        self.sessions = 0

    @property
    def current(self) -> Catalog:
        if self._current is None:
            raise LookupError(f'the catalog of database "{self.database}" is not loaded yet')
        return self._current

    async def ready(self) -> None:
        """Wait for a catalog that a session can begin with.

        Raises what asyncpg raises where the database does not answer.
        """
        unwatched = not self.sessions and time.monotonic() - self.checked_at > self._every
        if self._current is None or unwatched:
            await self.refresh()

    @property
    def watched(self) -> bool:
        return self.sessions > 0 and self._current is not None

    def enter(self) -> None:
        """A session has begun."""
        self.sessions += 1

    def leave(self) -> None:
        """A session has ended."""
        self.sessions -= 1
        if not self.sessions and self._running is None:
            self.disconnect()

    async def refresh(self) -> None:
        """Wait for a load that began after this call."""
        if self._running is None:
            self._running = asyncio.create_task(self._load())
            task = self._running
        else:
            if self._next is None:
                self._next = asyncio.create_task(self._load_after(self._running))
            task = self._next
        await asyncio.shield(task)

    async def _load_after(self, before: asyncio.Task[None]) -> None:
        await asyncio.wait([before])
        self._running, self._next = self._next, None
        await self._load()

    async def _load(self) -> None:
        try:
            began = time.monotonic()
            connection = await self._open()
            mark = await change_mark(connection)
            if self._current is None or mark != self._mark:
                self._current = await self._read()
                self._mark = mark
                self._changed_at = began
                self.generation += 1
                _log.info('catalog of database "%s" loaded, generation %d', self.database, self.generation)
            elif began - self._changed_at > _KEPT_SECONDS:
                self._forget_what_was_read()
            self.checked_at = began
        except CANNOT_LOAD:
            self.disconnect()
            raise
        finally:
            if self._next is None:
                self._running = None
            if not self.sessions:
                self.disconnect()

    async def _open(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._forget_what_was_read()  # by another connection: of this server, or one that is no more
            self._connection = await self._connect(self.database)
        return self._connection

    async def _read(self) -> Catalog:
        """What has changed, where it can be told; all that there is otherwise."""
        if self._reading is not None:
            try:
                return await self._reading.load(self._current)
            except CANNOT_LOAD:
                self._forget_what_was_read()  # its connection may be lost, which nobody has seen while it lay idle
        self._reading = _Reading(self._connect, self.database)
        return await self._reading.load(self._current)

    def _forget_what_was_read(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()

    def disconnect(self) -> None:
        self._forget_what_was_read()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


class Catalogs:
    """The keepers of all databases that have had a session, and their refresh in the background."""

    def __init__(self, connect: Connect, every: float) -> None:
        self._connect = connect
        self._every = every
        self._keepers: dict[str, CatalogKeeper] = {}
        self._background: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._background = asyncio.create_task(self._refresh_for_ever())

    def keeper(self, database: str) -> CatalogKeeper:
        keeper = self._keepers.get(database)
        if keeper is None:
            keeper = self._keepers[database] = CatalogKeeper(database, self._connect, self._every)
        return keeper

    def ages(self) -> dict[str, float]:
        """By database with sessions, the seconds since its catalog was last confirmed."""
        now = time.monotonic()
        return {name: now - keeper.checked_at for name, keeper in self._keepers.items() if keeper.watched}

    def forget(self, database: str) -> None:
        """Drop the keeper of a database that turned out not to exist."""
        self._keepers.pop(database, None)

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            for keeper in [keeper for keeper in self._keepers.values() if keeper.watched]:
                try:
                    await keeper.refresh()
                except CANNOT_LOAD as error:
                    _log.warning('cannot refresh the catalog of database "%s": %s', keeper.database, error)

    async def close(self) -> None:
        if self._background is not None:
            self._background.cancel()
        for keeper in self._keepers.values():
            keeper.disconnect()
