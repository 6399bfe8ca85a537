"""Deciding an audit again: every decision record under other rules, from nothing but what it holds itself.

Theory of operation. Records are read as lines and dealt in batches to processes, each with the rules loaded once; what
comes back is small: counts, and the flips, grouped by what the statement is and which rules spoke then and now. A
record that was decided by the very same rules must come out the same: if it does not, either the log does not hold
what its decision depended on, or deciding has changed; both are worth knowing.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from pgguard.audit.chain import LINKED
from pgguard.audit.files import bytes_read, reading
from pgguard.audit.records import DecisionMade, read_record
from pgguard.model.decision import Decision, Effect
from pgguard.policy.decide import decide
from pgguard.policy.rule_set import RuleSet

BATCH = 2000


class Flip(msgspec.Struct, frozen=True):
    """Statements whose decision changes in one way."""

    before: Effect
    after: Effect
    shape: str
    rules_before: tuple[str, ...]
    rules_after: tuple[str, ...]

    @property
    def loosens(self) -> bool:
        """Something that was denied would be allowed."""
        return self.before is Effect.DENY and self.after is not Effect.DENY


class Example(msgspec.Struct, frozen=True):
    count: int
    id: str
    user: str
    text: str


class Outcome(msgspec.Struct):
    """`undecided` records were refused before any rule was asked. `unlike`: ids of records that the same rules do not
    reproduce.
    """

    decided: int = 0
    undecided: int = 0
    same_rules: int = 0
    flips: dict[Flip, Example] = {}
    unlike: list[str] = []

    def add(self, other: "Outcome") -> None:
        self.decided += other.decided
        self.undecided += other.undecided
        self.same_rules += other.same_rules
        self.unlike += other.unlike
        for flip, example in other.flips.items():
            known = self.flips.get(flip)
            kept = example if known is None else msgspec.structs.replace(known, count=known.count + example.count)
            self.flips[flip] = kept

    @property
    def loosening(self) -> list[Flip]:
        return [flip for flip in self.flips if flip.loosens]


def redecide(lines: Iterable[bytes], rules: RuleSet) -> Outcome:
    """Decide the decision records among the lines again. Raises msgspec.DecodeError."""
    outcome = Outcome()
    for line in lines:
        if b'"type":"decision"' not in line[LINKED : LINKED + 40]:
            continue
        record = read_record(line)
        assert isinstance(record, DecisionMade), "the tag says so"
        if record.decision is None:
            outcome.undecided += 1
            continue
        outcome.decided += 1
        _compare(record, record.decision, decide(rules, record.facts, record.context), rules, outcome)
    return outcome


def _compare(record: DecisionMade, before: Decision, after: Decision, rules: RuleSet, outcome: Outcome) -> None:
    if record.rules == rules.identity:
        outcome.same_rules += 1
        if before != after:
            outcome.unlike.append(record.id)
    if before.effect is after.effect:
        return
    shape = "; ".join(facts.shape or facts.kind for facts in record.facts)
    flip = Flip(before.effect, after.effect, shape, before.rules, after.rules)
    outcome.add(Outcome(flips={flip: Example(1, record.id, record.context.user, record.text)}))


def redecide_files(
    files: Iterable[Path], load: Callable[[], RuleSet], workers: int, progress: Callable[[float], None]
) -> Outcome:
    """`load` is called once in each process, and must be picklable. `progress` is told of the files' bytes done."""
    total = Outcome()
    batches = (batch for file in files for batch in _batches(file))
    if workers <= 1:
        rules = load()
        for batch in batches:
            total.add(redecide(batch.lines, rules))
            progress(batch.size)
        return total
    with multiprocessing.get_context("spawn").Pool(workers, _start, (load,)) as pool:
        for size, part in pool.imap(_work, batches):
            total.add(part)
            progress(size)
    return total


class _Batch(NamedTuple):
    """`size`: bytes of the file, as it lies on the disk."""

    lines: list[bytes]
    size: int


def _batches(file: Path) -> Iterator[_Batch]:
    with reading(file) as lines:
        before = 0
        while batch := list(islice(lines, BATCH)):
            at = bytes_read(lines)
            yield _Batch(batch, at - before)
            before = at


_rules: list[RuleSet] = []


def _start(load: Callable[[], RuleSet]) -> None:
    _rules[:] = [load()]


def _work(batch: _Batch) -> tuple[int, Outcome]:
    return batch.size, redecide(batch.lines, _rules[0])
