"""Verification of a whole audit: every file in order, each going on from the one before, heads anchored elsewhere."""

import hmac
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from pgguard.audit.chain import ZERO, verify
from pgguard.audit.files import reading


class Finding(msgspec.Struct, frozen=True):
    """Something wrong; `line` is 1-based, 0 for the file as a whole."""

    file: str
    line: int
    what: str


class Report(msgspec.Struct, frozen=True):
    records: int
    head: str
    findings: tuple[Finding, ...]


def verify_files(files: Iterable[Path], key: bytes | None, heads: Sequence[str] = ()) -> Report:
    """Check the files in the order of the chain. `heads`: hashes noted elsewhere, each of which must be in them.

    The first file may go on from one that was removed after its time; its own start is then taken as it is, unless
    the head of the removed file is noted beside it or in `heads`.
    """
    head: str | None = None
    findings: list[Finding] = []
    records, wanted = 0, set(heads)
    for file in files:
        started_from = head
        with reading(file) as lines:
            watched = _Watched(lines, wanted)
            head, count, flaws = verify(watched, key, started_from)
        records += count
        if started_from is None and watched.first_previous not in (ZERO, None, *heads) and not _noted(file, watched):
            findings.append(Finding(str(file), 1, "it goes on from records that are not here: name their files too"))
        if watched.unfinished:
            findings.append(Finding(str(file), count, "the last line is unfinished: written in part, or truncated"))
        findings += [Finding(str(file), flaw.line, flaw.what) for flaw in flaws]
        findings += _signed_off(file, head)
    missing = [h for h in heads if h in wanted]
    findings += [
        Finding("", 0, f'head "{h}" is in no record: the end was cut off, or all was replaced') for h in missing
    ]
    return Report(records, head or ZERO, tuple(findings))


class _Watched:
    """The lines, while looking for the heads that are wanted."""

    def __init__(self, lines: Iterable[bytes], wanted: set[str]) -> None:
        self._lines = lines
        self._wanted = wanted
        self.first_previous: str | None = None
        self.unfinished = False

    def __iter__(self) -> Iterator[bytes]:
        for line in self._lines:
            if self.first_previous is None:
                self.first_previous = line[87:151].decode("ascii", "replace")
            if self._wanted:
                self._wanted.discard(line[9:73].decode("ascii", "replace"))
            self.unfinished = not line.endswith(b"\n")
            yield line


def _noted(file: Path, watched: _Watched) -> bool:
    """Whether a `.head` beside the file tells of the one it goes on from, removed after its time."""
    return any(note.read_text("ascii").strip() == watched.first_previous for note in file.parent.glob("*.head"))


def _signed_off(file: Path, head: str) -> list[Finding]:
    """A closed file ends with the head that was noted when it was closed."""
    note = file.with_name(file.name.removesuffix(".gz") + ".head")
    if not note.exists() or hmac.compare_digest(note.read_text("ascii").strip(), head):
        return []
    return [Finding(str(file), 0, "it does not end with the head noted when it was closed: its end was cut off")]
