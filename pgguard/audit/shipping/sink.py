"""What every target can do, and what a line tells of itself without being decoded."""

import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pgguard.audit.chain import LINKED

_AT = re.compile(rb'"at":"([^"\\]{1,40})"')
_TYPE = re.compile(rb'"type":"([a-z-]{1,32})"')
_EFFECT = re.compile(rb'"effect":"(deny|hold)"')
_START = 200
"""Bytes of a record within which its type and time stand."""


class Sink(Protocol):
    """A place to which records go. It blocks; it has a thread of its own."""

    unsure: int
    """How many bytes before a failure may be lost with it, although they were taken."""

    def open(self) -> None:
        """Connect, where that is not done. Raises OSError."""

    def check(self) -> None:
        """Find out whether the connection still lives, while nothing is sent. Raises OSError where it broke."""

    def deliver(self, lines: Sequence[bytes]) -> Sequence[str]:
        """Return when the target has them; of those that it will never take, why. Raises OSError; then it is unknown
        which of them arrived. `open` was called before.
        """

    def close(self) -> None: ...


def time_of(line: bytes) -> str:
    """When the record was made; empty where the line is none."""
    found = _AT.search(line, LINKED, LINKED + _START)
    return found[1].decode("ascii", "replace") if found else ""


def type_of(line: bytes) -> str:
    found = _TYPE.search(line, LINKED, LINKED + _START)
    return found[1].decode() if found else ""


def effect_of(line: bytes) -> str:
    """`deny` or `hold` of a decision; empty for all else. What a statement contains is escaped, and never mistaken."""
    found = _EFFECT.search(line, LINKED) if type_of(line) == "decision" else None
    return found[1].decode() if found else ""


def is_head(line: bytes) -> bool:
    """Whether the record signs off a closed file."""
    return type_of(line) == "change" and b'"what":"rotate"' in line[LINKED : LINKED + _START]


def verifying(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS towards a collector: always verified. Raises OSError where a file cannot be used."""
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
