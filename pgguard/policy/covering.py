"""Whether one part of a rule applies wherever another does: the comparison beneath differences and warnings.

Everything here errs to one side: `True` is proven from the form of what was written, for every statement and every
circumstance; `False` means no more than that no proof was found. In three-valued logic "applies wherever" means that
the value is never less, false below unknown below true: then it holds for an allow, which wants true, and for a deny
or hold, which unknown suffices for.
"""

from collections.abc import Iterable

from pgguard.model.access import SYSTEM_COLUMNS
from pgguard.policy import conditions as c
from pgguard.policy.patterns import Matcher
from pgguard.policy.rule import Columns, Who

_UP = frozenset({">", ">="})
_DOWN = frozenset({"<", "<="})


def matchers_cover(wide: Iterable[Matcher] | None, narrow: Iterable[Matcher] | None) -> bool:
    """Of lists of which any may match; None matches all."""
    if wide is None:
        return True
    wide = tuple(wide)
    return narrow is not None and all(any(w.covers(n) for w in wide) for n in narrow)


# who


def who_covers(wide: Who, narrow: Who) -> bool:
    if not (matchers_cover(wide.users, narrow.users) and matchers_cover(wide.principals, narrow.principals)):
        return False
    if not (_any_group(wide, narrow) and _all_groups(wide, narrow)):
        return False
    return wide.exclude is None or (narrow.exclude is not None and who_covers(narrow.exclude, wide.exclude))


def _any_group(wide: Who, narrow: Who) -> bool:
    """Whoever `narrow` names is in one of the groups of which `wide` asks any."""
    if matchers_cover(wide.groups, narrow.groups):
        return True
    return any(matchers_cover(wide.groups, (group,)) for group in narrow.all_groups or ())


def _all_groups(wide: Who, narrow: Who) -> bool:
    def implied(wanted: Matcher) -> bool:
        if any(wanted.covers(group) for group in narrow.all_groups or ()):
            return True
        return narrow.groups is not None and all(wanted.covers(group) for group in narrow.groups)

    return all(implied(wanted) for wanted in wide.all_groups or ())


# columns


def columns_cover(wide: Columns | None, narrow: Columns | None) -> bool:
    if wide is None:
        return True
    if narrow is None:
        return False
    if narrow.excepted:
        # what is left out of `wide` must be left out of `narrow`; a list never has all but some
        return wide.excepted and _names_within(wide.names, narrow.names) and _labels_within(wide, narrow)
    if not wide.excepted:
        return _listed_within(narrow.names, wide.names) and _labels_within(narrow, wide)
    return not narrow.patterns and not wide.patterns and all(_apart(name, wide.names) for name in narrow.names)


def _names_within(inner: tuple[Matcher, ...], outer: tuple[Matcher, ...]) -> bool:
    return all(any(o.covers(i) for o in outer) for i in inner)


def _listed_within(inner: tuple[Matcher, ...], outer: tuple[Matcher, ...]) -> bool:
    """As `_names_within`, but a list has a system column by its own name only."""
    return all(
        any(o.literal == i.literal if i.literal in SYSTEM_COLUMNS else o.covers(i) for o in outer) for i in inner
    )


def _labels_within(inner: Columns, outer: Columns) -> bool:
    return all(pattern in outer.patterns for pattern in inner.patterns)


def _apart(listed: Matcher, excepted: tuple[Matcher, ...]) -> bool:
    """No column is matched by the one and by any of the others; proven only where one of each two is literal."""
    return not any(
        other.matches(listed.literal) if listed.literal is not None else other.literal is None or _listed(listed, other)
        for other in excepted
    )


def _listed(pattern: Matcher, column: Matcher) -> bool:
    assert column.literal is not None, "asked for literal ones"
    return column.literal not in SYSTEM_COLUMNS and pattern.matches(column.literal)


# conditions


def condition_covers(wide: c.Condition | None, narrow: c.Condition | None) -> bool:
    """Whether `wide` is never less than `narrow`."""
    if wide is None:
        return True
    if narrow is None:
        return False
    match narrow, wide:
        case c.AnyOf(parts), _:
            return all(condition_covers(wide, part) for part in parts)
        case _, c.AllOf(parts):
            return all(condition_covers(part, narrow) for part in parts)
        case c.AllOf(parts), c.AnyOf(others):
            return any(condition_covers(wide, p) for p in parts) or any(condition_covers(o, narrow) for o in others)
        case c.AllOf(parts), _:
            return any(condition_covers(wide, part) for part in parts)
        case _, c.AnyOf(others):
            return any(condition_covers(other, narrow) for other in others)
        case c.Not(inside), c.Not(other):
            return condition_covers(inside, other)
    return type(wide) is type(narrow) and _leaf_covers(wide, narrow)


def _leaf_covers(wide: c.Condition, narrow: c.Condition) -> bool:  # noqa: C901  # one case a condition reads best
    """Of two conditions of one type."""
    match wide, narrow:
        case c.Clock(), c.Clock():
            return _clock_covers(wide, narrow)
        case c.From(networks), c.From(others):
            return all(any(_network_within(o, n) for n in networks) for o in others)
        case (
            (c.Application(patterns), c.Application(others))
            | (c.KindIs(patterns), c.KindIs(others))
            | (c.Reason(patterns), c.Reason(others))
        ):
            return _names_within(others, patterns)
        case c.TransportIs(words), c.TransportIs(others):
            return others <= words
        case c.Indicator(words), c.Indicator(others):
            return others <= words
        case c.ShapeIs(words), c.ShapeIs(others):
            return others <= words
        case c.MaxAge(seconds), c.MaxAge(other):
            return other <= seconds
        case c.MinLeft(seconds), c.MinLeft(other):
            return other >= seconds
        case c.WhereIs(), c.WhereIs():
            return _where_covers(wide, narrow)
        case c.EstimatedRows(comparison), c.EstimatedRows(other):
            return _comparison_covers(comparison, other)
        case c.State(), c.State():
            return _state_covers(wide, narrow)
        case (c.Block(value), c.Block(other)) | (c.ReadOnly(value), c.ReadOnly(other)):
            return value is other
    return False


def _clock_covers(wide: c.Clock, narrow: c.Clock) -> bool:
    """Hours are compared for equality only: those that wrap look at the day before. Missing ones are all hours."""
    if wide.zone != narrow.zone or (wide.hours is not None and wide.hours != narrow.hours):
        return False
    if wide.hours is None and narrow.hours is not None and any(begin > end for begin, end in narrow.hours):
        # its last hours belong to the day before, which the days and dates then are about
        return wide.days is None and wide.dates is None
    if wide.days is not None and (narrow.days is None or not narrow.days <= wide.days):
        return False
    return wide.dates is None or (narrow.dates is not None and set(narrow.dates) <= set(wide.dates))


def _network_within(inner: object, outer: object) -> bool:
    return type(inner) is type(outer) and inner.subnet_of(outer)  # type: ignore[attr-defined]  # of one version


def _where_covers(wide: c.WhereIs, narrow: c.WhereIs) -> bool:
    """A WHERE that fixes columns is present."""
    if narrow.present is not None:
        return wide.present is narrow.present
    return wide.present is True if wide.present is not None else set(wide.equals) <= set(narrow.equals)


def _comparison_covers(wide: c.Comparison, narrow: c.Comparison) -> bool:
    if isinstance(wide.value, bool) is not isinstance(narrow.value, bool):
        return False  # Python takes true for 1
    if wide == narrow:
        return True
    if isinstance(wide.value, bool | str) or isinstance(narrow.value, bool | str):
        return False
    if wide.operator in _UP and narrow.operator in {*_UP, "="}:
        strict = wide.operator == ">" and narrow.operator != ">"
        return narrow.value > wide.value or (narrow.value == wide.value and not strict)
    if wide.operator in _DOWN and narrow.operator in {*_DOWN, "="}:
        strict = wide.operator == "<" and narrow.operator != "<"
        return narrow.value < wide.value or (narrow.value == wide.value and not strict)
    return False


def _state_covers(wide: c.State, narrow: c.State) -> bool:
    """Of one probe, any of several may hold."""
    return (
        wide.probe == narrow.probe
        and all(any(_comparison_covers(w, n) for w in wide.comparisons) for n in narrow.comparisons)
        and _names_within(narrow.patterns, wide.patterns)
    )
