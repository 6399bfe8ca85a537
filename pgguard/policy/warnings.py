"""What is no error in rules and yet hardly meant.

That is: patterns, columns and labels that match nothing, rules that ended, rules that allow what others take back or
allow already, people whom the directory does not know.

The names of the catalog and the directory come in as plain values; a pattern is only asked about what the catalog can
know of: relations.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from pgguard.model.access import SYSTEM_COLUMNS, Kind
from pgguard.model.decision import Effect
from pgguard.policy.parts import Side, covered_by, taking_back
from pgguard.policy.patterns import Matcher, NamePattern
from pgguard.policy.problems import Problem, suggest
from pgguard.policy.rule import Rule, Who
from pgguard.policy.rule_set import RuleSet


class Table(msgspec.Struct, frozen=True):
    schema: str
    name: str
    columns: tuple[str, ...]
    comments: Mapping[str, str]


def expired(rules: RuleSet, today: str) -> list[Problem]:
    """`today` as YYYY-MM-DD."""
    return [
        Problem(rule.place, f'rule "{rule.name}" ended on {rule.until}; renew it or take it out')
        for rule in rules.rules
        if rule.until is not None and rule.until < today
    ]


def needless(rules: RuleSet) -> list[Problem]:
    """Allow rules that others wholly take back, or that others allow already; of two that say the same, the later.

    One that tells the audit what to hide does so beside others.
    """
    side = Side(rules.rules)
    found: list[Problem] = []
    needless: set[str] = set()
    own = (rule for rule in rules.rules if rule.effect is Effect.ALLOW and not rule.baseline)
    for rule in sorted(own, key=lambda rule: rule.place, reverse=True):

        def others(part: Rule, name: str = rule.name) -> list[Rule]:
            covering = side.covering(part, Effect.ALLOW)
            return [other for other in covering if other.name != name and other.name not in needless]

        if denies := covered_by(rule, lambda part: taking_back(side, part)):
            found.append(Problem(rule.place, f'rule "{rule.name}" allows nothing: {_quoted(denies)} takes it back'))
        elif rule.redact is None and (allows := covered_by(rule, others)):
            needless.add(rule.name)
            found.append(Problem(rule.place, f'rule "{rule.name}" adds nothing: {_quoted(allows)} allows it already'))
    return found


def _quoted(names: Iterable[str]) -> str:
    return " with ".join(f'"{name}"' for name in sorted(names))


def users_named(rules: RuleSet) -> list[str]:
    """Every user that a rule names in full, be it as an approver."""
    return sorted({user for rule in rules.rules for user in _users(rule)})


def unknown_people(rules: RuleSet, groups: Iterable[str], unknown: Iterable[str]) -> list[Problem]:
    """Of a directory with these groups, that does not know these users."""
    groups, missing = sorted({group.lower() for group in groups}), set(unknown)
    found = []
    for rule in rules.rules:
        for matcher in _groups(rule):
            if not any(matcher.matches(group) for group in groups):
                what = f'the directory knows no group "{matcher.source}"{suggest(matcher.source, groups)}'
                found.append(Problem(rule.place, f'rule "{rule.name}": {what}'))
        strangers = (user for user in _users(rule) if user in missing)
        found += [Problem(rule.place, f'rule "{rule.name}": the directory knows no user "{u}"') for u in strangers]
    return found


def _groups(rule: Rule) -> list[Matcher]:
    approvers = rule.approvers
    named = [matcher for who in _whos(rule.who) for matcher in (*(who.groups or ()), *(who.all_groups or ()))]
    return [*named, *(Matcher(group, group) for group in (*approvers.groups, *approvers.alone_groups))]


def _users(rule: Rule) -> list[str]:
    named = [m.literal for who in _whos(rule.who) for m in who.users or () if m.literal is not None]
    return list(dict.fromkeys([*named, *rule.approvers.users, *rule.approvers.alone_users]))


def _whos(who: Who) -> list[Who]:
    return [who] if who.exclude is None else [who, who.exclude]


def matching_nothing(rules: RuleSet, tables: Sequence[Table]) -> list[Problem]:
    """Of rules about tables: the patterns and columns that no table has, and the labels in use that no column wears."""
    found: list[Problem] = []
    catalog = _Tables(tables)
    for rule in rules.rules:
        if not rule.baseline:
            found += [Problem(rule.place, f'rule "{rule.name}": {what}') for what in _of_rule(rule, catalog)]
    for label in rules.labels:
        users = [r for r in rules.rules if r.columns is not None and r.columns.label == label]
        if users and not _worn(rules, label, tables):
            found.append(Problem(users[0].place, f'label "{label}" matches no column of the catalog'))
    return found


class _Tables:
    """The tables, found by what a pattern has in full."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._all = tables
        self._in_schema: dict[str, list[Table]] = {}
        self._named: dict[tuple[str, str], Table] = {}
        for table in tables:
            self._in_schema.setdefault(table.schema, []).append(table)
            self._named[table.schema, table.name] = table

    def matching(self, pattern: NamePattern) -> list[Table]:
        if pattern.literal is not None:
            table = self._named.get(pattern.literal)
            return [] if table is None else [table]
        return [table for table in self._near(pattern) if pattern.matches(table.schema, table.name, None)]

    def suggestion(self, pattern: NamePattern) -> str:
        return suggest(pattern.source, [f"{table.schema}.{table.name}" for table in self._near(pattern) or self._all])

    def _near(self, pattern: NamePattern) -> Sequence[Table]:
        schema = None if pattern.schema is None else pattern.schema.literal
        return self._all if schema is None else self._in_schema.get(schema, ())


def _of_rule(rule: Rule, tables: _Tables) -> Iterator[str]:
    patterns = [p for target in rule.targets if target.kind is Kind.TABLE for p in target.patterns]
    if rule.databases is not None:
        return  # it may speak of another database than the catalog's
    about: list[Table] = []
    for pattern in patterns:
        matched = tables.matching(pattern)
        about += matched
        if not matched:
            yield f'pattern "{pattern.source}" matches no table of the catalog{tables.suggestion(pattern)}'
    if rule.columns is None or not about:
        return
    columns = {column for table in about for column in table.columns} | SYSTEM_COLUMNS
    for matcher in rule.columns.names:
        if not any(matcher.matches(column) for column in columns):
            yield f'column "{matcher.source}" is in none of its tables{suggest(matcher.source, sorted(columns))}'


def _worn(rules: RuleSet, label: str, tables: Iterable[Table]) -> bool:
    return any(
        pattern.matches(table.schema, table.name, column, table.comments.get(column))
        for pattern in rules.labels[label]
        for table in tables
        for column in table.columns
    )
