"""Where two rules speak of the same: what of a rule lies within a part of another, as far as can be told."""

from typing import Any

from pgguard.policy.covering import columns_cover, condition_covers, who_covers
from pgguard.policy.parts import by_who, gathered, joined, replace
from pgguard.policy.patterns import Matcher
from pgguard.policy.rule import Columns, Rule, Target, Who


def meet(part: Rule, rule: Rule) -> Rule | None:
    """What of `rule` is about the same as `part`; None where nothing plainly is."""
    if condition_covers(rule.condition, part.condition):
        condition = part.condition
    elif condition_covers(part.condition, rule.condition):
        condition = rule.condition
    else:
        return None
    targets = tuple(found for target in rule.targets for own in part.targets if (found := _meet_target(own, target)))
    whos = [met for own in by_who(part) for one in by_who(rule) if (met := _narrower_who(own.who, one.who))]
    columns = _meet_columns(part.columns, rule.columns)
    databases = _meet_matchers(part.databases, rule.databases)
    if not targets or not whos or columns == () or databases == ():
        return None
    gathering = gathered(
        replace(rule, targets=targets, who=who, columns=columns, databases=databases, condition=condition)
        for who in dict.fromkeys(whos)
    )
    return gathering[0] if len(gathering) == 1 else None


def _meet_target(own: Target, target: Target) -> Target | None:
    if own.kind is not target.kind and own.kind is not None and target.kind is not None:
        return None
    privileges = own.privileges & target.privileges
    if own.kind is None or target.kind is None:
        narrow = target if own.kind is None else own
        return replace(narrow, privileges=privileges) if privileges else None
    patterns = joined(
        (narrow,) for one in own.patterns for other in target.patterns if (narrow := _narrower(one, other))
    )
    return Target(own.kind, privileges, patterns) if privileges and patterns else None


def _narrower(one: Any, other: Any) -> Any:
    """Of two patterns that which the other covers."""
    return other if one.covers(other) else one if other.covers(one) else None


def _narrower_who(one: Who, other: Who) -> Who | None:
    return other if who_covers(one, other) else one if who_covers(other, one) else None


def _meet_matchers(one: tuple[Matcher, ...] | None, other: tuple[Matcher, ...] | None) -> tuple[Matcher, ...] | None:
    if one is None or other is None:
        return one or other
    return joined((narrow,) for o in one for t in other if (narrow := _narrower(o, t)))


def _meet_columns(one: Columns | None, other: Columns | None) -> Columns | tuple[()] | None:
    """() where they have none in common, as far as can be told."""
    if columns_cover(one, other):
        return other
    if columns_cover(other, one):
        return one
    assert one is not None, "it would cover the other"
    assert other is not None, "it would cover the other"
    names = [n for n in one.names if not one.excepted and columns_cover(other, Columns((n,)))] + [
        n for n in other.names if not other.excepted and columns_cover(one, Columns((n,)))
    ]
    return Columns(joined((tuple(names),))) if names else ()
