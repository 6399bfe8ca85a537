"""What collectors work with: the catalog and settings they resolve names by, and the sink that takes accesses.

Theory of operation. One Environment serves one statement. Collectors walk the parse tree and report accesses; what
they cannot see through raises Opaque, what they cannot resolve raises Unresolved with PostgreSQL's own error.
# INVARIANT: a node that no collector knows is Opaque; nothing is passed over.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from pglast import ast

from pgguard.model.access import Access, ColumnNote, Kind, ObjectName, Privilege, Where
from pgguard.model.control import Control
from pgguard.model.sqlstate import SqlState
from pgguard.sql.catalog import Catalog, Relation


class Settings(msgspec.Struct, frozen=True):
    """What names mean in the session: the effective search_path, implicit schemas included, and the roles.

    `creates_in`: where CREATE without a schema puts things, as the database tells it; "" where nobody has asked.
    """

    search_path: tuple[str, ...]
    current_user: str = ""
    session_user: str = ""
    creates_in: str = ""

    @property
    def creation_schema(self) -> str | None:
        """Where CREATE without a schema puts things: the first that is not implicit, which may be `pg_temp`."""
        if self.creates_in:
            return self.creates_in
        return next((s for s in self.search_path if s == "pg_temp" or not s.startswith("pg_")), None)

    @property
    def creates_temporary(self) -> bool:
        """CREATE without a schema makes temporary relations: pg_temp was put first (PostgreSQL docs, search_path)."""
        return (self.creation_schema or "").startswith("pg_temp")


class Opaque(Exception):  # noqa: N818  # it says what the statement is
    """The statement cannot be seen through; the message says why."""


class TooComplex(Exception):  # noqa: N818  # it says what the statement is
    """The statement asks for more work than it is granted; the message says of what kind."""


class Budget:
    """The work that a text is granted, in nodes of its tree. Raises TooComplex when it is used up.

    What a text costs is bounded by its length nowhere: this bounds it.
    """

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int = 1) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooComplex("statement is too complex to be judged")


class Unresolved(Exception):  # noqa: N818  # it says what is the case
    """A name means nothing, or too much: the error that PostgreSQL would give. `position`: byte offset, or -1."""

    def __init__(self, sqlstate: SqlState, message: str, location: int | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.location = -1 if location is None else location
        self.hint = hint


class Hiding(NamedTuple):
    """An object whose name, found by the search_path, hides that of another; or a column that hides another's."""

    what: str
    schema: str
    name: str
    column: str = ""


_STAYS = "pg_catalog"

# constants of their own: see session.expected.Awaits
_TABLE, _SEQUENCE, _SELECT = Kind.TABLE, Kind.SEQUENCE, Privilege.SELECT


class Environment:
    """See the module. `text` is the statement's own text, for controls that need a slice of it.

    `voids`: the parameters that the client declares as of type void. `gone`: objects and columns that are not
    found, since somebody may take them away (hiding.py).
    """

    def __init__(  # noqa: PLR0913  # what a statement's facts depend on
        self,
        catalog: Catalog,
        settings: Settings,
        text: str,
        budget: Budget,
        *,
        voids: frozenset[int] = frozenset(),
        gone: frozenset[Hiding] = frozenset(),
    ) -> None:
        self.catalog = catalog
        self.settings = settings
        self.text = text
        self.budget = budget
        self.voids = voids
        self.made_void: set[int] = set()
        """Parameters that a cast in the text makes void."""
        self.passed: set[int] = set()
        """Parameters that calls are given."""
        self.mixes_void = False
        """Something of type void stands where a parameter may take its type from it."""
        self._gone = gone
        self.hiding: set[Hiding] = set()
        """What was found and hides something else."""
        self.seen: dict[tuple[str, str], Relation] = {}
        """The relations that were found."""
        self.needs_settings = False
        self.unsettles = False
        self.changes_catalog = False
        self.reads_constants = False
        """An access was named by the value of a constant."""
        self.control: Control | None = None
        self.opened: set[tuple[str, str]] = set()
        """The security_invoker views that were looked under."""
        self.row_fields: set[int] = set()
        """The types of the fields of all rows that have no type of their own."""
        self.subquery_names: dict[int, str] = {}
        """What the column of a subquery in an expression is called, by the node's id."""
        self._accesses: set[Access] = set()

    @property
    def accesses(self) -> tuple[Access, ...]:
        return in_order(self._accesses)

    def does(self, privileges: frozenset[Privilege]) -> bool:
        """Whether any access is one of these privileges."""
        return not privileges.isdisjoint([access.privilege for access in self._accesses])

    def add(self, access: Access) -> None:
        self._accesses.add(access)

    def touch(self, privilege: Privilege, kind: Kind, name: str, schema: str | None = None) -> None:
        """An access without columns to an object that needs no resolving."""
        self.add(Access(privilege, kind, ObjectName(name, schema)))

    # relations

    def find_relation(self, name: ast.RangeVar, location: int | None = None) -> Relation:
        """The relation a name means. Raises Unresolved (42P01, 0A000).

        `location`: of the name, where PostgreSQL tells it: in queries, not in commands.
        """
        if name.catalogname and name.catalogname != self.catalog.snapshot.database:
            raise Unresolved(
                SqlState.FEATURE_NOT_SUPPORTED,
                f'cross-database references are not implemented: "{_written(name)}"',
                name.location,
            )
        found = self.look_up(name.schemaname, name.relname or "")
        if found is None:
            raise Unresolved(SqlState.UNDEFINED_TABLE, f'relation "{_written(name)}" does not exist', location)
        return found

    def schema(self, name: str) -> str:
        """The schema of this name: `pg_temp` is the session's own."""
        own = (s for s in self.settings.search_path if s.startswith("pg_temp_"))
        return next(own, name) if name == "pg_temp" else name

    def look_up(self, schema: str | None, name: str) -> Relation | None:
        """The relation by schema, or by the search_path."""
        if schema is None:
            self.needs_settings = True
            places = [s for s in self.settings.search_path if self.catalog.relation(s, name) is not None]
            schema = next(iter(self.reachable("relation", places, name)), None)
        schema = None if schema is None else self.schema(schema)
        found = None if schema is None else self.catalog.relation(schema, name)
        if found is None or schema is None:
            return None
        found = self._left_of(found)
        self.seen[schema, name] = found
        return found

    def _left_of(self, relation: Relation) -> Relation:
        name = relation.schema, relation.name
        gone = frozenset(one.column for one in self._gone if one.column and (one.schema, one.name) == name)
        return relation.without(gone) if gone else relation

    def others_alter(self, relation: Relation) -> bool:
        """Whether other hands than the relation's may add a column to one of those that the statement names."""
        others = {one.hands for one in self.seen.values()} - {None, relation.hands}
        return bool(others)

    def hides(self, column: str, behind: Iterable[Relation]) -> None:
        """A column was found by its bare name: where it is dropped, it is one of these relations' instead, or its row.

        Whoever may alter these themselves reads nothing that they could not read otherwise.
        """
        hands = {relation.hands or (relation.schema, "") for relation in behind}
        for relation in self.seen.values() if hands else ():
            if relation.hands is not None and hands != {relation.hands} and column in relation.columns:
                self.hiding.add(Hiding("column", relation.schema, relation.name, column))

    def reachable(self, what: str, schemas: Sequence[str], name: str) -> list[str]:
        """Of the schemas that have something of this name, in the order of the search_path, those where it is found.

        The session's own temporary objects and PostgreSQL's are taken away by nobody else.
        """
        found = [schema for schema in schemas if Hiding(what, schema, name) not in self._gone]
        if len(found) > 1 and found[0] != _STAYS and not found[0].startswith("pg_temp"):
            self.hiding.add(Hiding(what, found[0], name))
        return found

    def relation_access(  # the parts of one access
        self,
        privilege: Privilege,
        relation: Relation,
        columns: Iterable[str] | None = None,
        where: Where | None = None,
    ) -> None:
        self.add(access_to(relation, privilege, columns, where))

    # creation

    def new_name(self, name: ast.RangeVar) -> ObjectName:
        """The name that a CREATE gives."""
        if name.schemaname:
            return ObjectName(name.relname or "", name.schemaname)
        if name.relpersistence == "t":
            return ObjectName(name.relname or "", "pg_temp")
        self.needs_settings = True
        schema = self.settings.creation_schema
        if schema is None:
            raise Unresolved(SqlState.INVALID_SCHEMA_NAME, "no schema has been selected to create in", name.location)
        return ObjectName(name.relname or "", schema)


def access_to(
    relation: Relation, privilege: Privilege, columns: Iterable[str] | None = None, where: Where | None = None
) -> Access:
    """An access to a relation, with what labels and inherited rules need to know of it."""
    names = None if columns is None else tuple(sorted(set(columns)))
    return Access(
        privilege,
        _SEQUENCE if relation.kind == "S" and privilege is not _SELECT else _TABLE,
        ObjectName(relation.name, relation.schema),
        columns=names,
        candidates=relation.columns if names == () else (),
        ancestors=tuple([ObjectName(name, schema) for schema, name in relation.ancestors]),
        notes=_notes(relation, names or ()),
        where=where,
        temporary=relation.temporary,
    )


def in_order(accesses: Iterable[Access]) -> tuple[Access, ...]:
    """The same order in every process."""
    found = tuple(accesses)
    if len(found) < 2:
        return found
    told_apart = len({_name_key(access) for access in found}) == len(found)  # mostly so, and the rest costs
    return tuple(sorted(found, key=_name_key if told_apart else _sort_key))


def _name_key(access: Access) -> tuple[str, ...]:
    return access.kind, access.object.schema or "", access.object.name, access.privilege


def _sort_key(access: Access) -> tuple[str, ...]:
    return (
        *_name_key(access),
        repr(access.object.arguments),
        repr(access.columns),
        repr(access.where),
        repr(access.candidates),
    )


def _notes(relation: Relation, columns: tuple[str, ...]) -> tuple[ColumnNote, ...]:
    if not relation.comments and not relation.sources:
        return ()
    notes = []
    for column in columns:
        comment = relation.comments.get(column)
        sources = tuple([(s, t, c) for own, s, t, c in relation.sources if own == column])
        if comment is not None or sources:
            notes.append(ColumnNote(column, comment, sources))
    return tuple(notes)


def _written(name: ast.RangeVar) -> str:
    parts = (name.catalogname, name.schemaname, name.relname)
    return ".".join(part for part in parts if part)
