"""Loading the catalog of one database through asyncpg: whole at first, then what has changed, each in one snapshot.

Names are joined here rather than in the database: rows come with OIDs, and each OID is looked up once.

Theory of operation. A row version that a later snapshot sees and an earlier one did not was written by a transaction
not older than the oldest that ran at the earlier one: such rows are read again. What has been deleted leaves fewer
rows, and its number is missing in the list of all. Names of schemas, languages and roles, and what came with the
database, stand in many rows that do not change with them: where one of those has changed, everything is read again.
View definitions are texts with names in them, and are read each time.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import asyncpg
import msgspec

from pgguard.database import catalog_queries as queries
from pgguard.sql.catalog import Cast, Catalog, Function, Operator, Relation, Snapshot, Type
from pgguard.sql.catalog_views import Source, plain_sources

_Name = tuple[str, str]
_Rows = dict[int, asyncpg.Record]
Columns = tuple[tuple[str, ...], tuple[int, ...]]
"""Names and types."""

FIRST_OF_USERS = 16384
"""FirstNormalObjectId: what is below came with the database (PostgreSQL source, transam.h)."""

CANNOT_LOAD = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a load raises where the database does not answer. The last is what asyncpg says of a connection that the server
has just ended, before it sees the end.
"""

_MOST_TRANSACTIONS = 2**30
"""The numbers in rows are 32 bits wide and wrap: after that many, recent ones could look old."""


async def change_mark(connection: asyncpg.Connection) -> str:
    """A text that differs when anything in the catalog has changed."""
    mark: str = await connection.fetchval(queries.mark())
    return mark


async def load_catalog(connection: asyncpg.Connection, before: Catalog | None = None) -> Catalog:
    """The whole catalog, in one snapshot of the database.

    Views whose definition only the end of another transaction would show keep the one of `before`; without that they
    cannot be seen through.
    """
    return await CatalogReader(connection).load(before)


class CatalogReader:
    """Loads the catalog again and again through one connection, and reads only what has changed."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._version: int = connection.get_server_version().major
        self._catalog: Catalog | None = None
        self._forget()

    def _forget(self) -> None:
        self._oldest = 0
        """The oldest transaction that ran at the last load."""
        self._counts: dict[str, int] = {}
        self._names: dict[tuple[str, int], str] = {}
        self._types: dict[int, Type] = {}
        self._relations: _Rows = {}
        self._functions: _Rows = {}
        self._operators: _Rows = {}
        self._casts: list[asyncpg.Record] = []
        self._links = _Links()
        self._built_relations: dict[int, tuple[asyncpg.Record, _Ties, Relation]] = {}
        self._built_functions: dict[int, Function] = {}
        self._waiting = False
        """A view's definition could not be asked for."""

    async def load(self, before: Catalog | None = None) -> Catalog:
        """The catalog as it is now. `before`: as of load_catalog, for the first time. Raises CANNOT_LOAD."""
        before = self._catalog or before
        known, self._catalog = self._catalog, None  # an error in between leaves nothing to build on
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            await self._connection.execute("set local search_path = ''")
            await self._connection.execute(queries.LOCK_TIMEOUT)
            oldest, following = await self._connection.fetchrow(queries.SNAPSHOT)
            if known is None or following - self._oldest > _MOST_TRANSACTIONS:
                self._forget()
            changed = await self._changed()
            names = {(row[0], row[1]): row[2] for row in await self._connection.fetch(queries.NAMES)}
            if known is not None and not changed and names == self._names and not self._waiting:
                self._catalog = known
            else:
                if not await self._caught_up(names, changed):
                    self._forget()
                    await self._caught_up(names, await self._changed())
                self._catalog = await self._build(before)
            self._oldest = oldest
        return self._catalog

    async def _changed(self) -> frozenset[str]:
        """The catalogs that have other rows than at the last load."""
        found: Mapping[str, list[int]] = await self._connection.fetchrow(queries.changes(self._oldest))
        changed = frozenset(
            table for table, (count, recent) in found.items() if recent or count != self._counts.get(table)
        )
        self._counts = {table: count for table, (count, _) in found.items()}
        return changed

    async def _caught_up(self, names: dict[tuple[str, int], str], changed: frozenset[str]) -> bool:
        """Read what has changed, or all at first. False where it cannot be told what else has changed with it."""
        if any(names.get(key, name) != name for key, name in self._names.items()):
            return False
        first, self._names = not self._names, names
        since = None if first else self._oldest
        for row in await self._connection.fetch(queries.types(self._version, since)):
            if not first and row["oid"] < FIRST_OF_USERS:
                return False
            self._types[row["oid"]] = type_of(row)
        if first:
            rows = await self._connection.fetch(queries.relations(some=False))
        else:
            numbers = [row[0] for row in await self._connection.fetch(queries.recent_relations(self._oldest))]
            rows = await self._connection.fetch(queries.relations(some=True), numbers)
        self._relations |= {row["oid"]: row for row in rows}
        functions = {row["oid"]: row for row in await self._connection.fetch(queries.functions(since))}
        self._functions |= functions
        for oid in functions:
            self._built_functions.pop(oid, None)
        self._operators |= {row["oid"]: row for row in await self._connection.fetch(queries.operators(since))}
        if "pg_cast" in changed:
            self._casts = await self._connection.fetch(queries.CASTS)
        await self._links.read(self._connection, changed)
        return first or await self._left_out_what_is_gone(changed)

    async def _left_out_what_is_gone(self, changed: frozenset[str]) -> bool:
        """False where something is there that was not read."""
        parts: tuple[tuple[str, str, dict[int, Any]], ...] = (
            ("pg_class", queries.RELATION_NUMBERS, self._relations),
            ("pg_type", queries.TYPE_NUMBERS, self._types),
            ("pg_proc", queries.FUNCTION_NUMBERS, self._functions),
            ("pg_operator", queries.OPERATOR_NUMBERS, self._operators),
        )
        for table, query, known in parts:
            if table not in changed:
                continue
            there = {row[0] for row in await self._connection.fetch(query)}
            if there - known.keys():
                return False
            for oid in known.keys() - there:
                del known[oid]
                self._built_functions.pop(oid, None)
                self._built_relations.pop(oid, None)
        return True

    async def _build(self, before: Catalog | None) -> Catalog:
        formatted = {type_.oid: type_.formatted for type_ in self._types.values()}
        functions = {oid: self._function(row, formatted) for oid, row in self._functions.items()}
        definitions = {row["oid"]: row["definition"] for row in await self._connection.fetch(queries.DEFINITIONS)}
        return Catalog(
            Snapshot(
                database=await self._connection.fetchval("select pg_catalog.current_database()"),
                version=self._version,
                schemas=tuple(n for n in self._named("schema") if not n.startswith(("pg_toast", "pg_temp"))),
                relations=self._linked(definitions, before),
                functions=tuple(functions.values()),
                operators=tuple(
                    Operator(row[0], row[1], _name(functions[row[2]]), *row[3:])
                    for row in self._operators.values()
                    if row[2] in functions
                ),
                casts=_casts(self._casts, self._types, functions),
                types=tuple(self._types.values()),
                roles=self._named("role"),
                extensions=await _names(self._connection, queries.EXTENSIONS),
                languages=self._named("language"),
            )
        )

    def _named(self, kind: str) -> tuple[str, ...]:
        return tuple(name for (kind_, _), name in self._names.items() if kind_ == kind)

    def _function(self, row: asyncpg.Record, formatted: dict[int, str]) -> Function:
        """Those of users may take or give what has another name since."""
        oid: int = row["oid"]
        if oid >= FIRST_OF_USERS:
            return function_of(row, self._columns(row["result_relation"]), formatted)
        if oid not in self._built_functions:
            self._built_functions[oid] = function_of(row, self._columns(row["result_relation"]), formatted)
        return self._built_functions[oid]

    def _columns(self, relation: int) -> Columns:
        row = self._relations.get(relation)
        return ((), ()) if row is None else (tuple(row["columns"]), tuple(row["types"]))

    def _linked(self, definitions: dict[int, str | None], before: Catalog | None) -> tuple[Relation, ...]:
        links, rows = self._links, self._relations
        self._waiting = None in definitions.values()
        links.names = {oid: (row["nspname"], row["relname"]) for oid, row in rows.items()}
        sources = plain_sources(
            {
                links.names[oid]: (definition, tuple(rows[oid]["columns"]))
                for oid, definition in definitions.items()
                if definition is not None and oid in rows
            }
        )
        return tuple(
            self._relation(row, links.ties(row, definitions, sources.get(links.names[oid], ())), before)
            for oid, row in rows.items()
        )

    def _relation(self, row: asyncpg.Record, ties: "_Ties", before: Catalog | None) -> Relation:
        oid = row["oid"]
        known = self._built_relations.get(oid)
        if known is not None and known[0] is row and known[1] == ties:
            return known[2]
        relation = _relation(row, ties)
        if ties.waiting:
            return _as_before(relation, before)
        self._built_relations[oid] = row, ties, relation
        return relation


def _name(function: Function) -> tuple[str, str, tuple[str, ...]]:
    return function.schema, function.name, function.arguments


async def _names(connection: asyncpg.Connection, query: str) -> tuple[str, ...]:
    return tuple(row[0] for row in await connection.fetch(query))


def type_of(row: Iterable[Any]) -> Type:
    return Type(*row)


def _casts(rows: Iterable[asyncpg.Record], types: dict[int, Type], functions: dict[int, Function]) -> tuple[Cast, ...]:
    return tuple(
        Cast(
            (types[source].schema, types[source].name), (types[target].schema, types[target].name),
            _name(functions[function]) if function in functions else None, source, target, context, method,
        )
        for source, target, function, context, method in rows
        if source in types and target in types
    )  # fmt: skip


# relations


class _Ties(msgspec.Struct, frozen=True):
    """What of a relation does not stand in its own rows."""

    ancestors: tuple[_Name, ...]
    dependents: tuple[_Name, ...]
    referenced_by: tuple[_Name, ...]
    constraints: tuple[tuple[str, list[int]], ...]
    primary_key: tuple[int, ...]
    comments: str | None
    table: _Name | None
    definition: str | None
    sources: tuple[Source, ...]
    waiting: bool
    """Its definition could not be asked for."""


class _Links:
    """What ties relations to one another, by OID."""

    def __init__(self) -> None:
        self.names: dict[int, _Name] = {}
        self.parents: dict[int, list[int]] = {}
        self.dependents: dict[int, list[int]] = {}
        self.referencing: dict[int, list[int]] = {}
        self.constraints: dict[int, list[tuple[str, list[int]]]] = {}
        self.primary_keys: dict[int, tuple[int, ...]] = {}
        self.comments: dict[int, str] = {}

    async def read(self, connection: asyncpg.Connection, changed: frozenset[str]) -> None:
        """Anew, what stands in the catalogs that have changed."""
        for table, query, gathered in (
            ("pg_inherits", queries.PARENTS, self.parents),
            ("pg_rewrite", queries.VIEW_DEPENDENTS, self.dependents),
            ("pg_constraint", queries.FOREIGN_KEYS, self.referencing),
        ):
            if table in changed:
                gathered.clear()
                for one, other in await connection.fetch(query):
                    gathered.setdefault(one, []).append(other)
        if "pg_constraint" in changed:
            self.constraints.clear()
            self.primary_keys.clear()
            for oid, name, numbers, is_primary in await connection.fetch(queries.CONSTRAINTS):
                self.constraints.setdefault(oid, []).append((name, numbers))
                if is_primary:
                    self.primary_keys[oid] = tuple(numbers)
        if changed & {"pg_description", "pg_attribute"}:
            self.comments = dict(map(tuple, await connection.fetch(queries.COMMENTS)))

    def ties(self, row: asyncpg.Record, definitions: Mapping[int, str | None], sources: tuple[Source, ...]) -> _Ties:
        oid = row["oid"]
        return _Ties(
            ancestors=self._reach(oid, self.parents),
            dependents=self._reach(oid, self.dependents),
            referenced_by=self._reach(oid, self.referencing),
            constraints=tuple(self.constraints.get(oid, ())),
            primary_key=self.primary_keys.get(oid, ()),
            comments=self.comments.get(oid),
            table=self.names.get(row["indexed"] or 0),
            definition=definitions.get(oid) if row["invoker"] else None,
            sources=sources,
            waiting=oid in definitions and definitions[oid] is None,
        )

    def _reach(self, oid: int, edges: dict[int, list[int]]) -> tuple[_Name, ...]:
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


def _as_before(relation: Relation, before: Catalog | None) -> Relation:
    known = None if before is None else before.relation_by_oid(relation.oid)
    if known is None:
        return msgspec.structs.replace(relation, definition="")
    return msgspec.structs.replace(relation, definition=known.definition, sources=known.sources)


def _relation(row: asyncpg.Record, ties: _Ties) -> Relation:
    columns, numbers = tuple(row["columns"]), tuple(row["numbers"])
    by_number = dict(zip(numbers, columns, strict=True))
    return Relation(
        schema=row["nspname"],
        name=row["relname"],
        kind=row["relkind"],
        columns=columns,
        comments=json.loads(ties.comments) if ties.comments else {},
        ancestors=ties.ancestors,
        definition=ties.definition,
        sources=ties.sources,
        oid=row["oid"],
        types=tuple(row["types"]),
        numbers=numbers,
        generated=tuple(row["generated"]),
        owner=row["owner"],
        row_type=row["row_type"],
        of_type=row["of_type"],
        constraints={name: constrained(keys, by_number) for name, keys in ties.constraints},
        primary_key=constrained(ties.primary_key, by_number),
        table=ties.table,
        dependents=ties.dependents,
        referenced_by=ties.referenced_by,
    )


def constrained(keys: Iterable[int], columns: Mapping[int, str]) -> tuple[str, ...]:
    """The columns that a constraint is on: all, where one of its keys is an expression (number 0): so the server reads
    it where ON CONFLICT names the constraint (PostgreSQL source, get_relation_constraint_attnos).
    """
    return tuple(columns.values()) if 0 in keys else tuple(columns[n] for n in keys if n in columns)


# functions


def function_of(row: Mapping[str, Any], columns: Columns, formatted: dict[int, str]) -> Function:
    """`columns`: of the composite type that it returns, if it does."""
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


def _result_columns(row: Mapping[str, Any], columns: Columns) -> Columns | None:
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
        return columns
    return ((), ()) if row["result_name"] == "record" else None
