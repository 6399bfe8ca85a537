"""A rule set: the rules in force together, indexed so that an access meets only those that can be about it.

Theory of operation. What is the same at each decision is found once: which rules are about an object and a privilege
(`about`), and which of them are also about the columns that are touched, the database and whoever asks (`meeting`).
What is left to a decision is what may differ from one moment to the next: conditions, and the day a rule ends.
# INVARIANT: both are remembered by everything that they were found by.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.decision import Effect, Redaction
from pgguard.model.facts import Facts
from pgguard.policy.conditions import Condition, asks_the_session
from pgguard.policy.patterns import NamePattern
from pgguard.policy.probes import Probe
from pgguard.policy.rule import ColumnPattern, Columns, Mode, Rule

_Key = tuple[Kind, Privilege]
_REMEMBERED = 20_000
"""Accesses whose rules are remembered; past it all are forgotten, so that no client can grow it without bound."""
_MET = 10_000
"""The same of the rules that accesses of people meet."""

_Asker = tuple[str, str, tuple[str, ...] | None, str]
"""User, principal, groups, database."""


class About(msgspec.Struct, frozen=True):
    """The rules about one access, by effect, each sorted by name."""

    allows: tuple[Rule, ...]
    denies: tuple[Rule, ...]
    holds: tuple[Rule, ...]
    columns: bool
    """Whether any of them is about columns."""
    session: bool
    """Whether any of them looks at what the database alone can tell of the session."""

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> "About":
        rules = list(rules)
        allows, denies, holds = (
            tuple(r for r in rules if r.effect is e) for e in (Effect.ALLOW, Effect.DENY, Effect.HOLD)
        )
        session = any(asks_the_session(rule.condition) for rule in rules)
        return cls(allows, denies, holds, any(rule.columns is not None for rule in rules), session)


class Met(msgspec.Struct, frozen=True):
    """A rule that one access of one person meets. `sure`: not so where the directory cannot tell their groups.

    `question`: the same for all rules whose condition alone settles whether they apply, and is the same; None for
    those of which more is to be asked. Of the rules that a statement meets many have few conditions between them.
    """

    rule: Rule
    sure: bool
    question: int | None = None

    @classmethod
    def of(cls, rule: Rule, *, sure: bool) -> "Met":
        alone = sure and rule.mode is Mode.ENFORCE and rule.until is None
        return cls(rule, sure, 2 * id(rule.condition) + (rule.effect is Effect.ALLOW) if alone else None)


class Meeting(msgspec.Struct, frozen=True):
    """The rules about one access of one person, by effect, each sorted by name."""

    allows: tuple[Met, ...]
    denies: tuple[Met, ...]
    holds: tuple[Met, ...]


class RuleSet:
    """`identity`: SHA-256 of the canonical form, in hex; it stands in every audit record."""

    def __init__(  # noqa: PLR0913, PLR0917  # the parts of one rule set
        self,
        rules: Sequence[Rule],
        probes: Mapping[str, Probe],
        labels: Mapping[str, tuple[ColumnPattern, ...]],
        conditions: Mapping[str, Condition],
        redacted: Mapping[str, Redaction],
        identity: str,
    ) -> None:
        self.rules = tuple(rules)
        self.by_name = {rule.name: rule for rule in rules}
        self.probes = probes
        self.labels = labels
        self.conditions = conditions
        self.identity = identity
        self.kill_switches = tuple(rule for rule in rules if rule.kills_all)
        self.redacted_columns = tuple(
            (Columns(label=label, patterns=labels[label]), redaction) for label, redaction in redacted.items()
        )
        """Columns by their labels, and what becomes of the constants of statements that touch them, in the audit."""
        self.redactions = frozenset({*redacted.values(), *(rule.redact for rule in rules if rule.redact is not None)})
        self.observes = any(rule.mode is Mode.OBSERVE for rule in rules)
        self._asks = any(asks_the_session(rule.condition) for rule in rules)
        self._killing_asks = any(asks_the_session(rule.condition) for rule in self.kill_switches)
        self._literal: dict[_Key, dict[tuple[str | None, str], list[tuple[NamePattern, Rule]]]] = {}
        self._in_schema: dict[_Key, dict[str, list[tuple[NamePattern, Rule]]]] = {}
        self._patterns: dict[_Key, list[tuple[NamePattern, Rule]]] = {}
        self._known: dict[tuple[object, ...], About] = {}
        self._met: dict[_Asker, dict[Access, Meeting]] = {}
        self._met_count = 0
        self._any: dict[Privilege, list[Rule]] = {}
        for rule in rules:
            self._index(rule)

    def _index(self, rule: Rule) -> None:
        for target in rule.targets:
            if target.kind is None:
                for privilege in target.privileges:
                    self._any.setdefault(privilege, []).append(rule)
                continue
            for privilege in target.privileges:
                for pattern in target.patterns:
                    self._index_pattern((target.kind, privilege), pattern, rule)

    def _index_pattern(self, key: _Key, pattern: NamePattern, rule: Rule) -> None:
        schema = None if pattern.schema is None else pattern.schema.literal
        if schema is not None and pattern.name.literal is None:
            self._in_schema.setdefault(key, {}).setdefault(schema, []).append((pattern, rule))
        elif pattern.name.literal is None or (pattern.schema is not None and schema is None):
            self._patterns.setdefault(key, []).append((pattern, rule))
        else:
            names = self._literal.setdefault(key, {})
            names.setdefault((schema, pattern.name.literal), []).append((pattern, rule))

    def meeting(self, access: Access, context: Context) -> Meeting:
        """The rules whose object, privilege, columns, people and database match this access by this person."""
        asker = context.user, context.principal, context.groups, context.database
        met = self._met.get(asker)
        found = None if met is None else met.get(access)
        if found is None:
            about = self.about(access)
            found = Meeting(*(_met(rules, access, context) for rules in (about.allows, about.denies, about.holds)))
            if self._met_count >= _MET:
                self._met, self._met_count = {}, 0
            self._met.setdefault(asker, {})[access] = found
            self._met_count += 1
        return found

    def about(self, access: Access) -> "About":
        """The rules whose object and privilege match this access."""
        key = (access.kind, access.privilege, access.object, access.ancestors)
        known = self._known.get(key)
        if known is None:
            known = About.of(self._search(access))
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = known
        return known

    def asks_the_session(self, statements: Iterable[Facts]) -> bool:
        """Whether what they may do hangs on what the database alone can tell of the session: reason, read only.

        What is temporary goes by the rules on the database, too, which are not looked up for this.
        """
        return self._asks and any(
            any(access.temporary or self.about(access).session for access in facts.accesses)
            or (self._killing_asks and not facts.accesses)
            for facts in statements
        )

    def _search(self, access: Access) -> list[Rule]:
        """Each rule once, by name. Deny and hold rules on a parent match its children too; allow rules do not."""
        found: dict[str, Rule] = {rule.name: rule for rule in self._any.get(access.privilege, ())}
        for rule in self._matching(access, access.object):
            found[rule.name] = rule
        for parent in access.ancestors:
            for rule in self._matching(access, parent):
                if rule.effect is not Effect.ALLOW:
                    found[rule.name] = rule
        return [found[name] for name in sorted(found)]

    def _matching(self, access: Access, name: ObjectName) -> Iterator[Rule]:
        key = (access.kind, access.privilege)
        plain = name.name.lower() if access.kind is Kind.SETTING else name.name
        literal = self._literal.get(key)
        if literal is not None:
            for pattern, rule in literal.get((name.schema, plain), ()):
                if pattern.matches(name.schema, plain, name.arguments):
                    yield rule
        in_schema = self._in_schema.get(key)
        if in_schema is not None and name.schema is not None:
            for pattern, rule in in_schema.get(name.schema, ()):
                if pattern.matches(name.schema, plain, name.arguments):
                    yield rule
        for pattern, rule in self._patterns.get(key, ()):
            if pattern.matches(name.schema, plain, name.arguments):
                yield rule


def _met(rules: Iterable[Rule], access: Access, context: Context) -> tuple[Met, ...]:
    found = ((rule, meets(rule, context)) for rule in rules if _touches(rule, access))
    return tuple(Met.of(rule, sure=sure is True) for rule, sure in found if sure is not False)


def meets(rule: Rule, context: Context) -> bool | None:
    """Whether the rule is about this person in this database; None where the directory cannot tell their groups."""
    if rule.databases is not None and not any(pattern.matches(context.database) for pattern in rule.databases):
        return False
    return rule.who.matches(context)


def _touches(rule: Rule, access: Access) -> bool:
    """Whether the rule is about at least one of the access's columns."""
    columns = rule.columns
    if columns is None or access.columns is None:
        return True
    return any(columns.has(access, column) for column in access.columns)
