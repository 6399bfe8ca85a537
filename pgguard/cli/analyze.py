"""`pgguard analyze`: what a statement touches, for people and for scripts."""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import asyncpg
import click
import msgspec
from rich.console import Console
from rich.table import Table

from pgguard.cli._common import EXISTING_FILE, read_catalog, run
from pgguard.database.catalog_loader import change_mark, load_catalog
from pgguard.model.access import Access, Kind, Privilege
from pgguard.model.facts import Facts
from pgguard.sql.analyze import Refused
from pgguard.sql.analyze import analyze as analyze_text
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings

_RELATION_KINDS = frozenset({Kind.TABLE, Kind.SEQUENCE})


@click.command()
@click.argument("sql", required=False)
@click.option("--dsn", help="The database whose names are meant, as postgresql://user@host/database.")
@click.option("--catalog", "catalog_file", type=EXISTING_FILE, help="A saved catalog instead of a database.")
@click.option("--search-path", default="", help="Comma-separated; default: the login's own, or public.")
@click.option("--jsonl", is_flag=True, help='Answer each line {"sql", "search_path", "fresh"} of standard input.')
def analyze(sql: str | None, dsn: str | None, catalog_file: Path | None, search_path: str, jsonl: bool) -> None:
    """Print the accesses of SQL: privileges on relations and columns, functions, settings and the rest."""
    if (dsn is None) is (catalog_file is None):
        raise click.UsageError("give either --dsn or --catalog")
    if jsonl is (sql is not None):
        raise click.UsageError("give either a statement or --jsonl")
    if catalog_file is not None:
        source = _Source(read_catalog(catalog_file), None, Settings(("pg_catalog", "public")))
        run(_work(source, sql, _path(search_path)))
    else:
        run(_with_database(dsn or "", sql, _path(search_path)))


def _path(text: str) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] or None


class _Source:
    """Where the catalog comes from: `connection` None for a file."""

    def __init__(self, catalog: Catalog, connection: asyncpg.Connection | None, own: Settings) -> None:
        self.catalog = catalog
        self._connection = connection
        self._own = own
        self._mark: str | None = None

    async def refresh(self) -> None:
        """Load the catalog anew where it has changed."""
        if self._connection is None:
            return
        mark = await change_mark(self._connection)
        if mark != self._mark:
            self.catalog = await load_catalog(self._connection)
            self._mark = mark

    def settings(self, path: Iterable[str] | None) -> Settings:
        """As the server reads a search_path: "$user" is the login's schema, what does not exist is left out, and
        pg_catalog comes first where it is not named (PostgreSQL docs, section 5.10.3).
        """
        if path is None:
            return self._own
        named = (self._own.current_user if schema == "$user" else schema for schema in path)
        there = tuple(schema for schema in named if schema == "pg_temp" or schema in self.catalog.schemas)
        return msgspec.structs.replace(
            self._own, search_path=there if "pg_catalog" in there else ("pg_catalog", *there)
        )


async def _with_database(dsn: str, sql: str | None, path: list[str] | None) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow("select pg_catalog.current_schemas(true), current_user, session_user")
        own = Settings(tuple(row[0]), row[1], row[2])
        await _work(_Source(await load_catalog(connection), connection, own), sql, path)
    finally:
        await connection.close()


async def _work(source: _Source, sql: str | None, path: list[str] | None) -> None:
    if sql is not None:
        _show(sql, source, path)
        return
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        answer = await _answer(line, source, path)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


class _Question(msgspec.Struct):
    sql: str
    search_path: list[str] | None = None
    fresh: bool = False


async def _answer(line: bytes, source: _Source, path: list[str] | None) -> dict[str, Any]:
    try:
        question = msgspec.json.decode(line, type=_Question)
        question.sql.encode()
    except (msgspec.MsgspecError, UnicodeError) as error:
        return {"error": f'a line must be {{"sql": …, "search_path": […], "fresh": …}} in UTF-8: {error}'}
    if question.fresh:
        try:
            await source.refresh()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return {"error": f"cannot load the catalog anew: {error}"}
    found = analyze_text(question.sql, source.catalog, source.settings(question.search_path or path))
    if isinstance(found, Refused):
        return {"error": found.message, "sqlstate": found.sqlstate.value, "position": found.position}
    return {"statements": [describe(facts) for facts in found.statements]}


def describe(facts: Facts) -> dict[str, Any]:
    """The facts of one statement as the issue's contract spells them."""
    relations: dict[tuple[str, str], dict[str, Any]] = {}
    functions, settings, other = [], [], []
    for access in facts.accesses:
        name = access.object
        if access.kind in _RELATION_KINDS and name.schema is not None:
            privileges = relations.setdefault((name.schema, name.name), {})
            _merge(privileges, access)
        elif access.kind is Kind.FUNCTION and access.privilege is Privilege.EXECUTE:
            functions.append(str(name))
        elif access.kind is Kind.SETTING and access.privilege is Privilege.SET:
            settings.append(name.name)
        elif access.kind is not Kind.OPAQUE:
            other.append({"privilege": access.privilege.value, "kind": access.kind.value, "object": str(name)})
    return {
        "kind": facts.kind,
        "relations": [
            {"schema": schema, "name": name, "privileges": privileges}
            for (schema, name), privileges in sorted(relations.items())
        ],
        "functions": sorted(set(functions)),
        "settings": sorted(set(settings)),
        "other": other,
        "opaque": facts.opaque,
    }


def _merge(privileges: dict[str, Any], access: Access) -> None:
    key = access.privilege.value
    if access.columns is None:
        privileges[key] = True
    else:
        privileges[key] = sorted({*privileges.get(key, []), *access.columns})


def _show(sql: str, source: _Source, path: list[str] | None) -> None:
    found = analyze_text(sql, source.catalog, source.settings(path))
    if isinstance(found, Refused):
        raise click.ClickException(f"{found.message} (SQLSTATE {found.sqlstate.value}, character {found.position})")
    console = Console()
    for facts in found.statements:
        table = Table(title=facts.kind, title_justify="left")
        for column in ("privilege", "kind", "object", "columns"):
            table.add_column(column)
        for access in facts.accesses:
            columns = "" if access.columns is None else ", ".join(access.columns) or "(any one)"
            table.add_row(access.privilege.value, access.kind.value, str(access.object), columns)
        console.print(table)
        if facts.opaque:
            console.print(f"cannot be seen through: {facts.opaque}")
