"""The files of an audit: the open one, the closed ones beside it, compressed or not, oldest first.

`audit.jsonl` is open; `audit.jsonl.20260302T101500.000000` was closed then, and has its head in a file beside it that
ends in `.head`. Names sort by time. Compression and removal happen in the background, never on a statement's path.
"""

import gzip
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from pgguard.audit.chain import ZERO, is_link

DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a compressed file raises that was altered or cut off."""

_CLOSED = re.compile(r"\.\d{8}T\d{6}\.\d{6}(\.gz)?$")
_NO_RECORDS = re.compile(r"\.head$|\.gz-partial$|\.ship-[a-z0-9-]+$")


def closed_name(path: Path, now: datetime) -> Path:
    return path.with_name(f"{path.name}.{now:%Y%m%dT%H%M%S.%f}")


def closed_files(path: Path) -> list[Path]:
    """The closed files of the log at `path`, oldest first."""
    found = (p for p in path.parent.glob(f"{path.name}.*") if _CLOSED.fullmatch(p.name[len(path.name) :]))
    # a crash may leave both forms of one file: the compressed one is whole as soon as it has its name, and counts
    newest = {p.name.removesuffix(".gz"): p for p in sorted(found)}
    return [newest[name] for name in sorted(newest)]


def all_files(path: Path) -> list[Path]:
    """The closed files and the open one, in the order of the chain."""
    return [*closed_files(path), *([path] if path.exists() else [])]


def family(path: Path) -> list[Path]:
    """All files that may hold records of the log, oldest first: those that logrotate moved away among them."""
    return [*moved_files(path), *all_files(path)]


def moved_files(path: Path) -> list[Path]:
    """The files that logrotate moved away, oldest first."""
    others = [p for p in path.parent.glob(f"{path.name}*") if p != path and not _NO_RECORDS.search(p.name)]
    return [p for _, p in sorted((p.stat().st_mtime_ns, p) for p in others if not _CLOSED.search(p.name))]


class AuditUnreadable(Exception):  # noqa: N818  # it says what is the case
    """Something in a log is no record of this version, or not to be read at all; the message says where."""


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """The lines of a file, whether it is compressed or not. Raises AuditUnreadable where it cannot be decompressed."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file  # type: ignore[misc]
    except DAMAGED as error:
        raise AuditUnreadable(f"{path}: cannot be decompressed from somewhere on: {error}") from error


def bytes_read(file: IO[bytes]) -> int:
    """How far a file of `reading` has been read, in bytes on the disk."""
    return file.fileobj.tell() if isinstance(file, gzip.GzipFile) else file.tell()


def last_head(path: Path) -> str:
    """The hash of the last record in a file."""
    line = b""
    with reading(path) as file:
        for line in file:  # noqa: B007  # the last one is what counts
            pass
    return line[9:73].decode("ascii", "replace") if is_link(line) else ZERO


def _private(path: Path) -> IO[bytes]:
    """A new file that nobody else may read, whatever the umask."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def compress(closed: Path) -> Path:
    """Replace a closed file by its compressed form; a crash or a full disk leaves the plain one."""
    packed, partial = closed.with_name(closed.name + ".gz"), closed.with_name(closed.name + ".gz-partial")
    try:
        with closed.open("rb") as source, _private(partial) as file, gzip.open(file, "wb", compresslevel=6) as target:
            os.fchmod(file.fileno(), os.fstat(source.fileno()).st_mode & 0o777)
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError:  # on a full disk it would take the room that records need
        partial.unlink(missing_ok=True)
        raise
    partial.rename(packed)
    closed.unlink()
    return packed


def remove_old(path: Path, before: datetime) -> list[Path]:
    """Remove what was closed before; their heads stay, so that the rest still has something to go on from."""
    old = [p for p in closed_files(path) if p.name[len(path.name) + 1 :] < f"{before:%Y%m%dT%H%M%S.%f}"]
    for file in old:
        file.unlink()
    return old


def keep_house(path: Path, now: datetime, *, compressing: bool, keep_days: float) -> None:
    """Compress and remove closed files, as configured."""
    if keep_days:
        remove_old(path, now - timedelta(days=keep_days))
    for closed in closed_files(path) if compressing else ():
        if closed.suffix != ".gz":
            compress(closed)
        else:
            closed.with_suffix("").unlink(missing_ok=True)
