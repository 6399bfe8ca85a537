"""Parts of rules: splitting a rule into the single grants that its lists multiply to, and gathering them again.

A rule is split only as far as it takes: list by list, and only while some rule of the other side may still cover a
part (`covering`). What remains is gathered into lists, for a person to read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, TypeVar

import msgspec

from pgguard.model.access import Kind, Privilege
from pgguard.model.decision import Covers, Effect
from pgguard.policy import conditions as c
from pgguard.policy.covering import columns_cover, condition_covers, matchers_cover, who_covers
from pgguard.policy.patterns import Matcher, NamePattern
from pgguard.policy.rule import Columns, Mode, Rule, Target, Who

_T = TypeVar("_T")


def replace(value: _T, **fields: Any) -> _T:
    """The value with other fields."""
    replaced: _T = msgspec.structs.replace(value, **fields)  # type: ignore[type-var]  # a struct
    return replaced


Step = tuple[Callable[[Rule], Iterable[Rule]], Callable[[Rule, Rule], bool]]
"""How to split a part in one respect, and whether a rule covers a part in that respect."""


def whole(part: Rule) -> Iterable[Rule]:
    return (part,)


def _terms_cover(rule: Rule, part: Rule) -> bool:
    """Everything of which a rule has one: in force or observed, its end, its limit, what its hold asks for."""
    if rule.mode is Mode.OBSERVE and part.mode is not Mode.OBSERVE:
        return False
    if rule.until is not None and (part.until is None or part.until > rule.until):
        return False
    if rule.effect is not part.effect:
        return True  # an allow against a deny that takes it back
    if rule.max_rows is not None and (part.max_rows is None or part.max_rows > rule.max_rows):
        return False
    return _obligation(rule) == _obligation(part)


def _obligation(rule: Rule) -> tuple[Any, ...]:
    """An approval that reaches beyond its statement is remembered by the rule's name."""
    name = "" if rule.covers is Covers.STATEMENT else rule.name
    return rule.approvers, rule.timeout, rule.covers, rule.lasts, name


def _one_each(matchers: tuple[Matcher, ...] | None) -> Sequence[tuple[Matcher, ...] | None]:
    return (None,) if matchers is None else [(matcher,) for matcher in matchers]


def by_who(part: Rule) -> Iterator[Rule]:
    who = part.who
    for users, groups, principals in product(*map(_one_each, (who.users, who.groups, who.principals))):
        yield replace(part, who=replace(who, users=users, groups=groups, principals=principals))


def _by_database(part: Rule) -> Iterator[Rule]:
    return (replace(part, databases=databases) for databases in _one_each(part.databases))


def _by_condition(part: Rule) -> Iterator[Rule]:
    return (replace(part, condition=condition) for condition in _alternatives(part.condition))


def _alternatives(condition: c.Condition | None) -> Sequence[c.Condition | None]:
    """The conditions of which any must hold."""
    match condition:
        case c.AnyOf(parts):
            return parts
        case c.AllOf((c.AnyOf(parts), *rest)):
            return [c.AllOf((part, *rest)) for part in parts]
    return (condition,)


def _by_column(part: Rule) -> Iterator[Rule]:
    columns = part.columns
    if columns is None or columns.excepted or len(columns.names) < 2:
        return iter((part,))
    return (replace(part, columns=Columns((name,))) for name in columns.names)


STEPS: tuple[Step, ...] = (
    (whole, _terms_cover),
    (by_who, lambda rule, part: who_covers(rule.who, part.who)),
    (_by_database, lambda rule, part: matchers_cover(rule.databases, part.databases)),
    (_by_condition, lambda rule, part: condition_covers(rule.condition, part.condition)),
    (_by_column, lambda rule, part: columns_cover(rule.columns, part.columns)),
)


def _by_object(rule: Rule) -> Iterator[Rule]:
    """The parts about one pattern and one privilege; a kill switch has one more, for statements without accesses."""
    for target in rule.targets:
        if rule.kills_all and target.kind is None:
            yield replace(rule, targets=(target,))
        for privilege in target.privileges:
            for pattern in target.patterns:
                yield replace(rule, targets=(Target(target.kind, frozenset({privilege}), (pattern,)),))


_Key = tuple[Effect, Kind, Privilege]
_Named = tuple[str, str]
"""A word by which a rule says who it is about, and a name behind it in full."""


class _Crowd:
    """Rules about the same objects, each with its pattern, found by whom they are about.

    Where every name of a list is written in full, whoever covers the list, or is covered by it, names one of them too.
    """

    def __init__(self) -> None:
        self._all: list[tuple[NamePattern, Rule]] = []
        self._open: list[tuple[NamePattern, Rule]] = []
        """Those with no list of which every name is written in full."""
        self._named: dict[_Named, list[tuple[NamePattern, Rule]]] = {}

    def add(self, pattern: NamePattern, rule: Rule) -> None:
        self._all.append((pattern, rule))
        if not _closed(rule.who):
            self._open.append((pattern, rule))
        for named in _names_in(rule.who):
            self._named.setdefault(named, []).append((pattern, rule))

    def covering(self, who: Who) -> Iterator[tuple[NamePattern, Rule]]:
        """Those that may be about all of these people, and some others."""
        yield from self._open
        for named in _names_in(who):
            yield from self._named.get(named, ())

    def near(self, who: Who) -> Iterator[tuple[NamePattern, Rule]]:
        """Those that may be about all of these people, or about some of them alone; and some others."""
        return self.covering(who) if _closed(who) else iter(self._all)


def _lists(who: Who) -> Iterator[tuple[str, tuple[Matcher, ...]]]:
    """`group` has two: whoever is in all of some groups is in any of them."""
    lists = (("user", who.users), ("group", who.groups), ("group", who.all_groups), ("principal", who.principals))
    return ((word, matchers) for word, matchers in lists if matchers is not None)


def _closed(who: Who) -> bool:
    return any(all(matcher.literal is not None for matcher in matchers) for _, matchers in _lists(who))


def _names_in(who: Who) -> Iterable[_Named]:
    return dict.fromkeys((word, m.literal) for word, matchers in _lists(who) for m in matchers if m.literal is not None)


class Side:
    """One of the two rule sets: its rules, and which of them cover an object, found without asking all."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._any: dict[Privilege, list[Rule]] = {}
        self._of_kind: dict[_Key, _Crowd] = {}
        self._within: dict[tuple[_Key, str], _Crowd] = {}
        """All patterns within one schema; `_in_schema` has those of them that are more than one name."""
        self._literal: dict[tuple[_Key, str | None, str], _Crowd] = {}
        self._in_schema: dict[tuple[_Key, str], _Crowd] = {}
        self._patterns: dict[_Key, _Crowd] = {}
        self._kill_switches = [rule for rule in self.rules if rule.kills_all]
        for rule in self.rules:
            for target in rule.targets:
                for privilege in target.privileges:
                    self._index(rule, target, privilege)

    def _index(self, rule: Rule, target: Target, privilege: Privilege) -> None:
        if target.kind is None:
            self._any.setdefault(privilege, []).append(rule)
            return
        key = (rule.effect, target.kind, privilege)
        for pattern in target.patterns:
            self._of_kind.setdefault(key, _Crowd()).add(pattern, rule)
            schema, name = _schema(pattern), _literal(pattern)
            if schema is not None:
                self._within.setdefault((key, schema), _Crowd()).add(pattern, rule)
            if name is not None:
                self._literal.setdefault((key, *name), _Crowd()).add(pattern, rule)
            elif schema is not None:
                self._in_schema.setdefault((key, schema), _Crowd()).add(pattern, rule)
            else:
                self._patterns.setdefault(key, _Crowd()).add(pattern, rule)

    def _wider(self, key: _Key, pattern: NamePattern) -> list[_Crowd]:
        """Those of which a pattern may cover this one."""
        schema, name = _schema(pattern), _literal(pattern)
        found = [None if name is None else self._literal.get((key, *name)), self._patterns.get(key)]
        found.append(None if schema is None else self._in_schema.get((key, schema)))
        return [crowd for crowd in found if crowd is not None]

    def _either_way(self, key: _Key, pattern: NamePattern) -> list[_Crowd]:
        """Those of which a pattern may cover this one, or be covered by it."""
        schema = _schema(pattern)
        if _literal(pattern) is not None:
            return self._wider(key, pattern)
        found = (
            [self._of_kind.get(key)] if schema is None else [self._within.get((key, schema)), self._patterns.get(key)]
        )
        return [crowd for crowd in found if crowd is not None]

    def covering(self, part: Rule, effect: Effect) -> list[Rule]:
        """The rules of that effect about all objects and perhaps some people of a part, of one target and pattern."""
        target = part.targets[0]
        if part.kills_all:
            return [rule for rule in self._kill_switches if rule.effect is effect]
        (privilege,), (pattern,) = target.privileges, target.patterns
        found = {rule.name: rule for rule in self._any.get(privilege, ()) if rule.effect is effect}
        if target.kind is not None:
            for crowd in self._wider((effect, target.kind, privilege), pattern):
                for candidate, rule in crowd.covering(part.who):
                    if rule.name not in found and candidate.covers(pattern):
                        found[rule.name] = rule
        return list(found.values())

    def near(self, part: Rule) -> list[Rule]:
        """The rules of its effect, less the baseline's, that may be about some of its objects."""
        found = [
            rule
            for target in part.targets
            for privilege in target.privileges
            for rule in self._near(part, target, privilege)
        ]
        wanted = (rule for rule in found if rule.effect is part.effect and not rule.baseline)
        return list({rule.name: rule for rule in wanted}.values())

    def _near(self, part: Rule, target: Target, privilege: Privilege) -> Iterator[Rule]:
        yield from self._any.get(privilege, ())
        if target.kind is None:
            keys = [(part.effect, kind, privilege) for kind in Kind]
            crowds = [self._of_kind[key] for key in keys if key in self._of_kind]
        else:
            key = (part.effect, target.kind, privilege)
            crowds = [crowd for pattern in target.patterns for crowd in self._either_way(key, pattern)]
        for crowd in crowds:
            yield from (rule for _, rule in crowd.near(part.who))


def _schema(pattern: NamePattern) -> str | None:
    return None if pattern.schema is None else pattern.schema.literal


def _literal(pattern: NamePattern) -> tuple[str | None, str] | None:
    if pattern.name.literal is None or (pattern.schema is not None and pattern.schema.literal is None):
        return None
    return _schema(pattern), pattern.name.literal


def beyond(side: Side, other: Side, steps: tuple[Step, ...] = STEPS) -> list[Rule]:
    """What of the rules of a side no rule of the other covers, a few parts a rule."""
    found = []
    for rule in side.rules:
        parts: Iterable[Rule] = _by_object(rule)
        parts = [rest for part in parts for rest in _rest(part, other.covering(part, rule.effect), steps)]
        if rule.effect is Effect.ALLOW:
            parts = [rest for part in parts for rest in _rest(part, taking_back(side, part), STEPS)]
        found += gathered(parts)
    return found


def _rest(part: Rule, covering: list[Rule], steps: tuple[Step, ...]) -> Iterator[Rule]:
    """What remains of a part; `covering` are the rules that cover it in all respects of the steps before."""
    if not covering:
        yield part
    elif steps:
        split, covers = steps[0]
        for piece in split(part):
            yield from _rest(piece, [rule for rule in covering if covers(rule, piece)], steps[1:])


def covered_by(rule: Rule, covering: Callable[[Rule], list[Rule]]) -> frozenset[str] | None:
    """The names of rules that together cover all of a rule; None where something remains.

    `covering` gives those that cover the objects of a part.
    """
    names: set[str] = set()
    for part in _by_object(rule):
        found = _cover(part, covering(part), STEPS)
        if found is None:
            return None
        names |= found
    return frozenset(names)


def _cover(part: Rule, covering: list[Rule], steps: tuple[Step, ...]) -> set[str] | None:
    """As `_rest`: the names of what covers the part, None where something remains."""
    if not covering:
        return None
    if not steps:
        return {min(rule.name for rule in covering)}
    split, covers = steps[0]
    names: set[str] = set()
    for piece in split(part):
        found = _cover(piece, [rule for rule in covering if covers(rule, piece)], steps[1:])
        if found is None:
            return None
        names |= found
    return names


def taking_back(side: Side, part: Rule) -> list[Rule]:
    """The denies on its objects; but an estimate that was not asked for favours an allow and a deny differently."""
    return [rule for rule in side.covering(part, Effect.DENY) if not _estimates(rule.condition)]


def _estimates(condition: c.Condition | None) -> bool:
    match condition:
        case c.AllOf(parts) | c.AnyOf(parts):
            return any(map(_estimates, parts))
        case c.Not(inside):
            return _estimates(inside)
    return isinstance(condition, c.EstimatedRows)


# gathering


def gathered(parts: Iterable[Rule]) -> list[Rule]:
    """Parts of one rule that differ in one respect become one, respect by respect."""
    found = list(parts)
    for blank, gather in _GATHER if len(found) > 1 else ():
        groups: dict[str, list[Rule]] = {}
        for part in found:
            groups.setdefault(repr(blank(part)), []).append(part)  # their text, since Python takes true for 1
        found = [group[0] if len(group) == 1 else gather(group) for group in groups.values()]
    return found


def joined(lists: Iterable[tuple[Any, ...] | None]) -> tuple[Any, ...]:
    """The lists one behind the other, each item once."""
    return tuple(dict.fromkeys(item for items in lists for item in items or ()))


def _blank_columns(part: Rule) -> Rule:
    plain = part.columns is not None and part.columns.names and not part.columns.excepted
    return replace(part, columns=Columns()) if plain else part


def _gather_columns(parts: list[Rule]) -> Rule:
    return replace(parts[0], columns=Columns(joined(part.columns.names for part in parts if part.columns)))


def _blank_privileges(part: Rule) -> Rule:
    if part.kills_all:
        return part
    return replace(part, targets=tuple(replace(t, privileges=frozenset()) for t in part.targets))


def _gather_privileges(parts: list[Rule]) -> Rule:
    target = parts[0].targets[0]
    privileges = frozenset(privilege for part in parts for privilege in part.targets[0].privileges)
    return replace(parts[0], targets=(replace(target, privileges=privileges),))


def _blank_patterns(part: Rule) -> Rule:
    return replace(part, targets=tuple(replace(t, patterns=()) for t in part.targets))


def _gather_patterns(parts: list[Rule]) -> Rule:
    patterns = joined(part.targets[0].patterns for part in parts)
    return replace(parts[0], targets=(replace(parts[0].targets[0], patterns=patterns),))


def _blank_targets(part: Rule) -> Rule:
    return replace(part, targets=())


def _gather_targets(parts: list[Rule]) -> Rule:
    return replace(parts[0], targets=joined(part.targets for part in parts))


def _blank_condition(part: Rule) -> Rule:
    return part if part.condition is None else replace(part, condition=c.AllOf(()))


def _gather_conditions(parts: list[Rule]) -> Rule:
    return replace(parts[0], condition=c.AnyOf(tuple(part.condition for part in parts if part.condition)))


def _of_who(key: str) -> tuple[Callable[[Rule], Rule], Callable[[list[Rule]], Rule]]:
    def blank(part: Rule) -> Rule:
        return part if getattr(part.who, key) is None else replace(part, who=replace(part.who, **{key: ()}))

    def gather(parts: list[Rule]) -> Rule:
        return replace(parts[0], who=replace(parts[0].who, **{key: joined(getattr(p.who, key) for p in parts)}))

    return blank, gather


def _blank_databases(part: Rule) -> Rule:
    return part if part.databases is None else replace(part, databases=())


def _gather_databases(parts: list[Rule]) -> Rule:
    return replace(parts[0], databases=joined(part.databases for part in parts))


_GATHER = (
    (_blank_columns, _gather_columns),
    (_blank_condition, _gather_conditions),
    (_blank_databases, _gather_databases),
    *map(_of_who, ("users", "groups", "principals")),
    (_blank_privileges, _gather_privileges),
    (_blank_patterns, _gather_patterns),
    (_blank_targets, _gather_targets),
)
