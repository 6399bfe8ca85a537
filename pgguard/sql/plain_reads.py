"""What a text calls by name, where it plainly reads: told by the text alone, for those who have it from a stranger."""

from collections.abc import Iterator
from typing import Any

from pglast import ast

from pgguard.sql.parse import SyntaxProblem, parse

_WRITES = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt, ast.IntoClause, ast.LockingClause)


def calls_of_read(text: str) -> frozenset[tuple[str, str]] | None:
    """Schema and name of each function that a SELECT or SHOW calls, "" where none is written.

    None where the text is anything else: another statement, several, or a SELECT that writes or locks.
    """
    try:
        parsed = parse(text)
    except SyntaxProblem:
        return None
    if len(parsed) != 1 or not isinstance(parsed[0].tree, ast.SelectStmt | ast.VariableShowStmt):
        return None
    calls = set()
    for node in _nodes(parsed[0].tree):
        if isinstance(node, _WRITES):
            return None
        if isinstance(node, ast.FuncCall):
            names = [part.sval for part in node.funcname or ()]
            calls.add((names[-2] if len(names) > 1 else "", names[-1]))
    return frozenset(calls)


def _nodes(tree: Any) -> Iterator[ast.Node]:
    """All nodes of a tree, however deep."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Node):
            yield one
            waiting += [getattr(one, name) for name in one]
        elif isinstance(one, tuple):
            waiting += one
