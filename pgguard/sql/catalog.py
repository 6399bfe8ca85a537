"""The catalog as a value: what names mean in one database, at one moment.

Immutable; a refresh makes a new one. `overlaid` adds relations that only one session sees (temporary tables,
uncommitted DDL) without copying the rest. Source of the fields: PostgreSQL docs, chapter 53 "System Catalogs".
"""

from collections.abc import Iterable, Mapping

import msgspec


class Relation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A table, view, sequence or whatever else has a row in pg_class. `kind`: pg_class.relkind.

    `columns`: the user columns in order, dropped ones left out; `generated` among them cannot be written.
    `ancestors`: all parents, transitively, as (schema, name). `definition`: of a security_invoker view, its query
    with every name qualified. `sources`: of a view, the (column, schema, table, column) that a column plainly is.
    """

    schema: str
    name: str
    kind: str
    columns: tuple[str, ...] = ()
    comments: Mapping[str, str] = {}
    ancestors: tuple[tuple[str, str], ...] = ()
    definition: str | None = None
    sources: tuple[tuple[str, str, str, str], ...] = ()
    temporary: bool = False


class Function(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function, procedure, aggregate or window function. `kind`: pg_proc.prokind.

    `arguments`: the input types by SQL name. `required`: how many must be given; `variadic`: the last takes any number.
    `columns`: the names of the columns it gives in FROM; None for a scalar, whose column is named as the function or
    its alias, () for a record whose columns the query must define.
    `may_set`: calling it can change settings (it is volatile, and neither built in nor a plain aggregate).
    """

    schema: str
    name: str
    arguments: tuple[str, ...]
    kind: str
    required: int
    oid: int = 0
    variadic: bool = False
    columns: tuple[str, ...] | None = None
    may_set: bool = False

    def takes(self, count: int) -> bool:
        return self.required <= count and (self.variadic or count <= len(self.arguments))


class Operator(msgspec.Struct, frozen=True):
    """An operator outside pg_catalog, and its function as (schema, name, arguments)."""

    schema: str
    name: str
    function: tuple[str, str, tuple[str, ...]]


class Cast(msgspec.Struct, frozen=True):
    """A cast by a function outside pg_catalog; types as (schema, name)."""

    source: tuple[str, str]
    target: tuple[str, str]
    function: tuple[str, str, tuple[str, ...]]


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """The catalog as it is saved to a file. `types` are (schema, name)."""

    database: str
    version: int
    schemas: tuple[str, ...]
    relations: tuple[Relation, ...]
    functions: tuple[Function, ...]
    operators: tuple[Operator, ...] = ()
    casts: tuple[Cast, ...] = ()
    types: tuple[tuple[str, str], ...] = ()


class Catalog:
    """A snapshot with its lookups."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._relations = {(r.schema, r.name): r for r in snapshot.relations}
        self._functions: dict[str, list[Function]] = {}
        self._oids: dict[int, Function] = {}
        for function in snapshot.functions:
            self._functions.setdefault(function.name, []).append(function)
            self._oids[function.oid] = function
        self._operators: dict[str, list[Operator]] = {}
        for operator in snapshot.operators:
            self._operators.setdefault(operator.name, []).append(operator)
        self._types = frozenset(snapshot.types)
        self._schemas = frozenset(snapshot.schemas)
        self._overlay: Mapping[tuple[str, str], Relation] = {}

    def overlaid(self, relations: Iterable[Relation]) -> "Catalog":
        """The catalog with these relations over it."""
        copy = object.__new__(Catalog)
        copy.__dict__ |= self.__dict__
        copy._overlay = {**self._overlay, **{(r.schema, r.name): r for r in relations}}  # a copy of itself
        return copy

    @property
    def schemas(self) -> frozenset[str]:
        return self._schemas

    def relation(self, schema: str, name: str) -> Relation | None:
        return self._overlay.get((schema, name)) or self._relations.get((schema, name))

    def functions(self, name: str) -> list[Function]:
        """All functions of this name, in every schema."""
        return self._functions.get(name, [])

    def function_by_oid(self, oid: int) -> Function | None:
        return self._oids.get(oid)

    def operators(self, name: str) -> list[Operator]:
        return self._operators.get(name, [])

    @property
    def casts(self) -> tuple[Cast, ...]:
        return self.snapshot.casts

    def has_type(self, schema: str, name: str) -> bool:
        return (schema, name) in self._types


def save(catalog: Catalog) -> bytes:
    return msgspec.json.encode(catalog.snapshot)


def restore(data: bytes) -> Catalog:
    """A saved catalog. Raises msgspec.DecodeError or ValidationError where the bytes are none."""
    return Catalog(msgspec.json.decode(data, type=Snapshot))
