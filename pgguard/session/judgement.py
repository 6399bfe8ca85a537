"""The seam between a session and whoever judges: the session asks, and does not know how judgement is made.

Theory of operation. For every message that carries or runs SQL the session calls `Judge.judge` once, with a Request.
The judge answers at once with one of four:

- `Allow`: the session relays the very bytes it received (# INVARIANT: those bytes, unchanged).
- `Refuse`: the session relays a poison in its place, and rewrites the error that comes back into the refusal.
- `Ask`: the judge needs the session to be quiet (no reply outstanding), and perhaps answers to queries of its own,
  before it can tell. When that is so the session calls `Judge.answered` with the same request and the answers, which
  returns one of the four again. Questions are asked by the extended protocol under a name of pgguard's own, followed
  by a Flush inside an open pipeline segment (a Sync would commit it) and by a Sync elsewhere; replies are swallowed.
- `Later`: the judge will call `Session.resolve(request.number, verdict)` some time later (a hold, a slow analysis).

While a request waits, later client messages wait behind it; server messages go on to the client.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Protocol

import msgspec

from pgguard.model.access import Access
from pgguard.model.control import Control
from pgguard.model.refusal import Refusal


class Moment(StrEnum):
    """At which message judgement is asked."""

    QUERY = "query"
    PARSE = "parse"
    BIND = "bind"
    EXECUTE = "execute"
    FUNCTION_CALL = "function_call"


class TransactionStatus(Enum):
    """The status byte of ReadyForQuery (PostgreSQL docs, section 55.7)."""

    IDLE = b"I"
    BLOCK = b"T"
    FAILED = b"E"


class Meaning:
    """What a prepared statement has been judged to touch, from its preparation on. The judge widens it.

    The database analyses a prepared statement anew only when what it names has changed, or the search_path has: a
    temporary table made since may shadow one that it still reads (PostgreSQL source, plancache.c). So whatever its text
    has meant at its preparation or at any use since, it may still do.
    """

    def __init__(self, accesses: tuple[Access, ...] = ()) -> None:
        self.accesses = accesses

    def widened(self, accesses: tuple[Access, ...]) -> tuple[Access, ...]:
        """All that it may do, if its text means this now."""
        if not self.accesses or self.accesses == accesses:
            return accesses
        return tuple(dict.fromkeys((*accesses, *self.accesses)))


class Prepared(msgspec.Struct, frozen=True):
    """A prepared statement: its text and the parameter type OIDs its Parse declared (0: left to the server).

    `origin`: the number of the request that prepared it, or declared the cursor that it is the query of.
    """

    text: bytes
    parameter_types: tuple[int, ...] = ()
    meaning: Meaning = msgspec.field(default_factory=Meaning)
    origin: int = 0


class Portal(msgspec.Struct, frozen=True):
    """A portal or cursor: the statement it runs, with the values bound to it and their format codes."""

    prepared: Prepared
    parameters: tuple[bytes | None, ...] = ()
    formats: tuple[int, ...] = ()


class Names(Protocol):
    """The session's view of the names that protocol and SQL share; exact only while the session is quiet."""

    def prepared(self, name: str) -> Prepared | None: ...

    def portal(self, name: str) -> Portal | None: ...

    @property
    def idle(self) -> int:
        """How often the database has told that no transaction is open."""
        ...


class Request(msgspec.Struct, frozen=True):
    """One message to be judged.

    `number` is unique in the session. `text` is the SQL of a Query or Parse, and that of the statement behind a Bind
    or Execute. `status` and `quiet` tell what the database last said and whether anything is in flight: only if
    `quiet` is `status` the present one; `steady`: nothing in flight begins or ends a transaction block, so that
    `status` tells whether one is open. `segment`: an extended-protocol segment is open (no Sync since); `behind`:
    something that runs was relayed in it before. `round`: how many messages have gone on before that end an implicit
    transaction (Sync, Query, FunctionCall): `segment` alone does not tell that one has ended, since a Close or Describe
    opens the next. `meaning` is
    that of the prepared statement that a Parse, Bind or Execute is about; None for any other message. `portal`: of a
    Bind and of each Execute of what it bound, the same one. `origin`: of a Bind or Execute the number of the request
    that brought its statement.
    """

    number: int
    moment: Moment
    text: bytes
    status: TransactionStatus
    quiet: bool
    segment: bool
    parameters: tuple[bytes | None, ...] = ()
    formats: tuple[int, ...] = ()
    parameter_types: tuple[int, ...] = ()
    function: int | None = None
    row_limit: int = 0
    meaning: Meaning | None = None
    steady: bool = False
    portal: Portal | None = None
    origin: int = 0
    behind: bool = False
    round: int = 0

    @property
    def inside(self) -> bool:
        """Whether what it runs may be part of a transaction that goes on behind it."""
        return self.status is not TransactionStatus.IDLE or self.segment or not self.quiet


class Allow(msgspec.Struct, frozen=True):
    """Relay. `controls`: one entry a statement of the string, None where it has none, applied as each completes; or
    nothing where no statement has any.

    `touched`: of each statement that PREPARE or DECLARE names, what it was judged to touch.
    """

    controls: tuple[Control | None, ...] = ()
    max_rows: int | None = None
    touched: tuple[tuple[Access, ...], ...] = ()


class Refuse(msgspec.Struct, frozen=True):
    """Poison. `audit_id` is the mark in the poison text. `terminate`: the session ends once the refusal is out."""

    refusal: Refusal
    audit_id: str
    terminate: bool = False


class Precedent(msgspec.Struct, frozen=True, weakref=True):
    """How a request was allowed, to allow others by that differ from it in nothing but the values that they bind.

    The judge keeps it, for as long as others may go by it: sessions do not. `controls`: as of the Allow. `accesses`:
    what a prepared statement means by now.
    """

    controls: tuple[Control | None, ...]
    accesses: tuple[Access, ...]


class Repeated(msgspec.Struct, frozen=True):
    """What is to be judged by precedents: a Query, or a Parse, if that comes again, a Bind and its Execute.

    They have the numbers from `first` on. `origin`: of the request that brought the statement of a Bind, else 0.
    """

    first: int
    status: TransactionStatus
    parameters: tuple[bytes | None, ...] = ()
    origin: int = 0


class Question(msgspec.Struct, frozen=True):
    """A query of pgguard's own to the session's database, with values for its parameters as a Bind carries them.

    An EXPLAIN of a client's statement takes the client's own values, formats and types.
    """

    text: bytes
    parameters: tuple[bytes | None, ...] = ()
    formats: tuple[int, ...] = ()
    parameter_types: tuple[int, ...] = ()


class Ask(msgspec.Struct, frozen=True):
    """Call again when the session is quiet, with the answers to these questions (none: quiet is all that is asked)."""

    questions: tuple[Question, ...] = ()


class Later(msgspec.Struct, frozen=True):
    """The verdict comes by `Session.resolve`."""


Verdict = Allow | Refuse | Ask | Later


class Rows(msgspec.Struct, frozen=True):
    """The answer to a query: rows of text-format values."""

    rows: tuple[tuple[str | None, ...], ...]


class Failed(msgspec.Struct, frozen=True):
    """The database refused a query of pgguard's own, or it could not be asked (failed transaction)."""

    sqlstate: str
    message: str


Answer = Rows | Failed


class Judge(Protocol):
    """Whoever judges. Must not raise: but if it does, the session refuses the statement (fails closed)."""

    def judge(self, request: Request, names: Names) -> Verdict: ...

    def answered(self, request: Request, names: Names, answers: tuple[Answer, ...]) -> Verdict: ...

    def precedent(self, number: int) -> Precedent | None:
        """How the request of this number was allowed, at once and just now; None where others may not go by that.

        Of the latest two requests that were.
        """
        ...

    def follows(self, precedents: tuple[Precedent, ...], repeated: Repeated) -> bool:
        """Whether requests are allowed by their precedents, asked while nothing is in flight and no segment is open.

        Where they are not, nothing has been said of them: they are judged as any others.
        """
        ...

    def may_show(self, number: int, error: Mapping[str, str]) -> bool:
        """Whether the client may see the DETAIL of an error that shows values of a row.

        `number`: of the request that failed; `error`: its fields by their letters.
        """
        ...

    def may_hear(self, channel: str) -> bool:
        """Whether the client may see a notification of this channel, whatever has let it LISTEN."""
        ...
