"""Where the constants of a statement stand, and which of them are secrets: by the parser's own tokens.

A secret is a string after PASSWORD or CONNECTION, after an option of that kind, or one that reads like a connection
string with a password in it. A text that cannot be cut into tokens is taken as one secret whole where it speaks of
one, since nobody can say where in it the secret stands.
"""

import re
from typing import NamedTuple

from pglast.parser import ParseError, scan

_CONSTANTS = frozenset({"SCONST", "USCONST", "BCONST", "XCONST", "ICONST", "FCONST"})
_STRINGS = frozenset({"SCONST", "USCONST"})
_SECRET_WORDS = frozenset({"password", "connection", "passwd", "sslpassword", "scram_client_key", "scram_server_key"})
_SPEAKS_OF_SECRETS = re.compile(r"passw|connection|scram|://[^\s'@]*:[^\s'@]*@", re.IGNORECASE)
_CONNECTION_STRING = re.compile(r"(passw(or)?d\s*=)|(://[^\s'@/]*:[^\s'@]*@)", re.IGNORECASE)


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of the text."""

    start: int
    end: int


def constants(text: str) -> list[Span]:
    """Where the constants stand, in order; the whole text where it cannot be cut into tokens."""
    try:
        return [Span(token.start, token.end + 1) for token in scan(text) if token.name in _CONSTANTS]
    except ParseError:
        return [Span(0, len(text))]


def secrets(text: str) -> list[Span]:
    """Where passwords stand that the statement carries in plain sight, in order."""
    if _SPEAKS_OF_SECRETS.search(text) is None:
        return []
    try:
        tokens = [token for token in scan(text) if token.name not in ("SQL_COMMENT", "C_COMMENT")]
    except ParseError:
        return [Span(0, len(text))]
    found, before = [], ""
    for token in tokens:
        written = text[token.start : token.end + 1]
        if token.name in _STRINGS and (before in _SECRET_WORDS or _CONNECTION_STRING.search(written)):
            found.append(Span(token.start, token.end + 1))
        if token.name not in ("ASCII_61", "TO"):  # password = 'x', password to 'x'
            before = written.strip('"').lower()
    return found


def replaced(text: str, spans: list[Span], marks: list[str]) -> str:
    """The text with each span replaced by its mark."""
    parts, at = [], 0
    for span, mark in zip(spans, marks, strict=True):
        parts += [text[at : span.start], mark]
        at = span.end
    return "".join([*parts, text[at:]])
