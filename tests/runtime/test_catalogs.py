"""The keeper of a catalog: what it loads costs the sessions nothing."""

import asyncio
import threading

import asyncpg

from pgguard.lab.postgres import Postgres
from pgguard.runtime.catalogs import CatalogKeeper
from pgguard.sql.catalog import Catalog


def test_a_catalog_is_loaded_beside_the_sessions_loop(postgres: Postgres) -> None:
    """On the loop, a hundred thousand relations stopped every session for seconds."""
    threads: list[int] = []

    async def connect(database: str) -> asyncpg.Connection:
        threads.append(threading.get_ident())
        return await asyncpg.connect(postgres.dsn(database))

    async def load() -> int:
        keeper = CatalogKeeper("postgres", connect, 60)
        keeper.enter()
        await keeper.ready()
        assert keeper.current.relation("pg_catalog", "pg_class") is not None
        await keeper.refresh()  # nothing has changed: the mark alone is read
        keeper.disconnect()
        return keeper.generation

    assert asyncio.run(load()) == 1
    assert len(threads) == 2
    assert threads[0] == threading.get_ident() != threads[1]


def test_a_database_without_sessions_is_let_go_of(postgres: Postgres) -> None:
    """A connection for the catalog stayed for ever: whoever had used a database could not drop it any more.

    One of the same name may take its place: what is known of the old one is confirmed before the next session begins.
    """

    async def connect(database: str) -> asyncpg.Connection:
        return await asyncpg.connect(postgres.dsn(database))

    async def visit(keeper: CatalogKeeper) -> Catalog:
        await keeper.ready()
        keeper.enter()
        await keeper.refresh()
        keeper.leave()
        return keeper.current

    async def use(made: str) -> Catalog:
        await asyncio.to_thread(postgres.run, "create database passing")
        await asyncio.to_thread(postgres.run, f"create table {made} ()", "passing")
        catalog = await visit(keeper)
        await asyncio.to_thread(postgres.run, "drop database passing")
        return catalog

    async def use_both() -> None:
        first, second = await use("first"), await use("second")
        assert first.relation("public", "first") is not None
        assert second.relation("public", "first") is None
        assert second.relation("public", "second") is not None

    keeper = CatalogKeeper("passing", connect, 0)
    asyncio.run(use_both())
