"""Slices of a statement's text: the query inside PREPARE, DECLARE and COPY, exactly as it was written."""

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


def copied_query(text: str) -> str | None:
    """The query of `COPY (query) TO …`; None where it is a table that is copied."""
    tokens = [(token, text[token.start : token.end + 1]) for token in scan(text) if "COMMENT" not in token.name]
    if len(tokens) < 2 or tokens[1][1] != "(":
        return None
    depth = 0
    for token, word in tokens:
        depth += (word == "(") - (word == ")")
        if word == ")" and depth == 0:
            return text[tokens[1][0].end + 1 : token.start].strip()
    return None
