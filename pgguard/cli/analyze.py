"""`pgguard analyze`: what a statement touches, for people and for scripts."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import asyncpg
import click
import msgspec
from rich.console import Console
from rich.table import Table

from pgguard.cli._common import EXISTING_FILE, read_catalog, run
from pgguard.database.catalog_loader import CANNOT_LOAD, CatalogReader
from pgguard.model.access import Access, Kind, Privilege
from pgguard.model.facts import Facts
from pgguard.runtime.analysis import analyze_apart, analyze_at_once
from pgguard.runtime.isolation import IsolatedWorkFailed, Isolation
from pgguard.sql.analyze import Analysis, Refused
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings

_SECONDS = 60
"""For one statement, however large."""

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
    source = _File(read_catalog(catalog_file)) if catalog_file is not None else _Database(dsn or "")
    run(_work(source, sql, _path(search_path)))


def _path(text: str) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] or None


class _File:
    """A saved catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.own = Settings(("pg_catalog", "public"))

    async def refresh(self) -> None:
        """A file stays what it is."""

    async def close(self) -> None:
        """There is nothing to close."""


class _Database:
    """The catalog of a database, and how its login resolves names."""

    catalog: Catalog
    own: Settings

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection | None = None
        self._reader: CatalogReader

    async def refresh(self) -> None:
        """Read what has changed since, through a new connection where the old one is lost."""
        if self._connection is None or self._connection.is_closed():
            await self._connect()
        try:
            await self._read()
        except CANNOT_LOAD:  # most likely the connection is lost, which asyncpg tells in many ways
            await self._connect()
            await self._read()

    async def _connect(self) -> None:
        await self.close()
        self._connection = await asyncpg.connect(self._dsn)
        self._reader = CatalogReader(self._connection)

    async def _read(self) -> None:
        assert self._connection is not None
        row = await self._connection.fetchrow(
            "select pg_catalog.current_schemas(true), current_user, session_user, "
            "coalesce(pg_catalog.current_schema()::pg_catalog.text, '')"
        )
        self.catalog = await self._reader.load()
        self.own = Settings(tuple(row[0]), *row[1:])

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


class _Analyzer:
    """`path`: what names are looked up in where a question does not say it; None for the login's own."""

    def __init__(self, source: _File | _Database, path: list[str] | None) -> None:
        self.source = source
        self._path = path
        self._isolation = Isolation(_SECONDS)

    async def analyze(self, text: str, path: list[str] | None) -> Analysis:
        """Raises IsolatedWorkFailed."""
        catalog, settings = self.source.catalog, self._settings(self._path if path is None else path)
        found = analyze_at_once(text, catalog, settings)
        return await analyze_apart(self._isolation, text, catalog, settings) if found is None else found

    def _settings(self, path: list[str] | None) -> Settings:
        """As the server reads a search_path: "$user" is the login's schema, what does not exist is left out, and
        pg_catalog comes first where it is not named (PostgreSQL docs, section 5.10.3).
        """
        own = self.source.own
        if path is None:
            return own
        named = (own.current_user if schema == "$user" else schema for schema in path)
        there = tuple(schema for schema in named if schema == "pg_temp" or schema in self.source.catalog.schemas)
        return msgspec.structs.replace(
            own, search_path=there if "pg_catalog" in there else ("pg_catalog", *there), creates_in=""
        )


async def _work(source: _File | _Database, sql: str | None, path: list[str] | None) -> None:
    try:
        await source.refresh()
        analyzer = _Analyzer(source, path)
        if sql is not None:
            await _show(sql, analyzer)
            return
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            sys.stdout.buffer.write(msgspec.json.encode(await _answer(line, analyzer)) + b"\n")
            sys.stdout.buffer.flush()
    finally:
        await source.close()


class _Question(msgspec.Struct):
    sql: str
    search_path: list[str] | None = None
    fresh: bool = False


async def _answer(line: bytes, analyzer: _Analyzer) -> dict[str, Any]:
    try:
        question = msgspec.json.decode(line, type=_Question)
        question.sql.encode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return {"error": f'a line must be {{"sql": …, "search_path": […], "fresh": …}} in UTF-8: {error}'}
    if question.fresh:
        try:
            await analyzer.source.refresh()
        except CANNOT_LOAD as error:
            return {"error": f"cannot load the catalog anew: {error or type(error).__name__}"}
    try:
        found = await analyzer.analyze(question.sql, question.search_path)
    except IsolatedWorkFailed as failed:
        return {"error": f"statement could not be analysed: {failed}"}
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


async def _show(sql: str, analyzer: _Analyzer) -> None:
    try:
        found = await analyzer.analyze(sql, None)
    except IsolatedWorkFailed as failed:
        raise click.ClickException(f"statement could not be analysed: {failed}") from failed
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
