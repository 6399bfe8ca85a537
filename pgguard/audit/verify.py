"""Verification of a whole audit: every file in order, each going on from the one before, heads anchored elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from pgguard.audit.chain import ZERO, verify
from pgguard.audit.files import DAMAGED, reading


class Finding(msgspec.Struct, frozen=True):
    """Something wrong; `line` is 1-based, 0 for the file as a whole."""

    file: str
    line: int
    what: str


class Report(msgspec.Struct, frozen=True):
    """`behind`: the file that the first one goes on from, where it was removed and its head stayed."""

    records: int
    head: str
    findings: tuple[Finding, ...]
    behind: str = ""


def verify_files(files: Iterable[Path], key: bytes | None, heads: Sequence[str] = ()) -> Report:
    """Check the files in the order of the chain. `heads`: hashes noted elsewhere, each of which must be in them.

    The first file may go on from one that was removed after its time; its own start is then taken as it is, unless
    the head of the removed file is noted beside it or in `heads`.
    """
    head: str | None = None
    findings: list[Finding] = []
    records, wanted, behind = 0, set(heads), ""
    for file in files:
        started_from = head
        with reading(file) as lines:
            watched = _Watched(lines, wanted)
            head, count, flaws = verify(watched, key, started_from)
        records += count
        if started_from is None and watched.first_previous not in (ZERO, None, *heads):
            behind = _noted(file, watched)
            if not behind:
                what = "it goes on from records that are not here: name their files too"
                findings.append(Finding(str(file), 1, what))
        findings += [Finding(str(file), flaw.line, flaw.what) for flaw in flaws]
        if watched.unfinished:
            findings.append(Finding(str(file), count, watched.unfinished))
        findings += _signed_off(file, head)
    missing = [h for h in heads if h in wanted]
    findings += [
        Finding("", 0, f'head "{h}" is in no record: the end was cut off, or all was replaced') for h in missing
    ]
    return Report(records, head or ZERO, tuple(findings), behind)


class _Watched:
    """The lines, while looking for the heads that are wanted. `unfinished`: why the last one is not whole."""

    def __init__(self, lines: Iterable[bytes], wanted: set[str]) -> None:
        self._lines = lines
        self._wanted = wanted
        self.first_previous: str | None = None
        self.unfinished = ""

    def __iter__(self) -> Iterator[bytes]:
        line = b"\n"
        try:
            for line in self._lines:
                if self.first_previous is None:
                    self.first_previous = line[87:151].decode("ascii", "replace")
                if self._wanted:
                    self._wanted.discard(line[9:73].decode("ascii", "replace"))
                yield line
        except DAMAGED as error:
            self.unfinished = f"what follows cannot be decompressed, it was altered or cut off: {error}"
            return
        if not line.endswith(b"\n"):
            self.unfinished = "the last line is unfinished: written in part, or truncated"


def _noted(file: Path, watched: _Watched) -> str:
    """The removed file that this one goes on from, where its head is noted; else empty."""
    notes = sorted(file.parent.glob("*.head"))
    return next((n.name.removesuffix(".head") for n in notes if _note(n) == watched.first_previous), "")


def _note(note: Path) -> str:
    return note.read_bytes().strip().decode("ascii", "replace")


def _signed_off(file: Path, head: str) -> list[Finding]:
    """A closed file ends with the head that was noted when it was closed."""
    note = file.with_name(file.name.removesuffix(".gz") + ".head")
    if not note.exists() or _note(note) == head:
        return []
    what = (
        f'it does not end with the head in "{note.name}", noted when it was closed: its end, or that note, was altered'
    )
    return [Finding(str(file), 0, what)]
