"""Conditions, in three-valued logic: True, False, and None for what cannot be told.

A condition is a small frozen value with one method, `holds`. What they look at is a Moment: the context of the
statement, the statement's facts, and the access that is being judged. Combination is Kleene's: False settles an AND,
True settles an OR, whatever the unknown ones would have said.
"""

import operator
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from math import isnan
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec

from pgguard.model.access import Access, Privilege
from pgguard.model.context import Context, StateValue, Unknown
from pgguard.model.facts import Facts
from pgguard.policy.patterns import Matcher


class Moment:
    """One access of one statement in its context. `favour`: what a skipped condition counts as."""

    def __init__(self, context: Context, facts: Facts, access: Access | None, *, favour: bool) -> None:
        self.context = context
        self._facts = facts
        self._access = access
        self.favour = favour
        self.unknown: list[str] = []
        self.wants_estimate = False
        self.of_statement = False
        """A condition has looked at the statement, and not at its context alone."""

    @property
    def facts(self) -> Facts:
        self.of_statement = True
        return self._facts

    @property
    def access(self) -> Access | None:
        self.of_statement = True
        return self._access

    def cannot_tell(self, why: str) -> None:
        self.unknown.append(why)


class Condition(Protocol):
    def holds(self, moment: Moment) -> bool | None: ...


class AllOf(msgspec.Struct, frozen=True):
    conditions: tuple[Condition, ...]

    def holds(self, moment: Moment) -> bool | None:
        result: bool | None = True
        for condition in self.conditions:
            found = condition.holds(moment)
            if found is False:
                return False
            if found is None:
                result = None
        return result


class AnyOf(msgspec.Struct, frozen=True):
    conditions: tuple[Condition, ...]

    def holds(self, moment: Moment) -> bool | None:
        result: bool | None = False
        for condition in self.conditions:
            found = condition.holds(moment)
            if found is True:
                return True
            if found is None:
                result = None
        return result


class Not(msgspec.Struct, frozen=True):
    condition: Condition

    def holds(self, moment: Moment) -> bool | None:
        moment.favour = not moment.favour  # what favours the client is the other way round below
        found = self.condition.holds(moment)
        moment.favour = not moment.favour
        return None if found is None else not found


class Clock(msgspec.Struct, frozen=True, dict=True):
    """Days (0 is Monday), minutes of the day and dates, in a zone.

    Hours that wrap around midnight belong to the day on which they begin; the end is exclusive. Dates are ISO texts,
    inclusive, either may be empty.
    """

    zone: str
    days: frozenset[int] | None = None
    hours: tuple[tuple[int, int], ...] | None = None
    dates: tuple[tuple[str, str], ...] | None = None

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    def holds(self, moment: Moment) -> bool | None:
        now = datetime.fromtimestamp(moment.context.at, self._zone)
        if self.hours is None:
            return self._on_day(now)
        minute = now.hour * 60 + now.minute
        for begin, end in self.hours:
            if begin <= end:
                if begin <= minute < end and self._on_day(now):
                    return True
            elif (minute >= begin and self._on_day(now)) or (minute < end and self._on_day(now - timedelta(days=1))):
                return True
        return False

    def _on_day(self, day: datetime) -> bool:
        if self.days is not None and day.weekday() not in self.days:
            return False
        if self.dates is None:
            return True
        text = day.date().isoformat()
        return any((not first or first <= text) and (not last or text <= last) for first, last in self.dates)


_parsed = lru_cache(maxsize=4096)(ip_address)
"""Sessions ask from the same address again and again, and many rules do."""


class From(msgspec.Struct, frozen=True):
    networks: tuple[IPv4Network | IPv6Network, ...]

    def holds(self, moment: Moment) -> bool | None:
        if moment.context.address is None:
            return False
        address = _parsed(moment.context.address)
        return any(address in network for network in self.networks)


class Application(msgspec.Struct, frozen=True):
    patterns: tuple[Matcher, ...]

    def holds(self, moment: Moment) -> bool | None:
        return any(pattern.matches(moment.context.application) for pattern in self.patterns)


class TransportIs(msgspec.Struct, frozen=True):
    transports: frozenset[str]

    def holds(self, moment: Moment) -> bool | None:
        return moment.context.transport.value in self.transports


class Indicator(msgspec.Struct, frozen=True):
    indicators: frozenset[str]

    def holds(self, moment: Moment) -> bool | None:
        ticket = moment.context.ticket
        return ticket is not None and not self.indicators.isdisjoint(ticket.indicators)


class MaxAge(msgspec.Struct, frozen=True):
    seconds: float

    def holds(self, moment: Moment) -> bool | None:
        ticket = moment.context.ticket
        if ticket is None or ticket.authenticated_at is None:
            moment.cannot_tell("the ticket does not tell its age")
            return None
        return moment.context.at - ticket.authenticated_at <= self.seconds


class MinLeft(msgspec.Struct, frozen=True):
    seconds: float

    def holds(self, moment: Moment) -> bool | None:
        ticket = moment.context.ticket
        if ticket is None:
            moment.cannot_tell("there is no ticket to tell its end")
            return None
        return ticket.ends_at - moment.context.at >= self.seconds


_HAVE_WHERE = frozenset({Privilege.SELECT, Privilege.UPDATE, Privilege.DELETE})


class WhereIs(msgspec.Struct, frozen=True):
    """`present` None: the WHERE has `column = constant` for all of `equals`."""

    present: bool | None
    equals: tuple[str, ...] = ()

    def holds(self, moment: Moment) -> bool | None:
        access = moment.access
        if access is None or access.where is None or access.privilege not in _HAVE_WHERE:
            return False
        if self.present is None:
            return set(self.equals) <= set(access.where.equals)
        return access.where.present is self.present


class KindIs(msgspec.Struct, frozen=True):
    patterns: tuple[Matcher, ...]

    def holds(self, moment: Moment) -> bool | None:
        return any(pattern.matches(moment.facts.kind) for pattern in self.patterns)


class ShapeIs(msgspec.Struct, frozen=True):
    shapes: frozenset[str]

    def holds(self, moment: Moment) -> bool | None:
        return moment.facts.shape in self.shapes


class Block(msgspec.Struct, frozen=True):
    block: bool

    def holds(self, moment: Moment) -> bool | None:
        if moment.context.block is None:
            moment.cannot_tell("whether a transaction block is open")
            return None
        return moment.context.block is self.block


class ReadOnly(msgspec.Struct, frozen=True):
    read_only: bool

    def holds(self, moment: Moment) -> bool | None:
        if moment.context.read_only is None:
            moment.cannot_tell("whether the transaction is read only")
            return None
        return moment.context.read_only is self.read_only


class Comparison(msgspec.Struct, frozen=True):
    """`operator` is one of `< <= = != >= >`."""

    operator: str
    value: StateValue

    def compare(self, found: StateValue) -> bool | None:
        """None where the types do not compare."""
        compare = _OPERATORS[self.operator]
        if isinstance(self.value, bool) or isinstance(found, bool):
            if type(self.value) is not type(found) or self.operator not in {"=", "!="}:
                return None
            return compare(found, self.value)
        if isinstance(self.value, str) is not isinstance(found, str):
            return None
        if isinstance(found, float) and isnan(found):
            return None
        return compare(found, self.value)


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, "=": operator.eq, "!=": operator.ne, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip


class EstimatedRows(msgspec.Struct, frozen=True):
    comparison: Comparison

    def holds(self, moment: Moment) -> bool | None:
        rows = moment.context.estimated_rows
        if rows is Unknown.NOT_ASKED:
            moment.wants_estimate = True
            return None
        if rows is Unknown.SKIPPED:
            return moment.favour
        if isinstance(rows, Unknown):
            moment.cannot_tell("the planner's estimate could not be asked for")
            return None
        return self.comparison.compare(rows)


class Reason(msgspec.Struct, frozen=True):
    patterns: tuple[Matcher, ...]

    def holds(self, moment: Moment) -> bool | None:
        reason = moment.context.reason
        return bool(reason) and any(pattern.matches(reason) for pattern in self.patterns)


class State(msgspec.Struct, frozen=True):
    """One probe. `patterns`: for text values, where no comparison was written."""

    probe: str
    comparisons: tuple[Comparison, ...] = ()
    patterns: tuple[Matcher, ...] = ()

    def holds(self, moment: Moment) -> bool | None:
        value = moment.context.state.get(self.probe)
        if value is None:
            moment.cannot_tell(f'probe "{self.probe}" has no fresh value')
            return None
        results: list[bool | None] = [comparison.compare(value) for comparison in self.comparisons]
        if self.patterns:
            text = value if isinstance(value, str) else None
            results.append(None if text is None else any(p.matches(text) for p in self.patterns))
        if True in results:
            return True
        if None in results:
            moment.cannot_tell(f'probe "{self.probe}" is {value!r}, which does not compare')
            return None
        return False


def asks_the_session(condition: Condition | None) -> bool:
    """Whether it looks at what the database alone can tell of a session: its reason, and whether it may write."""
    match condition:
        case AllOf(parts) | AnyOf(parts):
            return any(map(asks_the_session, parts))
        case Not(inside):
            return asks_the_session(inside)
    return isinstance(condition, ReadOnly | Reason)
