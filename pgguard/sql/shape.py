"""The shape of a statement: what is left of it without constants, case, spacing, comments and qualification of names.

Made by printing the tree back to SQL, constants replaced by a mark and schemas left out. Equal shapes are the same
statement in the sense of the rule language's `shape`.
"""

import hashlib
from typing import Any

from pglast import ast

from pgguard.sql.parse import SyntaxProblem, parse


def shape_of(tree: Any) -> str:
    """The shape of one statement's tree."""
    return _print(tree)


def shape_of_text(text: str) -> str | None:
    """The shape of a text that is exactly one statement; None where it is not."""
    try:
        parsed = parse(text)
    except SyntaxProblem:
        return None
    return shape_of(parsed[0].tree) if len(parsed) == 1 else None


_PLACES = frozenset(
    {
        "location", "name_location", "arg_location", "conninfo_location", "payload_location", "stmt_location",
        "stmt_len", "rexpr_list_start", "rexpr_list_end", "list_start", "list_end",
    }
)  # fmt: skip
"""Where in the text a node stands: a longer constant before it moves it."""

_CONSTANTS = frozenset({
    "conninfo", "payload", "comment", "label", "filename", "gid", "servertype", "version", "vals", "newVal", "oldVal",
    "newValNeighbor", "for_encoding_name", "to_encoding_name",
})  # fmt: skip
"""What utility statements hold as it is, where a query would hold a constant."""

_VALUES = (ast.A_Const, ast.ParamRef, ast.Integer, ast.Float, ast.BitString)

_NAMING = frozenset({"language", "volatility", "parallel", "owner", "template", "tablespace", "schema", "format"})
"""Options whose values are names or words of the grammar; any other text is a constant."""

_SWITCHES = frozenset({"true", "false", "on", "off"})
"""What turns an option on and off: EXPLAIN (ANALYZE FALSE) is another statement than EXPLAIN (ANALYZE)."""

_FETCH_ALL = (1 << 63) - 1

_FOREIGN = (
    ast.CreateFdwStmt, ast.AlterFdwStmt, ast.CreateForeignServerStmt, ast.AlterForeignServerStmt,
    ast.CreateUserMappingStmt, ast.AlterUserMappingStmt, ast.CreateForeignTableStmt, ast.ImportForeignSchemaStmt,
)  # fmt: skip
"""Statements whose options are values for somebody else, passwords among them."""

_IGNORED = _PLACES | {"schemaname", "catalogname"}
_ATTRIBUTES: dict[type, tuple[str, ...]] = {
    kind: tuple(attribute for attribute in kind.__slots__ if attribute not in _IGNORED)  # type: ignore[attr-defined]
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.Node)
}
"""Of each class of nodes, what a shape shows."""


def _print(node: Any) -> str:
    """A canonical text of a tree: class names and what they hold, in order.

    # INVARIANT: no constant is in it, and so no password: the audit records shapes whatever it leaves out of texts.
    """
    if not isinstance(node, ast.Node):
        return f"[{' '.join([_print(item) for item in node])}]" if isinstance(node, (tuple, list)) else repr(node)
    if isinstance(node, _VALUES):
        return "?"
    if isinstance(node, ast.ColumnRef):
        last = (node.fields or ())[-1]
        return f"({_print(last)})"
    if isinstance(node, ast.FuncCall):
        name = _print((node.funcname or ())[-1:])
        rest = (node.args, node.agg_order, node.agg_filter, node.over, node.agg_star, node.agg_distinct)
        return f"(call {name} {' '.join([_print(part) for part in rest])})"
    held = [(a, getattr(node, a)) for a in _ATTRIBUTES[type(node)]]
    inside = " ".join([f"{a}={_held(node, a, v)}" for a, v in held if v is not None and v is not False])
    return f"({type(node).__name__} {inside})"


def _held(node: ast.Node, attribute: str, value: Any) -> str:
    """What a node holds in one of its attributes, constants replaced."""
    if attribute in _CONSTANTS or (attribute == "args" and isinstance(node, ast.CreateTrigStmt)):
        return "?"
    if attribute == "howMany":
        return "all" if value == _FETCH_ALL else "?"
    if isinstance(node, ast.DefElem) and attribute == "arg":
        return _option(node.defname or "", value)
    if attribute == "options" and isinstance(node, _FOREIGN):
        return " ".join(f"{option.defname}=?" for option in value)
    return _print(value)


def _option(name: str, value: Any) -> str:
    """The value of an option."""
    if name == "as":
        # the body of a DO block or function: it is what the statement is, and may hold anything
        return hashlib.sha256(_print(value).encode()).hexdigest()
    text = value.sval or "" if isinstance(value, ast.String) else None
    constant = text is not None and name not in _NAMING and text.lower() not in _SWITCHES
    return "?" if constant or name in {"password", "tag"} else _print(value)
