"""The skeleton of a text: what is left when the constants that cannot matter to its facts are replaced by marks.

Theory of operation. Clients that write their values into the text never send the same text twice. The skeleton is the
text itself, with each plain constant token replaced by a mark of its kind; nothing else is touched. pglast's
`normalize` is not used: it makes `1`, `'1'` and `$1` the same, and these pick different functions.
# INVARIANT: two texts of one skeleton have trees that differ in the values of A_Const nodes alone, and these values
have the same type. Facts may be shared between them where the analysis never read such a value (`Script.shareable`).
Kept as written is therefore: what is typed by its value (an integer beyond int4, bit strings), what the grammar reads
as a bare number (`float(24)`, `int[3]`, `current_time(3)`: after a bracket or the parenthesis behind a word), and every
constant where UESCAPE may turn one into a part of an identifier.
"""

import re

from pglast.parser import ParseError, scan

_INTEGER = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"[0-9]*\.[0-9]+|[0-9]+\.[0-9]*")
_LISTS = frozenset({"IN_P", "VALUES", "WHERE", "AND", "OR", "ON", "SELECT", "ASCII_40", "ASCII_44", "ASCII_61"})
"""Tokens behind which a parenthesis opens a list or an expression, never the modifier of a type."""

_COMMENTS = frozenset({"SQL_COMMENT", "C_COMMENT"})
_LOOKED_AT = _COMMENTS | {"SCONST", "ICONST", "FCONST", "UESCAPE"}

_MAY_BE_CONSTANT = re.compile(r"""['$.0-9](?:(?<=')|(?<=\$)\w*\$|(?<=\.)[0-9]|(?<=[0-9])(?<![\w$].))""")
"""What a text has in it that has a constant: a quote, two dollars, a number. To cut it into tokens takes many times as
long as to look; the set of characters that comes first lets the search pass over all others at once.
"""


def skeleton(text: str) -> str | None:
    """The skeleton of a text; None where it holds nothing to replace, or cannot be cut into tokens."""
    if "\0" in text or _MAY_BE_CONSTANT.search(text) is None:  # a NUL is the marks' own character
        return None
    try:
        tokens = scan(text)
    except ParseError:
        return None
    parts, at, before, last = [], 0, "", ""
    for start, end, name, _ in tokens:
        if name in _LOOKED_AT:  # few are, and the loop is run for each token of each text
            if name == "UESCAPE":
                return None
            if name in _COMMENTS:
                continue
            bare = last == "ASCII_91" or (last == "ASCII_40" and before not in _LISTS)
            mark = _mark(name, text[start : end + 1], bare=bare)
            if mark is not None:
                parts += [text[at:start], mark]
                at = end + 1
        before, last = last, name
    return "".join([*parts, text[at:]]) if parts else None


def _mark(name: str, written: str, *, bare: bool) -> str | None:
    match name:
        case "SCONST":
            return "\0s"
        case "ICONST" if not bare and _INTEGER.fullmatch(written):
            return "\0i"
        case "FCONST" if _DECIMAL.fullmatch(written):
            return "\0d"
        case _:
            return None
