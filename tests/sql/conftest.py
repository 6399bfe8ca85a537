"""One database with a rich schema, its catalog, and PostgreSQL as the oracle."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from postgres_tree import Oracle
from rich_schema import SETTINGS

from pgguard.database.catalog_loader import load_catalog
from pgguard.lab.postgres import Postgres
from pgguard.model.facts import Facts
from pgguard.sql.analyze import Script, analyze
from pgguard.sql.catalog import Catalog


async def _load(dsn: str) -> Catalog:
    connection = await asyncpg.connect(dsn)
    try:
        return await load_catalog(connection)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def rich(postgres: Postgres) -> str:
    """The DSN of the database made from schema.sql."""
    postgres.run("create database rich")
    postgres.run_file(Path(__file__).with_name("schema.sql"), "rich")
    return postgres.dsn("rich")


@pytest.fixture(scope="session")
def catalog(rich: str) -> Catalog:
    return asyncio.run(_load(rich))


@pytest.fixture(scope="session")
def oracle(rich: str) -> Iterator[Oracle]:
    oracle = Oracle(rich)
    oracle.connection.execute("set search_path = app, public")
    yield oracle
    oracle.close()


@pytest.fixture(scope="session")
def facts_of(catalog: Catalog) -> Callable[[str], tuple[Facts, ...]]:
    """The facts of a text that analyses."""

    def facts_of(text: str) -> tuple[Facts, ...]:
        analysis = analyze(text, catalog, SETTINGS)
        assert isinstance(analysis, Script), analysis
        return analysis.statements

    return facts_of
