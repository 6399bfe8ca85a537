"""Deciding an audit again: every decision record under other rules, from nothing but what it holds itself.

Theory of operation. Files are cut at lines into pieces, and these dealt to processes, each with the rules loaded once;
what comes back is small: counts, and the flips, grouped by what the statement is and which rules spoke then and now.
Applications ask the same again and again: the large parts of a record are known by their bytes, and decoded and decided
only when they are new. A record that was decided by the very same rules must come out the same: if it does not, either
the log does not hold what its decision depended on, or deciding has changed; both are worth knowing.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from pgguard.audit.chain import LINKED
from pgguard.audit.files import AuditUnreadable, bytes_read, reading
from pgguard.audit.records import check_schema
from pgguard.model.context import Context
from pgguard.model.decision import Decision, Effect
from pgguard.model.facts import Facts
from pgguard.policy.decide import decide
from pgguard.policy.rule_set import RuleSet

_BATCH = 1 << 20
"""Bytes, about."""

_REMEMBERED = 10_000


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
            self.count(flip, example)

    def count(self, flip: Flip, example: Example) -> None:
        """Add these statements; the first example stays."""
        known = self.flips.get(flip)
        kept = example if known is None else msgspec.structs.replace(known, count=known.count + example.count)
        self.flips[flip] = kept

    @property
    def loosening(self) -> list[Flip]:
        return [flip for flip in self.flips if flip.loosens]


class _Recorded(msgspec.Struct):
    """What of a decision record deciding again looks at, its large parts as they are written."""

    id: str
    context: msgspec.Raw
    text: msgspec.Raw
    facts: msgspec.Raw = msgspec.Raw(b"[]")
    decision: msgspec.Raw = msgspec.Raw(b"null")
    rules: str = ""


class _User(msgspec.Struct):
    user: str


class _Compared(NamedTuple):
    """`made`: whether a decision was made at all."""

    made: bool
    same: bool = True
    flip: Flip | None = None


_recorded = msgspec.json.Decoder(_Recorded)
_context = msgspec.json.Decoder(Context)
_user = msgspec.json.Decoder(_User)
_text = msgspec.json.Decoder(str)


class Redeciding:
    """Decides records again by one rule set; equal parts are decoded once, and equal inputs decided once."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._facts = lru_cache(_REMEMBERED)(msgspec.json.Decoder(tuple[Facts, ...]).decode)
        self._decision = lru_cache(_REMEMBERED)(msgspec.json.Decoder(Decision | None).decode)
        self._compare = lru_cache(_REMEMBERED)(self._decide)

    def batch(self, batch: "Batch") -> Outcome:
        """Decide the decision records among the lines again. Raises AuditUnreadable."""
        outcome = Outcome()
        for number, line in enumerate(batch.data.split(b"\n"), batch.line):
            if b'"type":"decision"' not in line[LINKED : LINKED + 40]:
                continue
            try:
                check_schema(line)
                self._one(_recorded.decode(line), outcome)
            except msgspec.DecodeError as error:
                raise AuditUnreadable(f"{batch.file}:{number}: no record of this version: {error}") from error
        return outcome

    def _one(self, record: _Recorded, outcome: Outcome) -> None:
        compared = self._compare(bytes(record.context), bytes(record.facts), bytes(record.decision))
        if not compared.made:
            outcome.undecided += 1
            return
        outcome.decided += 1
        if record.rules == self._rules.identity:
            outcome.same_rules += 1
            if not compared.same:
                outcome.unlike.append(record.id)
        if compared.flip is not None:
            example = Example(1, record.id, _user.decode(record.context).user, _text.decode(record.text))
            outcome.count(compared.flip, example)

    def _decide(self, context: bytes, facts: bytes, decision: bytes) -> _Compared:
        before, statements, circumstances = self._decision(decision), self._facts(facts), _context.decode(context)
        if before is None:
            return _Compared(made=False)
        after = decide(self._rules, statements, circumstances)
        if before.effect is after.effect:
            return _Compared(made=True, same=before == after)
        shape = "; ".join(one.shape or one.kind for one in statements)
        return _Compared(True, False, Flip(before.effect, after.effect, shape, before.rules, after.rules))


def redecide_files(
    files: Iterable[Path], load: Callable[[], RuleSet], workers: int, progress: Callable[[float], None]
) -> Outcome:
    """`load` is called once in each process, and must be picklable. `progress` is told of the files' bytes done.

    Raises AuditUnreadable.
    """
    total = Outcome()
    batches = (batch for file in files for batch in _batches(file))
    if workers <= 1:
        redeciding = Redeciding(load())
        for batch in batches:
            total.add(redeciding.batch(batch))
            progress(batch.size)
        return total
    with multiprocessing.get_context("spawn").Pool(workers, _start, (load,)) as pool:
        for size, part in pool.imap(_work, batches):
            total.add(part)
            progress(size)
    return total


class Batch(NamedTuple):
    """Whole lines in one piece: it goes to another process as it is. `line`: the number of its first one in `file`.
    `size`: bytes of the file, as it lies on the disk.
    """

    data: bytes
    file: str = ""
    line: int = 1
    size: int = 0


def _batches(file: Path) -> Iterator[Batch]:
    with reading(file) as lines:
        before, line = 0, 1
        while data := lines.read(_BATCH):
            data += lines.readline()
            at = bytes_read(lines)
            yield Batch(data, str(file), line, at - before)
            before, line = at, line + data.count(b"\n")


_redeciding: list[Redeciding] = []


def _start(load: Callable[[], RuleSet]) -> None:
    _redeciding[:] = [Redeciding(load())]


def _work(batch: Batch) -> tuple[int, Outcome]:
    return batch.size, _redeciding[0].batch(batch)
