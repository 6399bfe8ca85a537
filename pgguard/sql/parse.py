"""Parsing, guarded: what may crash or mislead the parser never reaches it.

`parse_sql` builds Python objects recursively in C and can overflow the stack on deep input; the protobuf form refuses
the same input cleanly, so it goes first (field notes, section 3). A NUL would end the text for the parser only.
"""

from typing import Any

import msgspec
from pglast import ast, parse_sql
from pglast.parser import ParseError, parse_sql_protobuf


class SyntaxProblem(Exception):  # noqa: N818  # the statement's, not the program's
    """The text does not parse: the parser's own message; `position` in characters from 1, 0 where it tells none."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class Parsed(msgspec.Struct, frozen=True):
    """One statement: its tree, and where its text lies in the whole, in characters."""

    tree: Any
    text: str


def parse(text: str) -> list[Parsed]:
    """The statements of a text. Raises SyntaxProblem."""
    if "\0" in text:
        raise SyntaxProblem("invalid byte sequence: 0x00")
    try:
        parse_sql_protobuf(text)
        statements: tuple[ast.RawStmt, ...] = parse_sql(text)
    except ParseError as error:
        message = str(error.args[0])
        location = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else None
        raise SyntaxProblem(message, 0 if location is None else location + 1) from error
    except RecursionError as error:
        raise SyntaxProblem("statement is nested too deeply") from error
    return [Parsed(statement.stmt, _slice(text, statement)) for statement in statements]


def _slice(text: str, statement: ast.RawStmt) -> str:
    """The statement's own text: pglast gives character offsets; a length of 0 means to the end."""
    start = statement.stmt_location or 0
    length = statement.stmt_len or 0
    return text[start : start + length] if length else text[start:]
