"""The keeper of a catalog: what it loads costs the sessions nothing."""

import asyncio
import threading

import asyncpg

from pgguard.lab.postgres import Postgres
from pgguard.runtime.catalogs import CatalogKeeper


def test_a_catalog_is_loaded_beside_the_sessions_loop(postgres: Postgres) -> None:
    """On the loop, a hundred thousand relations stopped every session for seconds."""
    threads: list[int] = []

    async def connect(database: str) -> asyncpg.Connection:
        threads.append(threading.get_ident())
        return await asyncpg.connect(postgres.dsn(database))

    async def load() -> int:
        keeper = CatalogKeeper("postgres", connect)
        await keeper.ready()
        assert keeper.current.relation("pg_catalog", "pg_class") is not None
        await keeper.refresh()  # nothing has changed: the mark alone is read
        await keeper.close()
        return keeper.generation

    assert asyncio.run(load()) == 1
    assert len(threads) == 2
    assert threads[0] == threading.get_ident() != threads[1]
