"""How far a target is: kept in a file beside the log, which those who watch read as well.

The file is written in place and has one length, so that a full disk does not hinder it; whoever has its lock ships to
this target, and other processes of the same log stand by. A half written one reads as none: then all is sent anew.
"""

import fcntl
import os
from pathlib import Path

import msgspec

from pgguard.audit.follow import Position

_LENGTH = 2048
_LONGEST_TROUBLE = 200


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """`position`: all before it is delivered. `since`: time of the oldest record that waits, empty where none does.
    `trouble`: why the last delivery failed, empty where it did not.
    """

    position: Position | None = None
    since: str = ""
    trouble: str = ""


_decoder = msgspec.json.Decoder(Status)


def status_file(log: Path, target: str) -> Path:
    return log.with_name(f"{log.name}.ship-{target}")


def read_status(log: Path, target: str) -> Status | None:
    """None where nothing was ever shipped there, or the file cannot be read."""
    try:
        return _decoder.decode(status_file(log, target).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


class StatusFile:
    """The file, opened to be kept up to date."""

    def __init__(self, log: Path, target: str) -> None:
        self._file = os.open(status_file(log, target), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._written: Status | None = None

    def take(self) -> bool:
        """Whether this process is the one that ships now; until it ends."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def read(self) -> Status:
        try:
            return _decoder.decode(os.pread(self._file, _LENGTH, 0))
        except msgspec.DecodeError:
            return Status()

    def write(self, status: Status) -> None:
        if status == self._written:
            return
        short = msgspec.structs.replace(status, trouble=status.trouble[:_LONGEST_TROUBLE])
        os.pwrite(self._file, msgspec.json.encode(short).ljust(_LENGTH - 1) + b"\n", 0)
        self._written = status

    def close(self) -> None:
        """Also gives the lock to another process."""
        os.close(self._file)
