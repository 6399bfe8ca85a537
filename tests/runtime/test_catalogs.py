"""The keeper of a catalog: what it loads costs the sessions nothing."""

import asyncio
import contextlib
import threading

import asyncpg
import pytest

from pgguard.database.catalog_loader import CANNOT_LOAD
from pgguard.lab.postgres import Postgres
from pgguard.runtime import catalogs
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


async def test_after_a_change_only_that_is_read(postgres: Postgres) -> None:
    """Each statement of a migration had the whole catalog read anew, by a connection of its own."""
    connections = 0

    async def connect(database: str) -> asyncpg.Connection:
        nonlocal connections
        connections += 1
        return await asyncpg.connect(postgres.dsn(database))

    postgres.run("create database migrated")
    keeper = CatalogKeeper("migrated", connect, 60)
    keeper.enter()
    await keeper.ready()
    for change in ("create table first (id int)", "alter table first rename to second", "create table first ()"):
        await asyncio.to_thread(postgres.run, change, "migrated")
        await keeper.refresh()
    names = {relation.name: relation.columns for relation in keeper.current.snapshot.relations}
    assert (names["first"], names["second"]) == ((), ("id",))
    assert keeper.generation == 4
    assert connections == 2
    keeper.disconnect()


@pytest.mark.parametrize("lost", ["all", "that which reads", "that which looks"])
async def test_a_connection_that_was_lost_meanwhile_is_made_anew(postgres: Postgres, lost: str) -> None:
    """And what had been read through it is read anew: it may be another server by now."""
    numbers: list[int] = []

    async def connect(database: str) -> asyncpg.Connection:
        connection = await asyncpg.connect(postgres.dsn(database))
        numbers.append(connection.get_server_pid())
        return connection

    database = f"lost_{lost.replace(' ', '_')}"
    postgres.run(f"create database {database}")
    keeper = CatalogKeeper(database, connect, 60)
    keeper.enter()
    await keeper.ready()
    looks, reads = numbers
    for number in {"all": (looks, reads), "that which reads": (reads,), "that which looks": (looks,)}[lost]:
        await asyncio.to_thread(postgres.run, f"select pg_terminate_backend({number}, 10000)")
    await asyncio.to_thread(postgres.run, "create table made_since ()", database)
    while keeper.current.relation("public", "made_since") is None:
        with contextlib.suppress(*CANNOT_LOAD):  # the end of the one that looks may not be seen yet
            await keeper.refresh()
    assert len(numbers) == (3 if lost == "that which reads" else 4)
    keeper.disconnect()


async def test_what_was_read_is_let_go_of_when_nothing_changes(postgres: Postgres, monkeypatch) -> None:
    """It takes memory and a connection."""
    monkeypatch.setattr(catalogs, "_KEPT_SECONDS", 0.0)
    keeper = CatalogKeeper("postgres", lambda database: asyncpg.connect(postgres.dsn(database)), 60)
    keeper.enter()
    await keeper.ready()
    assert keeper._reading is not None
    await keeper.refresh()
    assert keeper._reading is None
    keeper.disconnect()
