"""Parsing, guarded: what may crash or mislead the parser never reaches it.

`parse_sql` builds Python objects recursively in C and can overflow the stack on deep input; the protobuf form refuses
the same input cleanly, so it goes first where a text is long enough to be deep (field notes, section 3). A NUL would
end the text for the parser only.

pglast checks and converts each attribute that is set on a node, for those who write trees of their own. What the parser
sets is right by itself, and to look at it again was five sixths of the time that parsing took: so nobody does here.
"""

import re
from typing import Any

import msgspec
from pglast import ast, parse_sql
from pglast.parser import ParseError, parse_sql_protobuf, scan

ast.Node.__setattr__ = object.__setattr__  # type: ignore[method-assign, assignment]

MAX_CHARACTERS = 16 * 1024 * 1024
"""Longer texts are refused unread."""

_SHALLOW = 1_000
"""Characters up to which no text is deep: a character opens one level at most, and from 5,000 levels on the guard
refuses; several times as many overflow the stack.
"""

_NEW_LITERALS = re.compile(r"[0-9](_[0-9]|[xXoObB])")
_SINCE = 16
"""The version from which 1_000, 0x1F, 0o17 and 0b1 are numbers: before, each is a number and an alias."""


class SyntaxProblem(Exception):  # noqa: N818  # the statement's, not the program's
    """The text does not parse: the parser's own message; `position` in characters from 1, 0 where it tells none."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class Parsed(msgspec.Struct, frozen=True):
    """One statement: its tree, and where its text lies in the whole, in characters."""

    tree: Any
    text: str


def parse(text: str, version: int = _SINCE) -> list[Parsed]:
    """The statements of a text, for a server of this major version. Raises SyntaxProblem."""
    if "\0" in text:
        raise SyntaxProblem("invalid byte sequence: 0x00")
    if len(text) > MAX_CHARACTERS:
        raise SyntaxProblem(f"statement is longer than {MAX_CHARACTERS} characters")
    try:
        if len(text) > _SHALLOW:
            parse_sql_protobuf(text)
        statements: tuple[ast.RawStmt, ...] = parse_sql(text)
    except ParseError as error:
        message = str(error.args[0])
        location = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else None
        if location is None and message.endswith("at end of input"):
            location = len(text)  # pglast finds no character there; PostgreSQL points behind the last one
        raise SyntaxProblem(message, 0 if location is None else location + 1) from error
    except RecursionError as error:
        raise SyntaxProblem("statement is nested too deeply") from error
    if version < _SINCE:
        _refuse_new_literals(text)
    return [Parsed(statement.stmt, _slice(text, statement)) for statement in statements]


def _refuse_new_literals(text: str) -> None:
    """What an older server reads differently is refused (field notes, section 3)."""
    if _NEW_LITERALS.search(text) is None:
        return
    for token in scan(text):
        written = text[token.start : token.end + 1]
        if token.name in {"ICONST", "FCONST"} and _NEW_LITERALS.search(written):
            raise SyntaxProblem(f'trailing junk after numeric literal at or near "{written}"', token.start + 1)


def _slice(text: str, statement: ast.RawStmt) -> str:
    """The statement's own text: pglast gives character offsets; a length of 0 means to the end."""
    start = statement.stmt_location or 0
    length = statement.stmt_len or 0
    return text[start : start + length] if length else text[start:]
