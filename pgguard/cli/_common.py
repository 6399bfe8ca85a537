"""What several commands share: reading catalogs and rules, and saying what is wrong with them."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import asyncpg
import click
import msgspec

from pgguard.database.catalog_loader import CANNOT_LOAD, load_catalog
from pgguard.policy.problems import RulesInvalid
from pgguard.policy.rule_set import RuleSet
from pgguard.policy.warnings import Table
from pgguard.runtime.rulebook import load_rules
from pgguard.sql.catalog import Catalog, restore

_T = TypeVar("_T")

_TABLES = frozenset("rvmfp")  # pg_class.relkind: tables, views, materialized views, foreign and partitioned tables

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("pgguard.toml"),
    show_default=True,
    help="The configuration file.",
)


def read_catalog(path: Path) -> Catalog:
    """A catalog that `pgguard catalog dump` has saved."""
    try:
        return restore(path.read_bytes())
    except msgspec.MsgspecError as error:
        raise click.ClickException(
            f'"{path}" is no saved catalog: {error}; make one with pgguard catalog dump'
        ) from error


def read_rules(folder: Path, baseline: Path | None) -> RuleSet:
    """The rules of a folder; all that is wrong with them, a line each."""
    try:
        return load_rules(folder, baseline)
    except RulesInvalid as invalid:
        raise click.ClickException("the rules do not load:\n" + "\n".join(map(str, invalid.problems))) from invalid


def tables_of(catalog: Catalog) -> list[Table]:
    """The relations that rules about tables are about."""
    relations = (r for r in catalog.snapshot.relations if r.kind in _TABLES)
    return [Table(r.schema, r.name, r.columns, r.comments) for r in relations]


def run(work: Awaitable[_T]) -> _T:
    """Run something that talks to a database; its failure is a message."""

    async def wait() -> _T:
        return await work

    try:
        return asyncio.run(wait())
    except (*CANNOT_LOAD, ValueError) as error:
        raise click.ClickException(f"cannot ask the database: {error}") from error


async def fetch_catalog(dsn: str) -> Catalog:
    connection = await asyncpg.connect(dsn)
    try:
        return await load_catalog(connection)
    finally:
        await connection.close()
