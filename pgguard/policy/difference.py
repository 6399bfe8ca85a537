"""What changes from one rule set to another: who gains or loses which privilege on what, under which condition.

Theory of operation. A rule stands for all the single grants that its lists multiply to: one user or group, one
privilege, one pattern, one column. What a side grants and the other does not is what remains of its rules when all
parts that a rule of the other side covers (`covering`) are taken out. Rules are split only as far as it takes: list by
list, and only while some rule of the other side may still cover a part; what remains is gathered into lists again.

As a part counts as covered only where that is proven, no difference in a decision is ever passed over; what was
written in two ways whose equality has no proof here is told as lost and gained. An allow that a deny of its own side
wholly takes back is none.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from pgguard.model.decision import Effect, Redaction
from pgguard.policy.meeting import meet
from pgguard.policy.parts import STEPS, Side, beyond, whole
from pgguard.policy.rule import Rule
from pgguard.policy.rule_set import RuleSet


class Sort(StrEnum):
    """What becomes of a part of a rule."""

    LOST = "lost"
    GAINED = "gained"
    DENIED = "denied"
    NO_LONGER_DENIED = "no longer denied"
    HELD = "held"
    NO_LONGER_HELD = "no longer held"

    @property
    def is_new(self) -> bool:
        """It is the new rule set's."""
        return self in {Sort.GAINED, Sort.DENIED, Sort.HELD}


_SORTS = {
    Effect.ALLOW: (Sort.LOST, Sort.GAINED),
    Effect.DENY: (Sort.NO_LONGER_DENIED, Sort.DENIED),
    Effect.HOLD: (Sort.NO_LONGER_HELD, Sort.HELD),
}


class Change(msgspec.Struct, frozen=True):
    """`part`: what of the rule is new, or no more. `still`: what of it the other side's rules have too."""

    sort: Sort
    part: Rule
    still: tuple[Rule, ...] = ()


class Difference(msgspec.Struct, frozen=True):
    """`changes` of decisions; in words `others`, of messages, probes, labels, redaction, and `notes`, of the rest."""

    changes: tuple[Change, ...] = ()
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        return bool(self.changes or self.others)


def difference(old: RuleSet, new: RuleSet) -> Difference:
    before, after = Side(old.rules), Side(new.rules)
    lost, gained = beyond(before, after), beyond(after, before)
    changes = [
        Change(_SORTS[part.effect][index], part, tuple(met for rule in other.near(part) if (met := meet(part, rule))))
        for index, (parts, other) in enumerate(((lost, after), (gained, before)))
        for part in parts
    ]
    order = list(Sort)
    changes.sort(key=lambda change: (order.index(change.sort), change.part.who.in_words(), change.part.name))
    changed = {part.name for part in (*lost, *gained)}
    return Difference(
        tuple(changes),
        (*_messages(before, after, changed), *_probes(old, new), *_labels(old, new), *_redactions(old, new)),
        tuple(_notes(old, new, changed)),
    )


def _messages(before: Side, after: Side, changed: set[str]) -> Iterator[str]:
    """Where a deny or hold decides as it did, but the user reads something else."""
    told: set[str] = set()
    before, after = (Side(rule for rule in side.rules if rule.effect is not Effect.ALLOW) for side in (before, after))
    for side, other, word in ((after, before, "is told"), (before, after, "is no longer told")):
        by_name = {rule.name: rule for rule in other.rules}
        for part in beyond(side, other, (*STEPS, (whole, lambda rule, part: rule.message == part.message))):
            same = by_name.get(part.name)
            before_that = None if same is None else same.message
            if part.name in changed or part.name in told or part.message is None is before_that:
                continue
            told.add(part.name)
            if same is None or same.message == part.message:
                yield f'message "{part.message}" of rule "{part.name}" {word}'
            else:
                old, new = (same, part) if side is after else (part, same)
                yield f'rule "{part.name}": message {_quoted(old.message)} becomes {_quoted(new.message)}'


def _quoted(message: str | None) -> str:
    return "(none)" if message is None else f'"{message}"'


def _probes(old: RuleSet, new: RuleSet) -> Iterator[str]:
    for name in sorted(old.probes.keys() & new.probes.keys()):
        was, now = (msgspec.structs.asdict(rules.probes[name]) for rules in (old, new))
        changes = [f"{key} {was[key]!r} becomes {now[key]!r}" for key in was if was[key] != now[key]]
        if changes:
            yield f'probe "{name}": {", ".join(changes)}'


def _labels(old: RuleSet, new: RuleSet) -> Iterator[str]:
    """Labels also tell what the audit leaves out."""
    for name in sorted(old.labels.keys() | new.labels.keys()):
        was, now = ({pattern.source for pattern in rules.labels.get(name, ())} for rules in (old, new))
        words = [
            f"{word} {', '.join(sorted(some))}" for word, some in (("adds", now - was), ("drops", was - now)) if some
        ]
        if words:
            yield f'label "{name}" {" and ".join(words)}'


def _redactions(old: RuleSet, new: RuleSet) -> Iterator[str]:
    """What the audit hides, by rules that decide and by labels of columns."""
    for name in sorted(old.by_name.keys() | new.by_name.keys()):
        was, now = (rules.by_name[name].redact if name in rules.by_name else None for rules in (old, new))
        yield from _redaction(f'rule "{name}"', was, now)
    labels = [{columns.label or "": hides for columns, hides in rules.redacted_columns} for rules in (old, new)]
    for label in sorted({*labels[0], *labels[1]}):
        yield from _redaction(f'label "{label}"', *(hides.get(label) for hides in labels))


def _redaction(what: str, was: Redaction | None, now: Redaction | None) -> Iterator[str]:
    if was is not now:
        yield f"{what}: redact {was or '(none)'} becomes {now or '(none)'}"


def _notes(old: RuleSet, new: RuleSet, changed: set[str]) -> Iterator[str]:
    """Rules that are new, gone or otherwise, and yet decide nothing that others did not decide."""
    was, now = _own(old), _own(new)
    renamed = {_nameless(rule): rule for name, rule in now.items() if name not in was}
    gone = {_nameless(rule) for name, rule in was.items() if name not in now}
    for name in sorted((was.keys() | now.keys()) - changed):
        before, after = was.get(name), now.get(name)
        if before is None and after is not None:
            if _nameless(after) not in gone:
                yield f'rule "{name}" is new: others decide the same'
        elif after is None and before is not None:
            other = renamed.get(_nameless(before))
            fate = "gone: others decide the same" if other is None else f'called "{other.name}" now'
            yield f'rule "{name}" is {fate}'
        elif before is not None and after is not None and _rewritten(before, after):
            owner = f"; its owner was {before.owner}, is {after.owner}" if before.owner != after.owner else ""
            yield f'rule "{name}" is written otherwise, and decides as before{owner}'
    for word, some in (("new", new.probes.keys() - old.probes.keys()), ("gone", old.probes.keys() - new.probes.keys())):
        yield from (f'probe "{name}" is {word}' for name in sorted(some))


def _rewritten(before: Rule, after: Rule) -> bool:
    """Another message or redaction is told elsewhere."""
    told = {"message": before.message, "redact": before.redact}
    return before.canonical != after.canonical and _nameless(before) != _nameless(after, **told)


def _own(rules: RuleSet) -> Mapping[str, Rule]:
    return {rule.name: rule for rule in rules.rules if not rule.baseline}


def _nameless(rule: Rule, **fields: object) -> str:
    return repr(msgspec.structs.replace(rule, name="", place=None, canonical="", **fields))
