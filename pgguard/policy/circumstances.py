"""Circumstances as a person writes them, in rule tests and for `pgguard explain`, to the Context of a decision.

What is left out is what grants least: no group, no address, no ticket, an estimate that cannot be asked for, no value
of any probe. Only the time is the present one.
"""

from datetime import UTC, datetime
from ipaddress import ip_address

import msgspec

from pgguard.model.context import Context, StateValue, Ticket, Transport, Unknown
from pgguard.policy.reading import seconds_of


class CircumstancesInvalid(Exception):  # noqa: N818  # it says what is the case
    """They cannot be read; the message says which part, and how to write it."""


class TicketAs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`age` since the initial authentication and `left` until its end: durations as `8h`, or seconds."""

    indicators: list[str] | str = []
    age: str | float | None = None
    left: str | float = "8h"


class TransactionAs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    block: bool = False
    read_only: bool = False


class As(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """The keys of a rule test's `as`."""

    user: str
    principal: str | None = None
    groups: list[str] | str = []
    database: str | None = None
    at: str | float | None = None
    from_: str | None = None
    application: str = ""
    transport: Transport = Transport.PLAIN
    ticket: TicketAs | None = None
    transaction: TransactionAs = TransactionAs()
    estimated_rows: float | None = None
    reason: str = ""
    state: dict[str, StateValue] = {}


def read_as(plain: object) -> As:
    """Raises CircumstancesInvalid."""
    try:
        return msgspec.convert(plain, As)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise CircumstancesInvalid(f"{where.rstrip('`')}: {what}" if where else what) from error


def context_of(who: As, database: str, now: float) -> Context:
    """The context; `database` where none is named, `now` where no time is. Raises CircumstancesInvalid."""
    at = now if who.at is None else _moment(who.at)
    return Context(
        user=who.user,
        principal=who.user if who.principal is None else who.principal,
        database=who.database or database,
        at=at,
        groups=tuple(sorted({group.lower() for group in _listed(who.groups)})),
        address=None if who.from_ is None else _address(who.from_),
        transport=who.transport,
        application=who.application,
        ticket=None if who.ticket is None else _ticket(who.ticket, at),
        block=who.transaction.block,
        read_only=who.transaction.read_only,
        reason=who.reason,
        estimated_rows=Unknown.UNKNOWN if who.estimated_rows is None else who.estimated_rows,
        state=who.state,
    )


def _listed(words: list[str] | str) -> list[str]:
    return [words] if isinstance(words, str) else words


def _ticket(ticket: TicketAs, at: float) -> Ticket:
    return Ticket(
        ends_at=at + _seconds(ticket.left, "left"),
        authenticated_at=None if ticket.age is None else at - _seconds(ticket.age, "age"),
        indicators=tuple(_listed(ticket.indicators)),
    )


def _seconds(written: str | float, what: str) -> float:
    seconds = seconds_of(written) if isinstance(written, str) else float(written)
    if seconds is None:
        raise CircumstancesInvalid(f'ticket.{what}: "{written}" is no duration; write it as 90s, 15m, 8h or 1d')
    return seconds


def _moment(written: str | float) -> float:
    if not isinstance(written, str):
        try:
            return datetime.fromtimestamp(written, UTC).timestamp()
        except (ValueError, OverflowError, OSError) as error:
            raise CircumstancesInvalid(f"at: {written} are no seconds since 1970 in any year up to 9999") from error
    try:
        moment = datetime.fromisoformat(written)
    except ValueError as error:
        raise CircumstancesInvalid(f'at: "{written}" is no time; write it as 2026-03-02T10:00:00+01:00') from error
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _address(written: str) -> str:
    try:
        address = ip_address(written)
    except ValueError as error:
        raise CircumstancesInvalid(f'from: "{written}" is no address; write it as 10.1.2.3') from error
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
