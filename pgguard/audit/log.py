"""The audit log: records appended to one file, chained, before anything they tell of is relayed.

Theory of operation. Appending takes a lock on the file, so that several processes write one chain: whoever finds that
the file has grown since its own last append reads the head from the last line. A line is one write; what a crash left
half written at the end is cut off into a change record of its own, so that the break stays visible.
# INVARIANT: `append` returns only when the record is in the file; otherwise it raises, and the statement is refused.
"""

import fcntl
import os
import threading
from pathlib import Path

import msgspec

from pgguard.audit.chain import ZERO, Chain
from pgguard.audit.records import Changed, Record
from pgguard.audit.settings import AuditSettings

_TAIL = 8 << 20
"""Bytes from the end in which the last record surely begins: a statement is at most 1 MiB, its facts are less."""
_encoder = msgspec.json.Encoder()


class AuditUnavailable(Exception):  # noqa: N818  # it says what is the case
    """The record could not be written; nothing that depends on it may happen."""


class AuditLog:
    def __init__(self, settings: AuditSettings, now: str) -> None:
        """Open the log and continue its chain. Raises AuditUnavailable. `now`: for the record of a break."""
        self._settings = settings
        key = None if settings.key_file is None else settings.key_file.read_bytes()
        self._chain = Chain(key)
        self._end = -1
        self._dirty = False
        self._lock = threading.Lock()
        try:
            settings.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(settings.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        except OSError as error:
            raise AuditUnavailable(f'cannot open audit log "{settings.path}": {error.strerror}') from error
        self._mend(now)

    @property
    def path(self) -> Path:
        return self._settings.path

    @property
    def head(self) -> str:
        return self._chain.head

    def append(self, record: Record) -> None:
        """Write one record. Raises AuditUnavailable; the file is then as it was."""
        self._write(_encoder.encode(record))

    def _write(self, encoded: bytes) -> None:
        with self._lock:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
                try:
                    self._append(encoded)
                finally:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
                if self._settings.sync == "always":
                    os.fdatasync(self._file)
                self._dirty = True
            except OSError as error:
                raise AuditUnavailable(f'cannot write audit log "{self.path}": {error.strerror}') from error

    def _append(self, encoded: bytes) -> None:
        size = os.fstat(self._file).st_size
        if size != self._end:
            self._chain.head = self._last_hash(size)
        before = self._chain.head
        line = self._chain.link(encoded)
        try:
            written = os.write(self._file, line)
        except OSError:
            self._chain.head = before
            raise
        if written != len(line):  # the disk is full: leave no half record behind
            os.ftruncate(self._file, size)
            self._chain.head = before
            self._end = size
            raise OSError(28, "No space left on device")
        self._end = size + len(line)

    def _last_hash(self, size: int) -> str:
        if size == 0:
            return ZERO
        tail = os.pread(self._file, min(size, _TAIL), max(0, size - _TAIL))
        line = tail.rstrip(b"\n").rpartition(b"\n")[2]
        return line[9:73].decode("ascii", "replace")

    def _mend(self, now: str) -> None:
        """A last line that a crash left unfinished is cut off, and the cut is recorded."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            size = os.fstat(self._file).st_size
            tail = os.pread(self._file, min(size, _TAIL), max(0, size - _TAIL))
            torn = len(tail) - (tail.rfind(b"\n") + 1)
            if torn:
                os.ftruncate(self._file, size - torn)
                self._append(_encoder.encode(Changed(now, "break", f"cut off {torn} bytes of an unfinished record")))
        except OSError as error:
            raise AuditUnavailable(f'cannot read audit log "{self.path}": {error.strerror}') from error
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def flush(self) -> None:
        """Have everything on disk; for sync = "interval", called in the background."""
        if self._dirty:
            self._dirty = False
            os.fdatasync(self._file)

    def reopen(self) -> None:
        """Go on in a new file under the same name (logrotate); the chain goes on."""
        with self._lock:
            head = self._chain.head
            fresh = os.open(self._settings.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
            os.close(self._file)
            self._file = fresh
            size = os.fstat(fresh).st_size
            self._chain.head = head if size == 0 else self._last_hash(size)
            self._end = size

    def close(self) -> None:
        self.flush()
        os.close(self._file)
