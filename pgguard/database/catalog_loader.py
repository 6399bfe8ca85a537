"""Loading the catalog of one database, in a handful of queries through asyncpg, all in one snapshot.

Names are joined here rather than in the database: rows come with OIDs, and each OID is looked up once.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import asyncpg
import msgspec

from pgguard.database import catalog_queries as queries
from pgguard.sql.catalog import Cast, Catalog, Function, Operator, Relation, Snapshot, Type
from pgguard.sql.catalog_views import plain_sources

_Name = tuple[str, str]
_FunctionName = tuple[str, str, tuple[str, ...]]


async def change_mark(connection: asyncpg.Connection) -> str:
    """A text that differs when anything in the catalog has changed."""
    mark: str = await connection.fetchval(queries.mark())
    return mark


async def load_catalog(connection: asyncpg.Connection, before: Catalog | None = None) -> Catalog:
    """The whole catalog, in one snapshot of the database.

    Views whose definition only the end of another transaction would show keep the one of `before`; without that they
    cannot be seen through.
    """
    version = connection.get_server_version().major
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("set local search_path = ''")
        await connection.execute(queries.LOCK_TIMEOUT)
        types = [type_of(row) for row in await connection.fetch(queries.types(version))]
        formatted = {type_.oid: type_.formatted for type_ in types}
        rows = await connection.fetch(queries.RELATIONS)
        columns = {row["oid"]: (tuple(row["columns"]), tuple(row["types"])) for row in rows}
        functions = [function_of(row, columns, formatted) for row in await connection.fetch(queries.FUNCTIONS)]
        named = {f.oid: (f.schema, f.name, f.arguments) for f in functions}
        return Catalog(
            Snapshot(
                database=await connection.fetchval("select pg_catalog.current_database()"),
                version=version,
                schemas=await _names(connection, queries.SCHEMAS),
                relations=_relations(rows, await _Links.load(connection, rows), before),
                functions=tuple(functions),
                operators=tuple(
                    Operator(row[0], row[1], named[row[2]], *row[3:])
                    for row in await connection.fetch(queries.OPERATORS)
                    if row[2] in named
                ),
                casts=_casts(await connection.fetch(queries.CASTS), types, named),
                types=tuple(types),
                roles=await _names(connection, queries.ROLES),
                extensions=await _names(connection, queries.EXTENSIONS),
                languages=await _names(connection, queries.LANGUAGES),
                foreign_servers=await _names(connection, queries.FOREIGN_SERVERS),
            )
        )


async def _names(connection: asyncpg.Connection, query: str) -> tuple[str, ...]:
    return tuple(row[0] for row in await connection.fetch(query))


def type_of(row: Iterable[Any]) -> Type:
    return Type(*row)


def _casts(rows: Iterable[asyncpg.Record], types: list[Type], functions: dict[int, _FunctionName]) -> tuple[Cast, ...]:
    names = {type_.oid: (type_.schema, type_.name) for type_ in types}
    return tuple(
        Cast(names[source], names[target], functions.get(function), source, target, context, method)
        for source, target, function, context, method in rows
        if source in names and target in names
    )


# relations


class _Links:
    """What ties relations to one another, by OID."""

    def __init__(self) -> None:
        self.names: dict[int, _Name] = {}
        self.parents: dict[int, list[int]] = {}
        self.dependents: dict[int, list[int]] = {}
        self.referencing: dict[int, list[int]] = {}
        self.tables: dict[int, int] = {}
        self.constraints: dict[int, list[tuple[str, list[int]]]] = {}

    @classmethod
    async def load(cls, connection: asyncpg.Connection, relations: Iterable[asyncpg.Record]) -> "_Links":
        links = cls()
        links.names = {row["oid"]: (row["nspname"], row["relname"]) for row in relations}
        for query, gathered in (
            (queries.PARENTS, links.parents),
            (queries.VIEW_DEPENDENTS, links.dependents),
            (queries.FOREIGN_KEYS, links.referencing),
        ):
            for one, other in await connection.fetch(query):
                gathered.setdefault(one, []).append(other)
        links.tables = {index: table for index, table in await connection.fetch(queries.INDEXES)}  # noqa: C416
        for oid, name, numbers in await connection.fetch(queries.CONSTRAINTS):
            links.constraints.setdefault(oid, []).append((name, numbers))
        return links

    def reach(self, oid: int, edges: dict[int, list[int]]) -> tuple[_Name, ...]:
        """The names of all that can be reached, transitively."""
        if oid not in edges:
            return ()
        found: dict[int, None] = {}
        waiting = list(edges[oid])
        while waiting:
            one = waiting.pop()
            if one not in found:
                found[one] = None
                waiting += edges.get(one, ())
        return tuple(sorted(self.names[one] for one in found if one in self.names))


def _relations(rows: list[asyncpg.Record], links: _Links, before: Catalog | None) -> tuple[Relation, ...]:
    sources = plain_sources(
        {
            (row["nspname"], row["relname"]): (row["definition"], tuple(row["columns"]))
            for row in rows
            if row["definition"] is not None
        }
    )
    relations = (_relation(row, links, sources.get((row["nspname"], row["relname"]), ())) for row in rows)
    return tuple(
        _as_before(relation, before) if row["waiting"] else relation
        for row, relation in zip(rows, relations, strict=True)
    )


def _as_before(relation: Relation, before: Catalog | None) -> Relation:
    known = None if before is None else before.relation_by_oid(relation.oid)
    if known is None:
        return msgspec.structs.replace(relation, definition="")
    return msgspec.structs.replace(relation, definition=known.definition, sources=known.sources)


def _relation(row: asyncpg.Record, links: _Links, sources: tuple[tuple[str, str, str, str], ...]) -> Relation:
    oid, columns, numbers = row["oid"], tuple(row["columns"]), tuple(row["numbers"])
    by_number = dict(zip(numbers, columns, strict=True))
    return Relation(
        schema=row["nspname"],
        name=row["relname"],
        kind=row["relkind"],
        columns=columns,
        comments=json.loads(row["comments"]) if row["comments"] else {},
        ancestors=links.reach(oid, links.parents),
        definition=row["definition"] if row["invoker"] else None,
        sources=sources,
        oid=oid,
        types=tuple(row["types"]),
        numbers=numbers,
        generated=tuple(row["generated"]),
        owner=row["owner"],
        row_type=row["row_type"],
        of_type=row["of_type"],
        constraints={
            name: tuple(by_number[n] for n in keys if n in by_number) for name, keys in links.constraints.get(oid, ())
        },
        table=links.names.get(links.tables.get(oid, 0)),
        dependents=links.reach(oid, links.dependents),
        referenced_by=links.reach(oid, links.referencing),
    )


# functions


def function_of(
    row: Mapping[str, Any], columns: dict[int, tuple[tuple[str, ...], tuple[int, ...]]], formatted: dict[int, str]
) -> Function:
    types = tuple(row["argument_types"])
    required = len(types) - row["pronargdefaults"]
    given = _result_columns(row, columns)
    return Function(
        schema=row["nspname"],
        name=row["proname"],
        arguments=tuple(formatted.get(type_, "-") for type_ in types),
        kind=row["prokind"],
        required=required,
        oid=row["oid"],
        variadic=row["variadic"],
        columns=None if given is None else given[0],
        may_set=row["may_set"],
        argument_types=types,
        names=_argument_names(row),
        variadic_type=row["variadic_type"],
        result=row["result"],
        returns_set=row["proretset"],
        column_types=() if given is None else given[1],
        volatility=row["volatility"],
        language=row["lanname"],
        definer=row["prosecdef"],
        owner=row["owner"],
        sets=tuple(row["sets"]),
        aggregate=row["aggregate"],
        direct=row["direct"],
    )


def _argument_names(row: Mapping[str, Any]) -> tuple[str, ...]:
    names = row["names"]
    if not names:
        return ()
    modes = row["modes"] or ["i"] * len(names)
    return tuple(name for name, mode in zip(names, modes, strict=True) if mode in "ibv")


def _result_columns(
    row: Mapping[str, Any], columns: dict[int, tuple[tuple[str, ...], tuple[int, ...]]]
) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """What the function gives in FROM: its OUT and TABLE arguments, the columns of its row type, or a scalar."""
    if row["modes"]:
        names = row["names"] or [""] * len(row["modes"])
        out = [i for i, mode in enumerate(row["modes"]) if mode in "obt"]
        labels = tuple(names[i] or f"column{n}" for n, i in enumerate(out, 1))
        types = tuple(row["all_types"][i] for i in out)
        if len(out) > 1 or (out and row["names"] and names[out[0]]):
            return labels, types
        if out:
            return None
    if row["result_relation"]:
        return columns.get(row["result_relation"], ((), ()))
    return ((), ()) if row["result_name"] == "record" else None
