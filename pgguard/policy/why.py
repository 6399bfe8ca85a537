"""Why a condition does not hold, in words that a user and a DBA understand: "outside mon-fri 08:00-18:00".

Only what failed is named. Used for near misses, so off the path of what is allowed.
"""

from collections.abc import Iterable
from typing import Any

from pgguard.model.context import Unknown
from pgguard.policy import conditions as c
from pgguard.policy.patterns import Matcher

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def why_not(condition: c.Condition, moment: c.Moment) -> str:
    """What keeps this condition from holding."""
    match condition:
        case c.AllOf(conditions):
            return "; ".join(dict.fromkeys(why_not(part, moment) for part in conditions if not part.holds(moment)))
        case c.AnyOf(conditions):
            return ", and ".join(dict.fromkeys(why_not(part, moment) for part in conditions))
        case c.Not(inside):
            return f"it makes an exception where {_holds(inside, moment)}"
    return _leaf(condition, moment)


def _leaf(condition: c.Condition, moment: c.Moment) -> str:  # noqa: C901, PLR0912  # one case a condition reads best
    context, facts = moment.context, moment.facts
    match condition:
        case c.Clock():
            return f"outside {clock_in_words(condition)}"
        case c.From(networks):
            return f"address {context.address or 'of a Unix socket'} is outside {_list(networks)}"
        case c.Application(patterns):
            return f'application "{context.application}" is not {_sources(patterns)}'
        case c.TransportIs(transports):
            return f"transport {context.transport.value} is not {_list(sorted(transports))}"
        case c.Indicator(indicators):
            return f"the ticket carries no indicator {_list(sorted(indicators))}"
        case c.MaxAge(seconds):
            return f"the ticket is not known to be younger than {duration_in_words(seconds)}"
        case c.MinLeft(seconds):
            return f"the ticket has less than {duration_in_words(seconds)} left"
        case c.WhereIs(None, equals):
            return f"the WHERE does not fix {_list(equals)} by column = constant"
        case c.WhereIs(present):
            return "there is no WHERE" if present else "there is a WHERE"
        case c.KindIs(patterns):
            return f"the statement is {facts.kind}, not {_sources(patterns)}"
        case c.ShapeIs():
            return "the statement has none of the rule's shapes"
        case c.Block(block):
            return "no transaction block is open" if block else "a transaction block is open"
        case c.ReadOnly(read_only):
            return "the transaction is not read only" if read_only else "the transaction is read only"
        case c.EstimatedRows(comparison):
            rows = context.estimated_rows
            known = "unknown" if isinstance(rows, Unknown) else f"{rows:g}"
            return f"the planner's estimate is {known}, not {comparison_in_words(comparison)}"
        case c.Reason(patterns):
            return f'pgguard.reason is "{context.reason}", not {_sources(patterns)}'
        case c.State(probe, comparisons, patterns):
            value = context.state.get(probe)
            wanted = _list([*map(comparison_in_words, comparisons), *(f'"{p.source}"' for p in patterns)])
            return (
                f'probe "{probe}" has no fresh value' if value is None else f'probe "{probe}" is {value}, not {wanted}'
            )
    return "its conditions do not hold"


def _holds(condition: c.Condition, moment: c.Moment) -> str:
    """An `unless` that holds, or cannot be told."""
    match condition:
        case c.AllOf(conditions):
            return " and ".join(_holds(part, moment) for part in conditions)
        case c.AnyOf(conditions):
            return " or ".join(_holds(part, moment) for part in conditions if part.holds(moment) is not False)
        case c.Clock():
            return f"it is {clock_in_words(condition)}"
        case c.Reason(patterns):
            return f"pgguard.reason is {_sources(patterns)}"
        case c.State(probe):
            return f'probe "{probe}" is {moment.context.state.get(probe, "without a fresh value")}'
        case c.From(networks):
            return f"the address is in {_list(networks)}"
    before = len(moment.unknown)
    if condition.holds(moment) is None and len(moment.unknown) > before:
        return f"it cannot be told otherwise: {moment.unknown[-1]}"
    return f"its {type(condition).__name__.lower()} condition holds"


def clock_in_words(clock: c.Clock) -> str:
    words = []
    if clock.days is not None:
        words.append(_days(clock.days))
    if clock.hours is not None:
        words.append(_list(f"{_minute(begin)}-{_minute(end)}" for begin, end in clock.hours))
    if clock.dates is not None:
        words.append(_list(first if first == last else f"{first}..{last}" for first, last in clock.dates))
    return f"{' '.join(words)} {clock.zone}"


def _days(days: frozenset[int]) -> str:
    ordered = sorted(days)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{_DAYS[ordered[0]]}-{_DAYS[ordered[-1]]}"
    return _list(_DAYS[day] for day in ordered)


def _minute(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def duration_in_words(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def comparison_in_words(comparison: c.Comparison) -> str:
    value = str(comparison.value).lower() if isinstance(comparison.value, bool) else comparison.value
    shown = f"{value:.15g}" if isinstance(value, float) else value
    return f"{shown}" if comparison.operator == "=" else f"{comparison.operator} {shown}"


def _sources(patterns: Iterable[Matcher]) -> str:
    return _list(f'"{pattern.source}"' for pattern in patterns)


def _list(words: Iterable[Any]) -> str:
    return ", ".join(str(word) for word in words)
