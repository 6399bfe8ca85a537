"""Scopes: which names a query level can see, and what reading them touches.

Theory of operation (PostgreSQL source, parse_relation.c). A query level has a list of items, one for each entry of its
FROM: a relation, a subquery, a function, a CTE, a join with an alias. A column reference is looked for in the items of
the level, then in those of the level around it. Reading a column of a relation marks it; all columns of a subquery
were marked when it was walked, so reading them marks nothing more. When the level ends, each relation becomes accesses.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pgguard.model.access import SYSTEM_COLUMNS, Privilege, Where
from pgguard.model.sqlstate import SqlState
from pgguard.sql.catalog import Relation
from pgguard.sql.environment import Environment, Unresolved
from pgguard.sql.types import ANYTHING, RECORD


class Column(NamedTuple):
    """A column as a query level sees it; type 0 where it is not known."""

    name: str
    type: int = ANYTHING


def columns_of(relation: Relation) -> list[Column]:
    types = relation.types or (ANYTHING,) * len(relation.columns)
    return [Column(name, type_) for name, type_ in zip(relation.columns, types, strict=True)]


_SELECT, _UPDATE = Privilege.SELECT, Privilege.UPDATE  # constants of their own: see session.expected.Awaits
_SYSTEM_KINDS = frozenset("rpmfSvt")


class Item:
    """One entry of FROM without a relation: a subquery, a function, VALUES, a CTE.

    `columns` None: they are not known (a record that only the database can tell); any name may be one.
    """

    def __init__(self, alias: str, columns: Iterable[Column] | None, *, schema: str | None = None) -> None:
        self.alias = alias
        self.schema = schema
        given = None if columns is None else tuple(columns)
        self.columns = None if given is None else tuple(column.name for column in given)
        self._types: Mapping[str, int] = {column.name: column.type for column in reversed(given or ())}
        self.row_type = ANYTHING if given is None else RECORD
        """The type of the whole row."""
        self.visible = True
        """Whether unqualified names and `*` reach it (not behind the alias of a join)."""
        self.inside: Scope | None = None
        """The level of a subquery, which FOR UPDATE reaches into."""
        self.hidden: frozenset[str] = frozenset()
        """Columns that a USING has merged: they are reached unqualified through the join, and still by the alias."""

    def has(self, column: str) -> bool:
        return self.columns is None or column in self.columns

    def type_of(self, column: str) -> int:
        return self._types.get(column, ANYTHING)

    def typed_columns(self) -> list[Column] | None:
        return None if self.columns is None else [Column(name, self.type_of(name)) for name in self.columns]

    def shows(self, column: str) -> bool:
        """Whether an unqualified name certainly is this column."""
        return self.visible and self.columns is not None and self.has(column) and column not in self.hidden

    def read(self, column: str) -> None:
        """Mark a column as read."""

    def read_all(self) -> None:
        """Mark every column as read: `*`, or the whole row."""


class RelationItem(Item):
    """A relation in FROM, or the target of a write; gathers what is done with it."""

    def __init__(self, relation: Relation, alias: str, columns: Iterable[Column] | None, schema: str | None) -> None:
        super().__init__(alias, columns or (), schema=schema)
        self._real: dict[str, str] = {}
        """Stored names by other ones."""
        if columns is None:
            self.columns, self._types = relation.columns, relation.typed
        else:
            self._real = dict(zip(self.columns or (), relation.columns, strict=False))
        self.relation = relation
        self.row_type = relation.row_type
        self.selected: set[str] | None = None
        self.inserted: set[str] | None = None
        self.updated: set[str] | None = None
        self.deletes = False

    def has(self, column: str) -> bool:
        return column in self._types or (column in SYSTEM_COLUMNS and self.relation.kind in _SYSTEM_KINDS)

    def real(self, column: str) -> str:
        """The stored name behind an aliased one."""
        return self._real.get(column, column)

    def read(self, column: str) -> None:
        self.select(self.real(column))

    def select(self, *columns: str) -> None:
        self.selected = (self.selected or set()) | set(columns)

    def read_all(self) -> None:
        self.select(*self.relation.columns)

    def report(self, env: Environment, where: Where | None) -> None:
        """Hand over the accesses. An INSERT has no WHERE of its own."""
        written = ((_SELECT, self.selected), (_UPDATE, self.updated))
        for privilege, columns in written:
            if columns is not None:
                env.relation_access(privilege, self.relation, columns, where)
        if self.inserted is not None:
            env.relation_access(Privilege.INSERT, self.relation, self.inserted)
        if self.deletes:
            env.relation_access(Privilege.DELETE, self.relation, None, where)


class JoinItem(Item):
    """A join with an alias: its columns are those of its sides."""

    def __init__(self, alias: str, columns: list[tuple[Column, list[tuple[Item, str]]]], *, open_ended: bool) -> None:
        super().__init__(alias, None if open_ended else [column for column, _ in columns])
        self._behind: dict[str, list[tuple[Item, str]]] = {}
        for column, behind in columns:
            self._behind.setdefault(column.name, []).extend(behind)

    def read(self, column: str) -> None:
        for item, name in self._behind.get(column, ()):
            item.read(name)

    def read_all(self) -> None:
        for column in self._behind:
            self.read(column)


class Scope:
    """The names of one query level. `around` is the level that encloses it, None at the top."""

    def __init__(self, around: "Scope | None" = None) -> None:
        self.around = around
        self.items: list[Item] = []
        self.merged: dict[str, list[tuple[Item, str]]] = {}
        """Columns merged by USING or NATURAL: reading one reads all that it was merged from."""
        self.relations: list[RelationItem] = []
        self.where: Where | None = None
        """The WHERE of the level, once it is done."""

    def add(self, item: Item) -> None:
        if isinstance(item, RelationItem):
            self.relations.append(item)
        self.items.append(item)

    def alias(self, name: str, schema: str | None = None) -> Item | None:
        """The item that a qualifier names, here or further out."""
        for scope in self.outward():
            for item in scope.items:
                if item.alias == name and (schema is None or item.schema == schema):
                    return item
        return None

    def column(self, name: str, location: int | None) -> int | None:
        """Read an unqualified column; its type, None where there is none. Raises Unresolved where it is ambiguous."""
        unknown: Item | None = None
        for scope in self.outward():
            behind = scope.merged.get(name)
            if behind is not None:
                for item, column in behind:
                    item.read(column)
                return merged_type(behind)
            sure = [item for item in scope.items if item.shows(name)]
            if len(sure) > 1:
                raise Unresolved(SqlState.AMBIGUOUS_COLUMN, f'column reference "{name}" is ambiguous', location)
            if sure:
                sure[0].read(name)
                return sure[0].type_of(name)
            unknown = unknown or next((i for i in scope.items if i.visible and i.columns is None), None)
        return None if unknown is None else ANYTHING

    def behind(self, name: str, *, here: bool = False) -> list[Relation]:
        """The relations of which a bare name would be a column, or the whole row, where it is no column of this level.

        `here`: where it is no output column, so that columns of this level count.
        """
        found: list[Relation] = []
        scope: Scope | None = self
        while scope is not None:
            for item in (*scope.items, *scope.relations):
                if isinstance(item, RelationItem) and (item.alias == name or (here and name in (item.columns or ()))):
                    found.append(item.relation)  # noqa: PERF401  # without two generators for each name
            scope, here = scope.around, True
        return found

    def read_all(self) -> None:
        """`*`: every visible column of this level."""
        for item in self.items:
            if item.visible:
                item.read_all()

    def star_columns(self) -> list[Column] | None:
        """The names that `*` gives, merged columns first; None where some are not known."""
        columns = [Column(name, merged_type(behind)) for name, behind in self.merged.items()]
        for item in self.items:
            if not item.visible:
                continue
            if item.columns is None:
                return None
            columns += [Column(name, item.type_of(name)) for name in item.columns if name not in item.hidden]
        return columns

    def outward(self) -> "Iterable[Scope]":
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.around

    def report(self, env: Environment, present: bool, equals: Mapping[Item, set[str]]) -> None:
        """The level is done: hand over the accesses of its relations, with its WHERE."""
        self.where = Where(present)
        for item in self.relations:
            columns = tuple(sorted(equals.get(item, ())))
            item.report(env, Where(present, columns))


def merged_type(behind: Iterable[tuple[Item, str]]) -> int:
    """The type of a column that USING has merged, where its sides agree."""
    found = {item.type_of(column) for item, column in behind}
    return found.pop() if len(found) == 1 else ANYTHING
