"""The hash chain: each line carries the hash of the one before, so that no change, loss or reorder goes unseen.

A line is `{"hash":"…","previous":"…",` and then the record. The hash is SHA-256, or HMAC-SHA-256 where a key is
configured, over the previous hash and the record's bytes. The first line of a file has the last hash of the file
before it, or zeros.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import NamedTuple

ZERO = "0" * 64
LINKED = len('{"hash":"') + 64 + len('","previous":"') + 64 + len('",')
"""Where the record begins in a line."""


def is_link(line: bytes) -> bool:
    """Whether a line begins as the chain's lines do."""
    return line.startswith(b'{"hash":"') and line[73:87] == b'","previous":"' and line[151:153] == b'",'


class Flaw(NamedTuple):
    """Where the chain is broken; `line` is 1-based."""

    line: int
    what: str


class Chain:
    """Links records. `head` is the hash of the last one."""

    def __init__(self, key: bytes | None, head: str = ZERO) -> None:
        self._key = key
        self.head = head

    def link(self, record: bytes) -> bytes:
        """The line for a record that is encoded as a JSON object; moves the head."""
        previous, rest = self.head.encode(), record[1:]
        self.head = self._hash(previous, rest)
        return b'{"hash":"%b","previous":"%b",%b\n' % (self.head.encode(), previous, rest)

    def _hash(self, previous: bytes, rest: bytes) -> str:
        data = previous + rest
        if self._key is None:
            return hashlib.sha256(data).hexdigest()
        return hmac.digest(self._key, data, "sha256").hex()

    def check(self, line: bytes) -> str | None:
        """What is wrong with the next line, None where nothing is; moves the head."""
        line = line.removesuffix(b"\n")
        if not is_link(line):
            return "it is no audit record"
        written, previous = line[9:73].decode("ascii", "replace"), line[87:151].decode("ascii", "replace")
        if previous != self.head:
            self.head = written
            return "it does not follow the record before it: records are missing, added or reordered"
        expected = self._hash(line[87:151], line[LINKED:])
        self.head = written
        return None if hmac.compare_digest(expected.encode(), line[9:73]) else "its content was altered"


def verify(lines: Iterable[bytes], key: bytes | None, start: str | None = None) -> tuple[str, int, list[Flaw]]:
    """Check a file: its head, how many records it has, and every flaw. `start`: the head it must go on from."""
    chain, flaws, count = Chain(key), [], 0
    for count, line in enumerate(lines, 1):
        if count == 1:
            chain.head = start if start is not None else line[87:151].decode("ascii", "replace")
        wrong = chain.check(line)
        if wrong is not None:
            flaws.append(Flaw(count, wrong))
    return chain.head, count, flaws
