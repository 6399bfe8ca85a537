"""What is no error in rules and yet hardly meant: patterns, columns and labels that match nothing, rules that ended.

The catalog's names come in as plain values; a pattern is only asked about what the catalog can know of: relations.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from pgguard.model.access import SYSTEM_COLUMNS, Kind
from pgguard.policy.patterns import NamePattern
from pgguard.policy.problems import Problem, suggest
from pgguard.policy.rule import Rule
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


def matching_nothing(rules: RuleSet, tables: Sequence[Table]) -> list[Problem]:
    """Of rules about tables: the patterns and columns that no table has, and the labels in use that no column wears."""
    found: list[Problem] = []
    for rule in rules.rules:
        if not rule.baseline:
            found += [Problem(rule.place, f'rule "{rule.name}": {what}') for what in _of_rule(rule, tables)]
    for label in rules.labels:
        users = [r for r in rules.rules if r.columns is not None and r.columns.label == label]
        if users and not _worn(rules, label, tables):
            found.append(Problem(users[0].place, f'label "{label}" matches no column of the catalog'))
    return found


def _of_rule(rule: Rule, tables: Sequence[Table]) -> Iterator[str]:
    patterns = [p for target in rule.targets if target.kind is Kind.TABLE for p in target.patterns]
    if rule.databases is not None:
        return  # it may speak of another database than the catalog's
    about: list[Table] = []
    for pattern in patterns:
        matched = [table for table in tables if pattern.matches(table.schema, table.name, None)]
        about += matched
        if not matched:
            yield f'pattern "{pattern.source}" matches no table of the catalog{_near(pattern, tables)}'
    if rule.columns is None or not about:
        return
    columns = {column for table in about for column in table.columns} | SYSTEM_COLUMNS
    for matcher in rule.columns.names:
        if not any(matcher.matches(column) for column in columns):
            yield f'column "{matcher.source}" is in none of its tables{suggest(matcher.source, sorted(columns))}'


def _near(pattern: NamePattern, tables: Iterable[Table]) -> str:
    return suggest(pattern.source, [f"{table.schema}.{table.name}" for table in tables])


def _worn(rules: RuleSet, label: str, tables: Iterable[Table]) -> bool:
    return any(
        pattern.matches(table.schema, table.name, column, table.comments.get(column))
        for pattern in rules.labels[label]
        for table in tables
        for column in table.columns
    )
