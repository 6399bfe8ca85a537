"""The audit log: records appended to one file, chained, before anything they tell of is relayed.

Theory of operation. Appending takes a lock on the file, so that several processes write one chain. Whoever finds that
the file has grown since its own last append reads the head from the last line; whoever finds another file under the
name (a rotation by another process, or logrotate) goes on there, with the head of the file it leaves. No line takes
more than one write; what a crash left half written at the end is cut off, and a change record tells of it.
Nobody appends to a file that no longer has the name: the lock is taken first and the name looked at under it.
# INVARIANT: `append` returns only when the record is in the file; otherwise it raises, and the statement is refused.
"""

import asyncio
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pgguard.audit.chain import ZERO, Chain, is_link
from pgguard.audit.encoding import Encoder, Form
from pgguard.audit.files import AuditUnreadable, closed_files, last_head, moved_files
from pgguard.audit.records import Changed, DecisionMade, Record, SessionEnded, StatementEnded
from pgguard.audit.redact import Redactor
from pgguard.audit.settings import AuditSettings

_PIECE = 2 << 10
"""Bytes of a common record, about."""

_LOOKS = 10

_T = TypeVar("_T")

_Identity = tuple[int, int]
"""A file's device and inode."""

_Unsynced = tuple[asyncio.Future[None], OSError | None]
"""Who waits for a record to be on disk, and the last failure before it was written."""


class AuditUnavailable(Exception):  # noqa: N818  # it says what is the case
    """The record could not be written; nothing that depends on it may happen."""


class AuditLog:
    def __init__(self, settings: AuditSettings, now: str) -> None:
        """Open the log and continue its chain. Raises AuditUnavailable. `now`: for the record of a break."""
        self._settings = settings
        self._encoder = Encoder()
        self._end = -1
        self._dirty = False
        self._name = str(settings.path)
        self._threads = threading.Lock()
        self._flushing = threading.Lock()
        self._failure: OSError | None = None
        """What the last fdatasync that failed raised. The kernel tells of what it has lost once: the next succeeds."""
        self._syncer = ThreadPoolExecutor(1, "audit")
        """A thread of its own, begun with the first record that waits: the loop's others may all be busy."""
        self._syncing = False
        self._unsynced: list[_Unsynced] = []
        with self._telling("open"):
            key = None if settings.key_file is None else settings.key_file.read_bytes()
            self._chain = Chain(key)
            self.redactor = Redactor(settings, key)
            settings.path.parent.mkdir(parents=True, exist_ok=True)
            self._file, self._identity = self._open()
            self._under_lock(lambda size: self._mend(now, size))

    @property
    def path(self) -> Path:
        return self._settings.path

    @property
    def head(self) -> str:
        """The hash of the last record this process has seen."""
        return self._chain.head

    @property
    def waits(self) -> bool:
        """Whether a record has to be waited for (sync = "always"): use `commit`, which gathers the waiting."""
        return self._settings.sync == "always"

    def append(self, record: Record) -> None:
        """Write one record, on disk where sync = "always". Raises AuditUnavailable; the file is then as it was."""
        before = self._failure
        self._write(record)
        if self.waits:
            self.flush()
            lost = self._lost_since(before)
            if lost is not None:
                raise lost

    def form(self, record: DecisionMade) -> Form:
        """What this record, none of whose values is redacted, has in common with those like it."""
        redacted = self.redactor.record(record)
        assert isinstance(redacted, DecisionMade), "redaction leaves a decision a decision"
        assert redacted.values is record.values, "they would have to be redacted each time"
        return self._encoder.form(redacted)

    def append_filled(self, records: Sequence[bytes]) -> None:
        """`append` of forms that are filled in, in one write; not where a record `waits`."""
        self._put(records)

    def commit(self, record: Record) -> asyncio.Future[None]:
        """Write one record; done when it is on disk. Raises AuditUnavailable, as does what it returns.

        That does not block the loop on the disk, and one fdatasync serves all that wait (group commit).
        """
        before = self._failure
        self._write(record)
        durable = asyncio.get_running_loop().create_future()
        self._unsynced.append((durable, before))
        if not self._syncing:
            self._sync()
        return durable

    def follow_up(self, records: Sequence[StatementEnded | SessionEnded]) -> None:
        """`append` of what has happened already, so that nothing waits for it to be on disk; all in one write.

        Where sync = "always" it is so with the next record that is waited for, or after a second (upkeep.py).
        """
        self._put([self._encoder.encode(record) for record in records])

    def flush(self) -> None:
        """Have everything on disk. Raises AuditUnavailable. Any thread; each second, but for sync = "os".

        One at a time: who finds nothing left to sync has waited for whoever was at it.
        """
        with self._flushing:
            if self._dirty:
                with self._telling("flush"):
                    self._flush()

    def _flush(self) -> None:
        with self._threads:  # nobody closes the file meanwhile; appends go on while it is synced
            file = os.dup(self._file)
            self._dirty = False
        try:
            self._fdatasync(file)
        finally:
            os.close(file)

    def _fdatasync(self, file: int) -> None:
        try:
            os.fdatasync(file)
        except OSError as error:
            self._failure = error
            raise

    def _lost_since(self, before: OSError | None) -> AuditUnavailable | None:
        """What to raise where a sync has failed since, whoever called it: what it was to cover may be lost."""
        if self._failure is None or self._failure is before:
            return None
        return self._unavailable("flush", self._failure)

    def reopen(self) -> None:
        """Go on under the name if another file has it (after logrotate); an append would do so by itself."""
        with self._telling("reopen"):
            self._under_lock(lambda _: None)

    def close(self) -> None:
        self._syncer.shutdown()
        self.flush()
        os.close(self._file)

    def rotate(self, closed: Path, now: str) -> None:
        """Close the file under the name `closed`, and begin the next with a record that names it and its head."""
        with self._telling("rotate"):
            self._under_lock(lambda size: self._rotate(closed, now, size))

    def _rotate(self, closed: Path, now: str, size: int) -> None:
        self._fdatasync(self._file)
        self._chain.head = self._head(size)
        head = self._chain.head
        closed.with_name(closed.name + ".head").write_text(head + "\n", encoding="ascii")
        self.path.rename(closed)
        begins = Changed(now, "rotate", f"continues {closed.name}, head {head}")
        self._append([self._encoder.encode(begins)], self._follow())

    def _write(self, record: Record) -> None:
        self._put([self._encoder.encode(self.redactor.record(record))])

    def _put(self, encoded: Sequence[bytes]) -> None:
        try:
            self._under_lock(lambda size: self._append(encoded, size))
        except OSError as error:
            raise self._unavailable("write", error) from error

    def _under_lock(self, work: Callable[[int], _T]) -> _T:
        """Do this while no other thread or process writes, in the file that has the name; `work` is told its size.

        # INVARIANT: the lock is taken first, and the name looked at under it.
        """
        with self._threads:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                size = self._size_if_current()
                return work(self._follow() if size is None else size)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _sync(self) -> None:
        """Have what waits on disk. Whoever comes meanwhile waits for the next sync: this one may not cover it."""
        waiting, self._unsynced, self._syncing = self._unsynced, [], True
        self._syncer.submit(self._flush_for, waiting, asyncio.get_running_loop())

    def _flush_for(self, waiting: Sequence[_Unsynced], loop: asyncio.AbstractEventLoop) -> None:
        failed: Exception | None = None
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001  # INVARIANT: whatever was raised, the statements are refused
            failed = error
        loop.call_soon_threadsafe(self._synced, waiting, failed)

    def _synced(self, waiting: Sequence[_Unsynced], failed: Exception | None) -> None:
        self._syncing = False
        for durable, before in waiting:
            failure = failed or self._lost_since(before)
            if durable.done():
                continue  # it was given up
            if failure is None:
                durable.set_result(None)
            else:
                durable.set_exception(failure)
        if self._unsynced:
            self._sync()

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unavailable(what, error) from error

    def _unavailable(self, what: str, error: OSError) -> AuditUnavailable:
        return AuditUnavailable(f'cannot {what} audit log "{self.path}": {error.strerror}')

    def _open(self) -> tuple[int, _Identity]:
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        status = os.fstat(file)
        return file, (status.st_dev, status.st_ino)

    def _follow(self) -> int:
        """Go on in the file that has the name now, with its lock held instead of the old one's; its size."""
        while (size := self._size_if_current()) is None:
            fresh, identity = self._open()
            try:
                fcntl.flock(fresh, fcntl.LOCK_EX)
                size = os.fstat(fresh).st_size
                before = self._head_before() if size == 0 else ""
                if self._dirty and self._settings.sync != "os":
                    self._fdatasync(self._file)  # logrotate does not, and no flush comes back to it
            except BaseException:
                os.close(fresh)  # left open it would keep its lock, for which the next record would wait without end
                raise
            os.close(self._file)
            self._file, self._identity = fresh, identity
            self._chain.head = before if size == 0 else self._head(size)
            self._end = size
        return size

    def _head_before(self) -> str:
        """The head that an empty file under the name goes on from; told under that file's lock.

        It is that of the file we leave, unless another has been closed since: between a rename and the next file's
        creation the name is free, and whoever comes just then may have slept through more than one rotation.
        """
        ours = os.fstat(self._file)
        return self._closed_head(ours.st_mtime_ns) or self._head(ours.st_size)

    def _closed_head(self, since: int) -> str:
        """The head of the newest closed file; empty where none was closed since. One that is damaged has none."""
        for _ in range(_LOOKS):
            closed = closed_files(self.path)
            try:
                return last_head(closed[-1]) if closed and closed[-1].stat().st_mtime_ns >= since else ""
            except FileNotFoundError:
                continue  # it has been compressed or removed just now: look again
            except AuditUnreadable as error:
                raise OSError(errno.EIO, str(error)) from error
        raise OSError(errno.EBUSY, "its closed files come and go")

    def _moved_head(self) -> str:
        """The head of the file that was moved away last; of one that cannot be read, as of none, zeros."""
        moved = moved_files(self.path)
        with suppress(AuditUnreadable, OSError):
            return last_head(moved[-1]) if moved else ZERO
        return ZERO

    def _size_if_current(self) -> int | None:
        """The size of our file; None where another has the name."""
        try:
            named = os.stat(self._name)  # noqa: PTH116  # twice as fast, and twice a statement
        except FileNotFoundError:
            return None
        return named.st_size if (named.st_dev, named.st_ino) == self._identity else None

    def _append(self, encoded: Sequence[bytes], size: int) -> None:
        """`size`: of the file, before."""
        if size != self._end:
            size -= self._cut_torn(size)
            self._chain.head = self._head(size)
        before = self._chain.head
        lines = b"".join(map(self._chain.link, encoded))
        written = 0
        try:
            written = os.write(self._file, lines)
        finally:
            if written == len(lines):
                self._end = size + written
                self._dirty = True
            else:  # leave no half record behind
                self._chain.head, self._end = before, -1
                os.ftruncate(self._file, size)
        if written != len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _head(self, size: int) -> str:
        """The hash that the last line carries; of an empty file, that of the newest closed one.

        Where pgguard closes none, logrotate may have moved the last one away while nothing ran.
        """
        if size == 0:
            return self._closed_head(since=0) or self._moved_head()
        while size > 0:
            line = self._tail(size - 1)
            if is_link(line):
                return line[9:73].decode("ascii", "replace")
            size -= len(line) + 1  # somebody else wrote it: the chain goes on from the last record
        return ZERO

    def _tail(self, end: int) -> bytes:
        """What stands between the last newline before `end` and `end`."""
        length, found = _PIECE, b""
        while b"\n" not in found and len(found) < end:
            length = min(2 * length, end)
            found = os.pread(self._file, length, end - length)
        return found.rpartition(b"\n")[2]

    def _cut_torn(self, size: int) -> int:
        """Cut off what a crash left half written; how many bytes it was."""
        torn = len(self._tail(size))
        if torn:
            os.ftruncate(self._file, size - torn)
        return torn

    def _mend(self, now: str, size: int) -> None:
        torn = self._cut_torn(size)
        if torn:
            broken = Changed(now, "break", f"cut off {torn} bytes of an unfinished record")
            self._append([self._encoder.encode(broken)], size - torn)
