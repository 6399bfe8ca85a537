"""The catalog as a value: what names mean in one database, at one moment.

Immutable; a refresh makes a new one. `overlaid` adds relations that only one session sees (temporary tables,
uncommitted DDL) without copying the rest. pg_catalog is in it like any other schema: which overload or operator
the database picks depends on all of them. Types are spoken of by OID; 0 stands for one that is not known.
Source of the fields: PostgreSQL docs, chapter 53 "System Catalogs".
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import msgspec

_FIXED = frozenset({"pg_catalog", "information_schema", "pg_toast"})


class Relation(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """A table, view, sequence or whatever else has a row in pg_class. `kind`: pg_class.relkind.

    `columns`: the user columns in order, dropped ones left out; `types` and `numbers` (attnum) run along with them.
    `generated` among them cannot be written. `ancestors`: all parents, transitively, as (schema, name).
    `definition`: of a security_invoker view, its query with every name qualified,
    "" where that cannot be told. `sources`: of a view, the
    (column, schema, table, column) that a column plainly is. `constraints`: the columns of each unique, primary or
    exclusion constraint, by its name. `row_type`: the OID of its composite type. `table`: of an index, what it is on.
    `dependents`: the (schema, name) of the views that go with it in a CASCADE, `referenced_by` of the tables whose
    foreign keys point at it. `of_type`: of a typed table (CREATE TABLE OF), the OID of that type.
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
    oid: int = 0
    types: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()
    generated: tuple[str, ...] = ()
    owner: str = ""
    row_type: int = 0
    constraints: Mapping[str, tuple[str, ...]] = {}
    primary_key: tuple[str, ...] = ()
    table: tuple[str, str] | None = None
    dependents: tuple[tuple[str, str], ...] = ()
    referenced_by: tuple[tuple[str, str], ...] = ()
    of_type: int = 0

    @cached_property
    def typed(self) -> Mapping[str, int]:
        """The types of the columns by their names: statements name the same relations again and again."""
        return dict(zip(self.columns, self.types or (0,) * len(self.columns), strict=True))

    @property
    def hands(self) -> tuple[str, str] | None:
        """Whose it is to alter, as far as it can be told: None for what nobody else alters while a statement waits."""
        return None if self.temporary or self.schema in _FIXED else (self.schema, self.owner)

    def without(self, gone: frozenset[str]) -> "Relation":
        """As it is once these columns are dropped."""
        kept = [place for place, name in enumerate(self.columns) if name not in gone]
        return msgspec.structs.replace(
            self,
            columns=tuple(self.columns[place] for place in kept),
            types=tuple(self.types[place] for place in kept) if self.types else (),
            numbers=tuple(self.numbers[place] for place in kept) if self.numbers else (),
        )

    def type_of(self, column: str) -> int:
        """The type of a column; 0 where it is not known."""
        return self.typed.get(column, 0)


class Function(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function, procedure, aggregate or window function. `kind`: pg_proc.prokind.

    `arguments`: the input types by SQL name, `argument_types` by OID, `names` of the input arguments ("" for none).
    `required`: how many must be given; `variadic`: the last takes any number, each of type `variadic_type`.
    `columns`: the names of the columns it gives in FROM, with `column_types`; None for a scalar, whose column is named
    as the function or its alias, () for a record whose columns the query must define.
    `may_set`: calling it can change settings (it is volatile, and neither built in nor a plain aggregate).
    `aggregate`: pg_aggregate.aggkind (n, o, h), with `direct` arguments before WITHIN GROUP.
    `sets`: its SET clauses as "name=value".
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
    argument_types: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    variadic_type: int = 0
    result: int = 0
    returns_set: bool = False
    column_types: tuple[int, ...] = ()
    volatility: str = "v"
    language: str = ""
    definer: bool = False
    owner: str = ""
    sets: tuple[str, ...] = ()
    aggregate: str = ""
    direct: int = 0


class Operator(msgspec.Struct, frozen=True):
    """An operator and its function as (schema, name, arguments); `left` is 0 for a prefix operator."""

    schema: str
    name: str
    function: tuple[str, str, tuple[str, ...]]
    left: int = 0
    right: int = 0
    result: int = 0
    oid: int = 0
    owner: str = ""


class Cast(msgspec.Struct, frozen=True):
    """A cast; types as (schema, name) and as OIDs.

    `function`: what does it; None where no function does (binary coercible, or by input and output).
    `context`: pg_cast.castcontext, i(mplicit), a(ssignment), e(xplicit); `method`: f(unction), b(inary), i(nout).
    """

    source: tuple[str, str]
    target: tuple[str, str]
    function: tuple[str, str, tuple[str, ...]] | None
    source_type: int = 0
    target_type: int = 0
    context: str = "e"
    method: str = "f"

    @property
    def by_users(self) -> bool:
        """It came with none of PostgreSQL's own types and functions alone: somebody may drop it."""
        schemas = {self.source[0], self.target[0], self.function[0] if self.function else _BUILT_IN}
        return schemas != {_BUILT_IN}


class Type(msgspec.Struct, frozen=True, omit_defaults=True):
    """A type. `kind`: pg_type.typtype (b, c, d, e, p, r, m); `formatted`: its SQL name, as "integer" for int4.

    `element`: of an array (or a type that can be subscripted as one), `array`: of its elements, `base`: of a domain,
    `relation`: pg_class OID of a composite, `is_array`: a true array; `range`: of a range or multirange, its subtype.
    """

    oid: int
    schema: str
    name: str
    kind: str = "b"
    formatted: str = ""
    category: str = "U"
    preferred: bool = False
    element: int = 0
    array: int = 0
    base: int = 0
    relation: int = 0
    is_array: bool = False
    range: int = 0


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """The catalog as it is saved to a file."""

    database: str
    version: int
    schemas: tuple[str, ...]
    relations: tuple[Relation, ...]
    functions: tuple[Function, ...]
    operators: tuple[Operator, ...] = ()
    casts: tuple[Cast, ...] = ()
    types: tuple[Type, ...] = ()
    roles: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


class Overlay(msgspec.Struct, frozen=True):
    """What one session sees otherwise: what it has for itself or has changed, and the numbers of what is gone for it.

    `gone_casts`: by the types between which they were.
    """

    relations: tuple[Relation, ...] = ()
    functions: tuple[Function, ...] = ()
    operators: tuple[Operator, ...] = ()
    casts: tuple[Cast, ...] = ()
    types: tuple[Type, ...] = ()
    schemas: tuple[str, ...] = ()
    gone_relations: frozenset[int] = frozenset()
    gone_functions: frozenset[int] = frozenset()
    gone_operators: frozenset[int] = frozenset()
    gone_types: frozenset[int] = frozenset()
    gone_casts: frozenset[tuple[int, int]] = frozenset()


_BUILT_IN = "pg_catalog"
_MOST_CHOICES = 20_000
_T = TypeVar("_T")


class Catalog:
    """A snapshot with its lookups."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._relations = {(r.schema, r.name): r for r in snapshot.relations}
        self._relations_by_oid = {r.oid: r for r in snapshot.relations if r.oid}
        self._functions: dict[str, list[Function]] = {}
        self._oids: dict[int, Function] = {}
        for function in snapshot.functions:
            self._functions.setdefault(function.name, []).append(function)
            self._oids[function.oid] = function
        self._operators: dict[str, list[Operator]] = {}
        for operator in snapshot.operators:
            self._operators.setdefault(operator.name, []).append(operator)
        self._casts = {(c.source_type, c.target_type): c for c in snapshot.casts}
        self._user_casts = _users(snapshot.casts)
        self._types = {(t.schema, t.name): t for t in snapshot.types}
        self._types_by_oid = {t.oid: t for t in snapshot.types}
        self._schemas = frozenset(snapshot.schemas)
        self._overlay: Mapping[tuple[str, str], Relation] = {}
        self._own_by_oid: Mapping[int, Relation] = {}
        self._choices: dict[Hashable, Any] = {}

    def chosen(self, key: Hashable, choose: Callable[[], _T]) -> _T:
        """What `choose` gives, remembered by its key: which overload a name and types pick never changes here."""
        found: _T | None = self._choices.get(key)
        if found is None:
            found = choose()
            if len(self._choices) >= _MOST_CHOICES:
                self._choices.clear()
            self._choices[key] = found
        return found

    def overlaid(self, relations: Iterable[Relation]) -> "Catalog":
        """The catalog with these relations over it."""
        copy = object.__new__(Catalog)
        copy.__dict__ |= self.__dict__
        own = {(r.schema, r.name): r for r in relations}
        copy._overlay = {**self._overlay, **own}  # a copy of itself
        numbers = {r.oid: r for r in own.values() if r.oid}
        copy._own_by_oid = {**self._own_by_oid, **numbers}  # a copy of itself
        return copy

    def seen_with(self, overlay: Overlay) -> "Catalog":
        """The catalog as the session sees it whose overlay this is."""
        if overlay == Overlay(overlay.relations):
            return self.overlaid(overlay.relations)
        here = self.snapshot
        return Catalog(
            msgspec.structs.replace(
                here,
                schemas=tuple(dict.fromkeys((*here.schemas, *overlay.schemas))),
                relations=_replaced(here.relations, overlay.relations, overlay.gone_relations),
                functions=_replaced(here.functions, overlay.functions, overlay.gone_functions),
                operators=_replaced(here.operators, overlay.operators, overlay.gone_operators),
                casts=_replaced_casts(here.casts, overlay),
                types=_replaced(here.types, overlay.types, overlay.gone_types),
            )
        )

    @property
    def schemas(self) -> frozenset[str]:
        return self._schemas

    # relations

    def relation(self, schema: str, name: str) -> Relation | None:
        return self._overlay.get((schema, name)) or self._relations.get((schema, name))

    def relation_by_oid(self, oid: int) -> Relation | None:
        return self._own_by_oid.get(oid) or self._relations_by_oid.get(oid)

    def referenced_by(self, relation: Relation) -> list[Relation]:
        """The tables at which its foreign keys point."""
        name = relation.schema, relation.name
        return [r for r in (*self._relations.values(), *self._overlay.values()) if name in r.referenced_by]

    def descendants(self, relation: Relation) -> list[Relation]:
        """Its partitions, and what inherits from it, transitively."""
        name = relation.schema, relation.name
        return [r for r in (*self._relations.values(), *self._overlay.values()) if name in r.ancestors]

    def uses_of_types(self, types: frozenset[int], gone: frozenset[tuple[str, str]], schema: str = "") -> bool:
        """Whether something is made with one of these types beside what is gone: these relations, all in the schema."""
        relations = (*self._relations.values(), *self._overlay.values())
        functions = (f for f in self._oids.values() if f.schema != schema)
        return (
            any(types & set(r.types) and (r.schema, r.name) not in gone for r in relations)
            or any(types & {*f.argument_types, f.result, *f.column_types} for f in functions)
            or any(t.base in types for t in self._types_by_oid.values() if t.schema != schema)
        )

    def relations_in(self, schema: str) -> list[Relation]:
        return [r for r in (*self._relations.values(), *self._overlay.values()) if r.schema == schema]

    # functions, operators, casts

    def functions(self, name: str) -> Sequence[Function]:
        """All functions of this name, in every schema."""
        return self._functions.get(name, ())

    def functions_in(self, schema: str) -> list[Function]:
        return [f for f in self._oids.values() if f.schema == schema]

    def function_by_oid(self, oid: int) -> Function | None:
        return self._oids.get(oid)

    def operators(self, name: str) -> Sequence[Operator]:
        """All operators of this name, in every schema, the built-in ones too."""
        return self._operators.get(name, ())

    def cast(self, source: int, target: int) -> Cast | None:
        return self._casts.get((source, target))

    @property
    def user_casts(self) -> tuple[Cast, ...]:
        """The casts that a function outside pg_catalog does."""
        return self._user_casts

    # types

    def type(self, schema: str, name: str) -> Type | None:
        return self._types.get((schema, name))

    def type_by_oid(self, oid: int) -> Type | None:
        return self._types_by_oid.get(oid)

    def has_type(self, schema: str, name: str) -> bool:
        return (schema, name) in self._types


_Numbered = TypeVar("_Numbered", Relation, Function, Operator, Type)


def _replaced(known: tuple[_Numbered, ...], own: tuple[_Numbered, ...], gone: frozenset[int]) -> tuple[_Numbered, ...]:
    out = gone | {one.oid for one in own}
    return tuple(one for one in known if one.oid not in out) + own


def _replaced_casts(known: tuple[Cast, ...], overlay: Overlay) -> tuple[Cast, ...]:
    out = overlay.gone_casts | {(cast.source_type, cast.target_type) for cast in overlay.casts}
    return tuple(c for c in known if (c.source_type, c.target_type) not in out) + overlay.casts


def _users(casts: Iterable[Cast]) -> tuple[Cast, ...]:
    return tuple(c for c in casts if c.function is not None and c.function[0] != _BUILT_IN)


def save(catalog: Catalog) -> bytes:
    return msgspec.json.encode(catalog.snapshot)


def restore(data: bytes) -> Catalog:
    """A saved catalog. Raises msgspec.DecodeError or ValidationError where the bytes are none."""
    return Catalog(msgspec.json.decode(data, type=Snapshot))
