"""Controls: what a statement does to the names and the state that session and database share.

The session keeps maps of prepared statements and portals, and must know when they change; it applies a control
only when the database has confirmed the statement (CommandComplete).
"""

from enum import StrEnum

import msgspec


class TransactionVerb(StrEnum):
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    RELEASE = "release"
    ROLLBACK_TO = "rollback_to"
    PREPARE = "prepare"
    """PREPARE TRANSACTION."""


class Transaction(msgspec.Struct, frozen=True, tag=True):
    """BEGIN, COMMIT and their like. `ends`: the statement ends a transaction, and always passes (rule-language 2).

    `savepoint`: the name of the one that SAVEPOINT, RELEASE and ROLLBACK TO are about.
    """

    verb: TransactionVerb
    ends: bool
    savepoint: str | None = None


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """`PREPARE name AS query`: `query` is the text of the inner statement, `parameters` its declared type names."""

    name: str
    query: str
    parameters: tuple[str, ...] = ()


class ExecutePrepared(msgspec.Struct, frozen=True, tag=True):
    """`EXECUTE name`, also inside EXPLAIN and CREATE TABLE AS: it does what the named statement does."""

    name: str


class Deallocate(msgspec.Struct, frozen=True, tag=True):
    """`DEALLOCATE name`; None is ALL."""

    name: str | None


class DeclareCursor(msgspec.Struct, frozen=True, tag=True):
    """`DECLARE name CURSOR FOR query`: `query` is the text of the inner query."""

    name: str
    query: str
    holdable: bool = False


class FetchCursor(msgspec.Struct, frozen=True, tag=True):
    """FETCH, MOVE, and WHERE CURRENT OF read through the named cursor."""

    name: str


class CloseCursor(msgspec.Struct, frozen=True, tag=True):
    """`CLOSE name`; None is ALL."""

    name: str | None


class Discard(msgspec.Struct, frozen=True, tag=True):
    """`DISCARD ALL | PLANS | SEQUENCES | TEMP`, in upper case."""

    what: str


class CopyIn(msgspec.Struct, frozen=True, tag=True):
    """COPY … FROM STDIN; also START_REPLICATION, in which both sides send, and UPLOAD_MANIFEST."""


class CopyOut(msgspec.Struct, frozen=True, tag=True):
    """COPY … TO STDOUT."""


Control = (
    Transaction
    | Prepare
    | ExecutePrepared
    | Deallocate
    | DeclareCursor
    | FetchCursor
    | CloseCursor
    | Discard
    | CopyIn
    | CopyOut
)
