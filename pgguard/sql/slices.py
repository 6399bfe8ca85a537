"""Slices of a statement's text: the query inside PREPARE and DECLARE, exactly as it was written."""

from pglast.parser import scan

from pgguard.sql.environment import Opaque


def text_after(text: str, keyword: str) -> str:
    """What follows the first `keyword` outside parentheses. Raises Opaque where there is none.

    pglast gives the places of tokens in characters, not bytes.
    """
    depth = 0
    for token in scan(text):
        word = text[token.start : token.end + 1]
        if word == "(":
            depth += 1
        elif word == ")":
            depth -= 1
        elif depth == 0 and word.upper() == keyword:
            return text[token.end + 1 :].strip()
    raise Opaque(f"no {keyword} in the statement")
