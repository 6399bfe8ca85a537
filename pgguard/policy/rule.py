"""A rule as loaded: who, what, on what, when. Everything is parsed once, at load, and only compared afterwards."""

from enum import StrEnum

import msgspec

from pgguard.model.access import SYSTEM_COLUMNS, Access, Kind, Privilege
from pgguard.model.context import Context
from pgguard.model.decision import Approvers, Covers, Effect, Redaction
from pgguard.policy.conditions import Condition
from pgguard.policy.patterns import Matcher, NamePattern
from pgguard.policy.problems import Place


class Mode(StrEnum):
    ENFORCE = "enforce"
    OBSERVE = "observe"


class Who(msgspec.Struct, frozen=True):
    """Whom a rule is about. A key that was not written is None; several keys must all match.

    `all_groups`: each must match one of the user's groups. `exclude`: the `not:` map.
    """

    users: tuple[Matcher, ...] | None = None
    groups: tuple[Matcher, ...] | None = None
    all_groups: tuple[Matcher, ...] | None = None
    principals: tuple[Matcher, ...] | None = None
    exclude: "Who | None" = None

    def matches(self, context: Context) -> bool | None:
        """Three-valued: None where the directory cannot tell the user's groups, and they would settle it."""
        found = self._named(context)
        if self.exclude is None or found is False:
            return found
        excluded = self.exclude.matches(context)
        if excluded is True:
            return False
        return None if excluded is None else found

    def _named(self, context: Context) -> bool | None:
        if self.users is not None and not _any(self.users, context.user):
            return False
        if self.principals is not None and not _any(self.principals, context.principal):
            return False
        if self.groups is None and self.all_groups is None:
            return True
        if context.groups is None:
            return None
        if self.groups is not None and not any(_any(self.groups, group) for group in context.groups):
            return False
        wanted = self.all_groups or ()
        return all(any(matcher.matches(group) for group in context.groups) for matcher in wanted)

    def missing(self, context: Context) -> str:
        """Why it is not about this user: "group dba missing"."""
        groups = context.groups
        reasons = []
        if self.users is not None and not _any(self.users, context.user):
            reasons.append(f"it is for user {_sources(self.users)}")
        if self.principals is not None and not _any(self.principals, context.principal):
            reasons.append(f"it is for principal {_sources(self.principals)}")
        if groups is None:
            return "; ".join([*reasons, "the directory cannot tell the groups"])
        if self.groups is not None and not any(_any(self.groups, group) for group in groups):
            reasons.append(f"group {' or '.join(m.source for m in self.groups)} missing")
        lacking = [m.source for m in self.all_groups or () if not any(m.matches(group) for group in groups)]
        reasons += [f"group {source} missing" for source in lacking]
        return "; ".join(reasons) or f"it excludes {self.exclude.in_words() if self.exclude else 'nobody'}"

    def in_words(self) -> str:
        """For explanations: `group dba`, `user alice, bob`, `everyone`."""
        named = (("user", self.users), ("group", self.groups), ("groups", self.all_groups))
        words = [f"{key} {_sources(matchers)}" for key, matchers in named if matchers]
        if self.principals:
            words.append(f"principal {_sources(self.principals)}")
        if self.exclude is not None:
            words.append(f"not {self.exclude.in_words()}")
        return " and ".join(words) or "everyone"


def _sources(matchers: tuple[Matcher, ...]) -> str:
    return ", ".join(matcher.source for matcher in matchers)


def _any(matchers: tuple[Matcher, ...], name: str) -> bool:
    return any(matcher.matches(name) for matcher in matchers)


class ColumnPattern(msgspec.Struct, frozen=True):
    """One pattern of a label: on (schema, table, column), or on the column's comment."""

    source: str
    schema: Matcher | None = None
    table: Matcher | None = None
    column: Matcher | None = None
    comment: Matcher | None = None

    def matches(self, schema: str, table: str, column: str, comment: str | None) -> bool:
        if self.comment is not None:
            return comment is not None and self.comment.matches(comment)
        return (
            self.schema is not None
            and self.table is not None
            and self.column is not None
            and self.schema.matches(schema)
            and self.table.matches(table)
            and self.column.matches(column)
        )


class Columns(msgspec.Struct, frozen=True):
    """Which columns: those that match `names` or have the label; with `excepted`, all the others."""

    names: tuple[Matcher, ...] = ()
    label: str | None = None
    patterns: tuple[ColumnPattern, ...] = ()
    excepted: bool = False

    def has(self, access: Access, column: str) -> bool:
        """Whether the column is among them. A system column is so by its own name only, not by a pattern."""
        if column in SYSTEM_COLUMNS and not self.excepted:
            return any(matcher.literal == column for matcher in self.names)
        named = _any(self.names, column) or (self.label is not None and self._labelled(access, column))
        return named is not self.excepted

    def _labelled(self, access: Access, column: str) -> bool:
        note = next((n for n in access.notes if n.column == column), None)
        places = [(access.object.schema or "", access.object.name, column, None if note is None else note.comment)]
        if note is not None:
            comments = note.source_comments or (None,) * len(note.sources)
            places += [(*source, comment) for source, comment in zip(note.sources, comments, strict=True)]
        places += [(a.schema or "", a.name, column, None) for a in access.ancestors]
        return any(pattern.matches(*place) for pattern in self.patterns for place in places)


class Target(msgspec.Struct, frozen=True):
    """One kind of a rule's `on`, with the privileges that count there. `kind` None is `any`."""

    kind: Kind | None
    privileges: frozenset[Privilege]
    patterns: tuple[NamePattern, ...]


class Rule(msgspec.Struct, frozen=True):
    """See rule-language, section 3. `until` is a date as YYYY-MM-DD; `canonical` is the rule's part of the identity."""

    name: str
    effect: Effect
    who: Who
    targets: tuple[Target, ...]
    place: Place
    canonical: str
    columns: Columns | None = None
    databases: tuple[Matcher, ...] | None = None
    condition: Condition | None = None
    message: str | None = None
    max_rows: int | None = None
    approvers: Approvers = Approvers()
    timeout: float = 900.0
    covers: Covers = Covers.STATEMENT
    lasts: float | None = None
    mode: Mode = Mode.ENFORCE
    until: str | None = None
    owner: str | None = None
    redact: Redaction | None = None
    baseline: bool = False

    @property
    def kills_all(self) -> bool:
        """`deny: all` on `any`: the kill switch, which statements without accesses meet too."""
        return self.effect is Effect.DENY and any(
            target.kind is None and target.privileges == frozenset(Privilege) for target in self.targets
        )
