"""Following a log as it grows, from any place in it, over every rotation, compression and renaming.

Theory of operation. A file is known by the hash of its first record, which no other has, whatever its name has become;
a place in the log is that hash, the bytes of the file that were read, and the hash of the last record read. The next
file is the one whose first record names this hash as its previous one: the chain itself tells the order, and proves
that nothing stands between. An open file is held by its descriptor, so that it can be read to its end after it was
moved, compressed or removed. Only whole lines count; a torn one is read again once it is whole, or cut off.
Reading takes no lock: who writes never waits for who reads.
"""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from pgguard.audit.chain import ZERO
from pgguard.audit.files import all_files, family, last_head

_PATIENCE = 10
"""Looks in vain for the file that goes on, before records are given up as missing: a rotation may be under way."""

_LONGEST = 64 << 20
"""A line longer than this is none of ours."""


class Position(msgspec.Struct, frozen=True):
    """A place in the log. `file`: hash of its first record; `offset`: bytes of it, uncompressed, that were read;
    `head`: hash of the last record read.
    """

    file: str
    offset: int
    head: str


class Follower:
    """Reads on from a position; None is the beginning of the oldest file.

    `gaps` counts how often records were missing: the file that goes on was removed before it was read.
    """

    def __init__(self, path: Path, position: Position | None = None) -> None:
        self._path = path
        self._part: _Part | None = None
        self._head = ZERO
        self._wanted = position
        self._misses = 0
        self.gaps = 0

    @property
    def position(self) -> Position | None:
        """Behind the last line that was read; None where none was ever there."""
        part = self._part
        return self._wanted if part is None else Position(part.first, part.offset, self._head)

    def go_to(self, position: Position | None) -> None:
        """Read on from there."""
        self.close()
        self._wanted = position

    def read(self, limit: int) -> list[bytes]:
        """The next lines, some `limit` bytes of them, without their newlines; none where the log ends for now."""
        if self._part is None and not self._begin():
            return []
        while self._part is not None:
            lines = self._part.lines(limit)
            if lines:
                self._misses = 0
                self._head = _hash(lines[-1]) or self._head
                return lines
            if not self._advance(self._part):
                return []
        return []

    def close(self) -> None:
        if self._part is not None:
            self._part.close()
        self._part = None

    def _begin(self) -> bool:
        wanted = self._wanted
        if wanted is None:
            return self._open_oldest()
        for file in reversed(family(self._path)):
            links = _links(file)
            if links is None:
                continue
            if links[0] == wanted.file and self._resume(file, wanted):
                return True
            if links[1] == wanted.head:
                return self._open(file)
        return _links(self._path) is not None and self._missed()  # else the file that goes on is yet to be written

    def _resume(self, file: Path, wanted: Position) -> bool:
        """Whether the file has the position; one that was written anew has another record there."""
        if not self._open(file):
            return False
        assert self._part is not None, "it was opened"
        if not self._part.seek(wanted.offset, wanted.head):
            self.close()
            return False
        self._head = wanted.head
        return True

    def _advance(self, part: "_Part") -> bool:
        """Go on to the next file, where this one is at its end for good."""
        if part.is_named(self._path):
            return False
        for file in reversed(family(self._path)):
            links = _links(file)
            if links is not None and links[0] != part.first and links[1] == self._head:
                return self._open(file)
        return self._path.exists() and self._missed()  # moved away: the next record makes the next file

    def _missed(self) -> bool:
        """Nothing goes on from here. After some patience: from the oldest that is left, records missing between."""
        self._misses += 1
        if self._misses < _PATIENCE:
            return False
        self._misses = 0
        if not self._open_oldest():
            return False
        self.gaps += 1
        return True

    def _open_oldest(self) -> bool:
        """The oldest file behind the one that was read, where that one is still there; else the oldest of all."""
        files = [file for file in all_files(self._path) if _links(file) is not None]
        read = None if self._part is None else self._part.first
        firsts = [(_links(file) or ("", ""))[0] for file in files]
        later = files[firsts.index(read) + 1 :] if read in firsts else files
        return bool(later) and self._open(later[0])

    def _open(self, file: Path) -> bool:
        links = _links(file)
        if links is None:
            return False
        try:
            part = _Part(file, links[0])
        except FileNotFoundError:  # compressed or removed just now: look again
            return False
        self.close()
        self._part = part
        return True


class _Part:
    """One file, from `offset` on."""

    def __init__(self, file: Path, first: str) -> None:
        self._packed = file.suffix == ".gz"
        opened = gzip.open(file) if self._packed else file.open("rb", buffering=0)  # noqa: SIM115  # `close` closes it
        self._file: IO[bytes] = opened  # type: ignore[assignment]
        self.first = first
        self.offset = 0

    def close(self) -> None:
        self._file.close()

    def is_named(self, path: Path) -> bool:
        """Whether it is the open file, which may grow."""
        ours = os.fstat(self._file.fileno())
        try:
            named = path.stat()
        except FileNotFoundError:
            return False
        return (named.st_ino, named.st_dev) == (ours.st_ino, ours.st_dev)

    def lines(self, limit: int) -> list[bytes]:
        # a closed file is read in one go; of the open one nothing may be kept that a writer may still cut off
        found = self._file.readlines(limit) if self._packed else self._whole_lines(limit)
        whole = [line.removesuffix(b"\n") for line in found if line.endswith(b"\n")]
        self.offset += sum(len(line) + 1 for line in whole)
        return whole

    def _whole_lines(self, limit: int) -> list[bytes]:
        descriptor = self._file.fileno()
        while True:
            data = os.pread(descriptor, limit, self.offset)
            end = data.rfind(b"\n") + 1
            if end or len(data) < limit or limit > _LONGEST:
                return [line + b"\n" for line in data[:end].split(b"\n")[:-1]]
            limit *= 4

    def seek(self, offset: int, head: str) -> bool:
        """Go behind the line that ends at the offset, if it is the one with this hash."""
        if offset == 0:
            return True
        start, line = max(0, offset - _LONGEST), b""
        if self._packed:
            self._file.seek(0)
            while self._file.tell() < offset and (line := self._file.readline()):
                pass
        else:
            line = _line_before(self._file.fileno(), offset, start)
        self.offset = offset
        return _hash(line) == head


def _line_before(descriptor: int, end: int, start: int) -> bytes:
    """The line that ends at `end`, its newline included; b"" where none does."""
    size = 64 << 10
    while True:
        begin = max(start, end - size)
        data = os.pread(descriptor, end - begin, begin)
        if len(data) < end - begin or not data.endswith(b"\n"):
            return b""
        cut = data.rfind(b"\n", 0, -1)
        if cut >= 0 or begin == start:
            return data[cut + 1 :]
        size *= 4


def _links(file: Path) -> tuple[str, str] | None:
    """The hash of a file's first record and the one it goes on from; None where it has no record (yet)."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            start = opened.read(153)
    except (OSError, EOFError):  # it has just been compressed or removed, or is no log
        return None
    first = _hash(start)
    return (
        None
        if first is None or start[73:87] != b'","previous":"'
        else (first, start[87:151].decode("ascii", "replace"))
    )


def _hash(line: bytes) -> str | None:
    return line[9:73].decode("ascii", "replace") if line.startswith(b'{"hash":"') and len(line) > 73 else None


def last_lines(path: Path, until: Position | None) -> Iterator[bytes]:
    """The lines before this place (of `end_of`) in the open file, and in the closed ones before it, the last first.

    It ends at a compressed one.
    """
    for file in reversed(all_files(path)):
        if file.suffix == ".gz":
            return
        links = _links(file)
        with file.open("rb") as opened:
            known = until is not None and links is not None and links[0] == until.file
            end = until.offset if until is not None and known else _whole(opened.fileno())
            while end > 0 and (line := _line_before(opened.fileno(), end, 0)):
                yield line.removesuffix(b"\n")
                end -= len(line)


def end_of(path: Path) -> Position | None:
    """The place behind the last whole line that is there; None where none is."""
    for file in reversed(all_files(path)):
        links = _links(file)
        if links is None:
            continue
        if file.suffix == ".gz":
            return Position("", 0, last_head(file))  # whatever file goes on from it
        with file.open("rb") as opened:
            end = _whole(opened.fileno())
            return Position(links[0], end, _hash(_line_before(opened.fileno(), end, 0)) or ZERO)
    return None


def _whole(descriptor: int) -> int:
    """Where the last whole line ends."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        begin = max(0, end - (64 << 10))
        cut = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if cut >= 0:
            return begin + cut + 1
        end = begin
    return 0
