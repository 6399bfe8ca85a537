"""The records of the audit: one JSON object a line (docs/audit.md).

A decision record holds all that the decision depended on, so that it can be decided again. Fields that are empty are
left out. `type` tells the kind of a record, `schema` the version of all this.
"""

from typing import Literal

import msgspec

from pgguard.audit.chain import LINKED
from pgguard.model.context import Context, Replication
from pgguard.model.decision import Decision, Effect, Redaction
from pgguard.model.facts import Facts

SCHEMA = 1


class SessionStarted(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="session-start"):
    at: str
    session: str
    user: str
    principal: str
    database: str
    transport: str
    address: str | None = None
    application: str = ""
    replication: Replication = Replication.NONE


class SessionEnded(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="session-end"):
    at: str
    session: str
    statements: int = 0


class LoginRefused(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="login-refused"):
    at: str
    reason: str
    user: str = ""
    principal: str = ""
    database: str = ""
    address: str | None = None


class DecisionMade(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="decision"):
    """Written before the statement is relayed. `effect` is what came of it, `decision` how the rules came to it.

    `binary`: which of the values were bound in binary, and are written in hexadecimal. `types`: the OIDs of the types
    that the client declared for them, 0 where it left one to the server.
    `error`: the SQLSTATE and message of a statement that was refused before any rule was asked. `refers`: the ids of
    the records of the Parse, PREPARE or DECLARE that brought what it binds, executes or fetches. `redact`: what the
    rules asked to leave out of it; None left that to the audit's settings. `hidden`: what of it redaction has changed.
    """

    at: str
    id: str
    session: str
    moment: str
    text: str
    effect: Effect
    context: Context
    facts: tuple[Facts, ...] = ()
    decision: Decision | None = None
    rules: str = ""
    error: str | None = None
    values: tuple[str | None, ...] = ()
    binary: tuple[int, ...] = ()
    types: tuple[int, ...] = ()
    refers: tuple[str, ...] = ()
    redact: Redaction | None = None
    hidden: tuple[Literal["text", "values"], ...] = ()


class StatementEnded(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="outcome"):
    """`index`: which statement of the string. `tag` is missing where it failed or never ran."""

    at: str
    id: str
    session: str
    index: int = 0
    tag: str | None = None
    rows: int = 0
    copied: int = 0
    sqlstate: str | None = None
    seconds: float = 0.0


class HoldEvent(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="hold"):
    """What happened to a held statement. `id` is that of its decision record, `by` whoever did it."""

    at: str
    id: str
    session: str
    hold: str
    event: str
    by: str = ""
    why: str = ""


class ConsoleCommand(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="console"):
    """Written before the command is carried out. `error`: why it was refused."""

    at: str
    session: str
    user: str
    command: str
    error: str | None = None


class Changed(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="change"):
    """Something in force changed: `what` is start, stop, rules, directory, rotate or break."""

    at: str
    what: str
    detail: str = ""


Record = (
    SessionStarted | SessionEnded | LoginRefused | DecisionMade | StatementEnded | HoldEvent | ConsoleCommand | Changed
)

_decoder = msgspec.json.Decoder(Record)
MARK = b'"schema":%d,' % SCHEMA
"""How each record begins, behind its brace."""


def read_record(line: bytes) -> Record:
    """The record of a line of the log. Raises msgspec.DecodeError, also where it is of another schema."""
    record: Record = _decoder.decode(line)
    check_schema(line)
    return record


def check_schema(line: bytes) -> None:
    """Raises msgspec.DecodeError where the record is of another schema."""
    if not line.startswith(MARK, LINKED):
        raise msgspec.DecodeError(f"its schema is not {SCHEMA}; read it with the version of pgguard that wrote it")
