"""Slices of a statement's text: the query inside PREPARE and DECLARE, exactly as it was written."""

from pglast.parser import scan

from pgguard.sql.environment import Opaque


def text_after(text: str, keyword: str) -> str:
    """What follows the first `keyword` outside parentheses. Raises Opaque where there is none."""
    data = text.encode()
    depth = 0
    for token in scan(text):
        word = data[token.start : token.end + 1]
        if word == b"(":
            depth += 1
        elif word == b")":
            depth -= 1
        elif depth == 0 and word.upper() == keyword.encode():
            return data[token.end + 1 :].decode().strip()
    raise Opaque(f"no {keyword} in the statement")
