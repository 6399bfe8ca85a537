"""Context: everything a decision depends on that is not in the statement: who, where from, when, in what state."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Principal(msgspec.Struct, frozen=True, order=True):
    """A Kerberos principal with its realm kept: `alice@EXAMPLE.COM`, `HTTP/web.example.com@EXAMPLE.COM`."""

    name: str
    realm: str

    def __str__(self) -> str:
        return f"{self.name}@{self.realm}"


class Ticket(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the accepted Kerberos ticket tells. Times are seconds since the epoch, in the proxy's clock.

    `authenticated_at` is the time of the initial authentication; None where the ticket does not tell.
    `ends_at` is absolute, clock skew already subtracted.
    """

    ends_at: float
    authenticated_at: float | None = None
    indicators: tuple[str, ...] = ()


class Transport(StrEnum):
    GSS = "gss"
    TLS = "tls"
    PLAIN = "plain"
    SOCKET = "socket"


class Replication(StrEnum):
    """What a connection is for; each value is what the startup packet's `replication` says."""

    NONE = "false"
    DATABASE = "database"
    """Replication commands, and SQL in a database."""
    PHYSICAL = "true"
    """Replication commands alone."""


class Unknown(StrEnum):
    """Why an estimate is not a number."""

    NOT_ASKED = "not_asked"
    """The planner has not been asked yet: a decision that depends on it says so (`Decision.wants_estimate`)."""
    UNKNOWN = "unknown"
    """It could not be asked: the condition is unknown, and fails closed."""
    SKIPPED = "skipped"
    """At Parse, before values are bound: the condition is skipped, Bind and Execute judge in full."""


StateValue = bool | int | float | str


class Context(msgspec.Struct, frozen=True, omit_defaults=True):
    """The circumstances of one statement. All of it goes into the audit, so that it can be decided again.

    `user` is the login user, whatever SET ROLE says. `groups`, lower case and sorted, are all groups of the user,
    nesting resolved; None when the directory cannot tell (staler than allowed): everything that depends on a group
    is then unknown, and fails closed; the same holds for each None below.
    `at`: seconds since the epoch. `address`: the client's, IPv4-mapped ones as IPv4; None for a Unix socket.
    `block`: the statement runs inside an explicit transaction block. `state`: the fresh probe values by name;
    a probe without a fresh value is left out.
    """

    user: str
    principal: str
    database: str
    at: float
    groups: tuple[str, ...] | None = None
    address: str | None = None
    transport: Transport = Transport.PLAIN
    application: str = ""
    ticket: Ticket | None = None
    block: bool | None = False
    read_only: bool | None = False
    reason: str = ""
    estimated_rows: float | Unknown = Unknown.NOT_ASKED
    state: Mapping[str, StateValue] = {}
