"""Where the constants of a statement stand, and which of them are secrets: by the parser's own tokens.

A secret is a string after PASSWORD or CONNECTION, after an option of that kind, after the name of a setting of that
kind (`set_config('app.password', …)`), one that reads like a connection string with a password in it, and any constant
that is an argument of a function that takes a password or key (`crypt`, `pgp_sym_encrypt` …). A string may be SQL:
the body of a DO block or a function, and what that EXECUTEs; so a string that speaks of secrets is looked into in the
same way. Of a dollar-quoted one the secrets inside are found; any other is one secret whole: its quotes are doubled.

A text that cannot be cut into tokens is taken as one secret whole where it speaks of one, since nobody can say where in
it the secret stands.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pglast.parser import ParseError, scan

from pgguard.model.secrecy import has_url_login, speaks_of_secrets

MASK = "'***'"
"""What stands for a secret."""

_CONSTANTS = frozenset({"SCONST", "USCONST", "BCONST", "XCONST", "ICONST", "FCONST"})
_STRINGS = frozenset({"SCONST", "USCONST", "BCONST", "XCONST"})
_COMMENTS = frozenset({"SQL_COMMENT", "C_COMMENT"})
_SECRET_WORDS = frozenset({
    "password", "connection", "passwd", "sslpassword", "passphrase", "secret", "token", "api_key", "apikey",
    "scram_client_key", "scram_server_key",
})  # fmt: skip
_SECRET_ENDING = re.compile(r".*_(passw(or)?d|passphrase|secret|token|api_?key)", re.DOTALL)
"""`api_token`, `db_password`: as a word that is one by itself."""
_KEEPERS = frozenset({
    "crypt", "hmac", "digest", "encrypt", "encrypt_iv", "decrypt", "decrypt_iv", "pgp_sym_encrypt",
    "pgp_sym_encrypt_bytea", "pgp_sym_decrypt", "pgp_sym_decrypt_bytea", "pgp_pub_decrypt", "pgp_pub_decrypt_bytea",
})  # fmt: skip
"""Functions that take a password, a key, or what is to be encrypted (PostgreSQL docs, pgcrypto)."""

_CONNECTION_STRING = re.compile(r"passw(or)?d\s*=", re.IGNORECASE)
_SECRET_SETTING = re.compile(r"'([^']*[._])?(passw(or)?d|passphrase|secret|token|api_?key)'", re.IGNORECASE)
_DOLLARS = re.compile(r"\$(\w*)\$(.*)\$\1\$", re.DOTALL)
_DEEPEST = 4
"""Strings within strings that are looked into; deeper ones are secrets."""


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
    """Where passwords and keys stand that the statement carries in plain sight, in order."""
    return list(_secrets(text, 0))


def masked(text: str) -> str:
    """The text without its secrets."""
    hidden = secrets(text)
    return replaced(text, hidden, [MASK] * len(hidden)) if hidden else text


def tells_login(value: str) -> bool:
    """Whether a string reads like a connection string with a password in it."""
    return _CONNECTION_STRING.search(value) is not None or has_url_login(value)


def _secrets(text: str, depth: int) -> Iterator[Span]:
    if not speaks_of_secrets(text):
        return
    try:
        tokens = [token for token in scan(text) if token.name not in _COMMENTS] if depth < _DEEPEST else None
    except ParseError:
        tokens = None
    if tokens is None:
        yield Span(0, len(text))
        return
    before = name = ""
    calls: list[bool] = []
    for token in tokens:
        written = text[token.start : token.end + 1]
        if written == "(":
            calls.append(any(calls[-1:]) or name in _KEEPERS)
        elif written == ")" and calls:
            calls.pop()
        if token.name in _STRINGS:
            secret = _names_secret(before) or any(calls[-1:]) or tells_login(written)
            yield from [Span(token.start, token.end + 1)] if secret else _inside(token.start, written, depth)
        name = written.strip('"').lower()
        if token.name not in {"ASCII_61", "TO", "ASCII_44"}:  # password = 'x', password to 'x', ('app.password', 'x')
            before = "password" if token.name in _STRINGS and _SECRET_SETTING.fullmatch(written) else name
        elif token.name == "ASCII_44" and before != "password":
            before = ""


def _names_secret(word: str) -> bool:
    return word in _SECRET_WORDS or _SECRET_ENDING.fullmatch(word) is not None


def _inside(start: int, written: str, depth: int) -> Iterator[Span]:
    """The secrets of a string that may be SQL itself."""
    dollars = _DOLLARS.fullmatch(written)
    if dollars is not None:
        first = start + dollars.start(2)
        for span in _secrets(dollars[2], depth + 1):
            yield Span(first + span.start, first + span.end)
    elif "'" in written[1:-1].strip("'") and any(_secrets(_unquoted(written), depth + 1)):
        yield Span(start, start + len(written))


def _unquoted(written: str) -> str:
    """What a string is, roughly: prefixes and escapes other than doubled quotes only make more of it unreadable."""
    return written[written.index("'") + 1 : -1].replace("''", "'")


def replaced(text: str, spans: list[Span], marks: list[str]) -> str:
    """The text with each span replaced by its mark."""
    parts, at = [], 0
    for span, mark in zip(spans, marks, strict=True):
        parts += [text[at : span.start], mark]
        at = span.end
    return "".join([*parts, text[at:]])
