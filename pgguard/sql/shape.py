"""The shape of a statement: what is left of it without constants, case, spacing, comments and qualification of names.

Made by printing the tree back to SQL, constants replaced by a mark and schemas left out. Equal shapes are the same
statement in the sense of the rule language's `shape`.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from pglast import ast, enums

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


def _print(node: Any) -> str:
    """A canonical text of a tree: class names and what they hold, in order.

    # INVARIANT: no constant is in it, and so no password: the audit records shapes whatever it leaves out of texts.
    """
    write = _WRITERS.get(type(node))
    return repr(node) if write is None else write(node)


def _print_list(nodes: Sequence[Any]) -> str:
    return f"[{' '.join([_print(node) for node in nodes])}]"


def _print_value(_: Any) -> str:
    return "?"


def _print_column(node: ast.ColumnRef) -> str:
    return f"({_print((node.fields or ())[-1])})"


def _print_call(node: ast.FuncCall) -> str:
    name = _print((node.funcname or ())[-1:])
    rest = (node.args, node.agg_order, node.agg_filter, node.over, node.agg_star, node.agg_distinct)
    return f"(call {name} {' '.join([_print(part) for part in rest])})"


def _print_node(node: ast.Node) -> str:
    return _with(node, _SHOWN[type(node)])


def _print_option(node: ast.DefElem) -> str:
    option = partial(_option, node.defname or "")
    return _with(node, [(a, mark, option if a == "arg" else write) for a, mark, write in _SHOWN[ast.DefElem]])


def _with(node: ast.Node, shown: Iterable["_Shown"]) -> str:
    inside = [
        mark + write(value)
        for attribute, mark, write in shown
        if (value := getattr(node, attribute)) is not None and value is not False
    ]
    return f"({type(node).__name__} {' '.join(inside)})"


def _how_many(value: int) -> str:
    return "all" if value == _FETCH_ALL else "?"


def _print_foreign(options: Sequence[ast.DefElem]) -> str:
    return " ".join([f"{option.defname}=?" for option in options])


def _option(name: str, value: Any) -> str:
    """The value of an option."""
    if name == "as":
        # the body of a DO block or function: it is what the statement is, and may hold anything
        return hashlib.sha256(_print(value).encode()).hexdigest()
    text = value.sval or "" if isinstance(value, ast.String) else None
    constant = text is not None and name not in _NAMING and text.lower() not in _SWITCHES
    return "?" if constant or name in {"password", "tag"} else _print(value)


# worked out once: statements of every text that is analysed are printed whole, most of what they hold being nothing

_Writer = Callable[[Any], str]
_Shown = tuple[str, str, _Writer]
"""An attribute, what stands before its value, and what writes that."""


def _writer(kind: type, attribute: str) -> _Writer:
    """What writes the value of an attribute, constants replaced."""
    if attribute in _CONSTANTS or (kind is ast.CreateTrigStmt and attribute == "args"):
        return _print_value
    if attribute == "howMany":
        return _how_many
    if attribute == "options" and kind in _FOREIGN:
        return _print_foreign
    held = kind.__slots__[attribute].c_type  # type: ignore[attr-defined]
    enum = getattr(enums, held, None)
    if enum is not None:
        return {member: repr(member) for member in enum}.__getitem__
    return repr if held in {"bool", "char", "char*"} else _print


_NODES = [
    kind
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.Node) and kind not in {ast.Node, ast.Expr}
]
_SHOWN: dict[type, tuple[_Shown, ...]] = {
    kind: tuple((a, f"{a}=", _writer(kind, a)) for a in kind.__slots__ if a not in _IGNORED)  # type: ignore[attr-defined]
    for kind in _NODES
}
"""Of each class of nodes, what a shape shows."""

_WRITERS: dict[type, _Writer] = {
    **dict.fromkeys(_NODES, _print_node),
    **dict.fromkeys(_VALUES, _print_value),
    tuple: _print_list,
    list: _print_list,
    ast.ColumnRef: _print_column,
    ast.FuncCall: _print_call,
    ast.DefElem: _print_option,
}
