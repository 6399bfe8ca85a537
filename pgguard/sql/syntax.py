"""Where the parser's grammar (PostgreSQL 18) knows syntax of its own for what an older server takes for a plain call.

There `json_array(1, 2)` is a function of that name in the search_path, if anybody has made one.
"""

from typing import Any

from pglast import ast
from pglast.enums import JsonExprOp

_SINCE: dict[type, tuple[int, str]] = {
    ast.JsonArrayConstructor: (16, "json_array"),
    ast.JsonObjectConstructor: (16, "json_object"),
    ast.JsonArrayAgg: (16, "json_arrayagg"),
    ast.JsonParseExpr: (17, "json"),
    ast.JsonScalarExpr: (17, "json_scalar"),
    ast.JsonSerializeExpr: (17, "json_serialize"),
    ast.MergeSupportFunc: (17, "merge_action"),
}
"""Node classes by the version that brought their syntax. The other ones cannot be written as a call."""

_JSON_FUNCTIONS: dict[object, str] = {
    JsonExprOp.JSON_EXISTS_OP: "json_exists",
    JsonExprOp.JSON_QUERY_OP: "json_query",
    JsonExprOp.JSON_VALUE_OP: "json_value",
}


def once_a_call(node: Any, version: int) -> str | None:
    """The function that a server of this major version calls in the place of such a node; None where it knows it."""
    if isinstance(node, ast.FuncCall):  # json_object(a, b) is written so that it can only be pg_catalog's
        names = [part.sval for part in node.funcname or ()]
        return "json_object" if version < 16 and names == ["pg_catalog", "json_object"] else None
    if isinstance(node, ast.JsonFuncExpr):
        return _JSON_FUNCTIONS.get(node.op) if version < 17 else None
    since, name = _SINCE.get(type(node), (0, ""))
    return name if version < since else None
