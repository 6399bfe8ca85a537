"""Accesses: what a statement does, in PostgreSQL's own privilege model.

An access is (privilege, kind of object, object, columns). The tables here say which privileges each kind has;
the rule language's reference is generated from them.
Source: PostgreSQL docs, section 5.8 "Privileges"; the kinds beyond it are named in docs/rules-reference.md.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec


class Privilege(StrEnum):
    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"
    REFERENCES = "references"
    TRIGGER = "trigger"
    MAINTAIN = "maintain"
    LOCK = "lock"
    CREATE = "create"
    ALTER = "alter"
    DROP = "drop"
    GRANT = "grant"
    USAGE = "usage"
    EXECUTE = "execute"
    CONNECT = "connect"
    TEMP = "temp"
    BECOME = "become"
    SET = "set"
    SHOW = "show"
    LISTEN = "listen"
    NOTIFY = "notify"
    RUN = "run"
    READ_FILE = "read_file"
    WRITE_FILE = "write_file"
    RUN_PROGRAM = "run_program"
    REPLICATE = "replicate"
    SIGNAL = "signal"
    ADMIN = "admin"
    TWO_PHASE = "two_phase"
    READ = "read"
    WRITE = "write"


class Kind(StrEnum):
    TABLE = "table"
    SEQUENCE = "sequence"
    FUNCTION = "function"
    SCHEMA = "schema"
    TYPE = "type"
    EXTENSION = "extension"
    LANGUAGE = "language"
    FOREIGN_DATA_WRAPPER = "foreign_data_wrapper"
    FOREIGN_SERVER = "foreign_server"
    PUBLICATION = "publication"
    SUBSCRIPTION = "subscription"
    EVENT_TRIGGER = "event_trigger"
    TABLESPACE = "tablespace"
    COLLATION = "collation"
    CONVERSION = "conversion"
    CAST = "cast"
    TRANSFORM = "transform"
    OPERATOR = "operator"
    OPERATOR_CLASS = "operator_class"
    OPERATOR_FAMILY = "operator_family"
    ACCESS_METHOD = "access_method"
    TEXT_SEARCH = "text_search"
    DATABASE = "database"
    ROLE = "role"
    SETTING = "setting"
    CHANNEL = "channel"
    SERVER = "server"
    LARGE_OBJECT = "large_object"
    OPAQUE = "opaque"


_DDL = (Privilege.CREATE, Privilege.ALTER, Privilege.DROP)
_OBJECT = (*_DDL, Privilege.GRANT)
_P = Privilege

PRIVILEGES_OF: Mapping[Kind, tuple[Privilege, ...]] = MappingProxyType({
    Kind.TABLE: (
        _P.SELECT, _P.INSERT, _P.UPDATE, _P.DELETE, _P.TRUNCATE, _P.REFERENCES, _P.TRIGGER, _P.MAINTAIN, _P.LOCK,
        *_OBJECT,
    ),
    Kind.SEQUENCE: (_P.USAGE, _P.SELECT, _P.UPDATE, *_OBJECT),
    Kind.FUNCTION: (_P.EXECUTE, *_OBJECT),
    Kind.SCHEMA: (_P.USAGE, *_OBJECT),
    Kind.TYPE: (_P.USAGE, *_OBJECT),
    Kind.EXTENSION: _OBJECT,
    Kind.LANGUAGE: (_P.USAGE, _P.RUN, *_OBJECT),
    Kind.FOREIGN_DATA_WRAPPER: (_P.USAGE, *_OBJECT),
    Kind.FOREIGN_SERVER: (_P.USAGE, *_OBJECT),
    Kind.PUBLICATION: _OBJECT,
    Kind.SUBSCRIPTION: _OBJECT,
    Kind.EVENT_TRIGGER: _OBJECT,
    Kind.TABLESPACE: _OBJECT,
    Kind.COLLATION: _OBJECT,
    Kind.CONVERSION: _OBJECT,
    Kind.CAST: _OBJECT,
    Kind.TRANSFORM: _OBJECT,
    Kind.OPERATOR: _OBJECT,
    Kind.OPERATOR_CLASS: _OBJECT,
    Kind.OPERATOR_FAMILY: _OBJECT,
    Kind.ACCESS_METHOD: _OBJECT,
    Kind.TEXT_SEARCH: _OBJECT,
    Kind.DATABASE: (_P.CONNECT, _P.TEMP, *_OBJECT),
    Kind.ROLE: (_P.BECOME, *_OBJECT),
    Kind.SETTING: (_P.SET, _P.SHOW),
    Kind.CHANNEL: (_P.LISTEN, _P.NOTIFY),
    Kind.SERVER: (
        _P.READ_FILE, _P.WRITE_FILE, _P.RUN_PROGRAM, _P.REPLICATE, _P.SIGNAL, _P.ADMIN, _P.TWO_PHASE,
    ),
    Kind.LARGE_OBJECT: (_P.READ, _P.WRITE, *_OBJECT),
    Kind.OPAQUE: (_P.RUN,),
})  # fmt: skip

COLUMN_PRIVILEGES = frozenset({_P.SELECT, _P.INSERT, _P.UPDATE, _P.REFERENCES})
"""Privileges that a table grants by column (PostgreSQL docs, GRANT)."""


class ObjectName(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """The name of an object as stored (no quoting): `schema` is None for kinds that live in no schema.

    `arguments` are a function's argument types, by their SQL names ("integer", "text", "app.money"); None for
    everything that is not a function. For kind `server` the name is the path or command, for `large_object` the
    OID in decimal, or "*" where the statement names none.
    """

    name: str
    schema: str | None = None
    arguments: tuple[str, ...] | None = None

    def __str__(self) -> str:
        name = self.name if self.schema is None else f"{self.schema}.{self.name}"
        return name if self.arguments is None else f"{name}({', '.join(self.arguments)})"


class Where(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """The WHERE of the query level to which an access belongs.

    `equals` names (sorted) the columns of the accessed relation for which the WHERE has `column = constant or
    parameter` as a term of its top-level AND.
    """

    present: bool
    equals: tuple[str, ...] = ()


class ColumnNote(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """What labels need to know of an accessed column and its name does not tell.

    `sources` are the (schema, table, column) that a view's column plainly is; each with its own comment in
    `source_comments` at the same index.
    """

    column: str
    comment: str | None = None
    sources: tuple[tuple[str, str, str], ...] = ()
    source_comments: tuple[str | None, ...] = ()


class Access(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """One thing that a statement does to one object.

    `columns`: None where the privilege has no columns on this kind; () for "the privilege on at least one column"
    (count(*), FOR UPDATE, DEFAULT VALUES), and then `candidates` are all the columns of the relation; otherwise
    the columns, sorted, system columns included.
    `ancestors`: for a relation that is a partition or child, all its parents, transitively: deny and hold rules
    on these match as well.
    `temporary`: a temporary table of the session's own.
    """

    privilege: Privilege
    kind: Kind
    object: ObjectName
    columns: tuple[str, ...] | None = None
    candidates: tuple[str, ...] = ()
    ancestors: tuple[ObjectName, ...] = ()
    notes: tuple[ColumnNote, ...] = ()
    where: Where | None = None
    temporary: bool = False


SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"})
"""Columns every table has beside its own (PostgreSQL docs, section 5.6)."""
