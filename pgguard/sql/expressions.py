"""Expressions: every column they read, every function they call, every query inside them.

Theory of operation. Node classes fall into three sets: those with a meaning of their own have a function in _HANDLERS;
_TRANSPARENT ones only hold others; _LEAVES hold nothing. A class in none of them is Opaque: nothing is passed over.
"""

from collections.abc import Callable
from typing import Any

from pglast import ast
from pglast.enums import A_Expr_Kind

from pgguard.model.control import FetchCursor
from pgguard.model.sqlstate import SqlState
from pgguard.sql import functions
from pgguard.sql.environment import Opaque, Unresolved
from pgguard.sql.level import Level
from pgguard.sql.scope import Item, RelationItem

_TRANSPARENT = (
    ast.A_ArrayExpr, ast.A_Indices, ast.BoolExpr, ast.BooleanTest, ast.CaseExpr, ast.CaseWhen, ast.CoalesceExpr,
    ast.CollateClause, ast.GroupingFunc, ast.GroupingSet, ast.JsonAggConstructor, ast.JsonArgument, ast.JsonArrayAgg,
    ast.JsonArrayConstructor, ast.JsonBehavior, ast.JsonFuncExpr, ast.JsonIsPredicate,
    ast.JsonKeyValue, ast.JsonObjectAgg, ast.JsonObjectConstructor, ast.JsonOutput, ast.JsonParseExpr,
    ast.JsonReturning, ast.JsonScalarExpr, ast.JsonSerializeExpr, ast.JsonTablePathSpec, ast.JsonValueExpr,
    ast.MinMaxExpr, ast.MultiAssignRef, ast.NamedArgExpr, ast.NullTest, ast.ResTarget, ast.RowExpr, ast.SortBy,
    ast.WindowDef, ast.XmlExpr, ast.XmlSerialize,
)  # fmt: skip

_LEAVES = (
    ast.A_Const, ast.A_Star, ast.BitString, ast.Boolean, ast.Float, ast.Integer, ast.JsonFormat, ast.MergeSupportFunc,
    ast.ParamRef, ast.SetToDefault, ast.SQLValueFunction, ast.String, ast.TypeName,
)  # fmt: skip


def walk(node: Any, level: Level) -> None:
    """Walk an expression, a list of them, or nothing."""
    if node is None or isinstance(node, (str, int, float, bool)):
        return
    if isinstance(node, (tuple, list)):
        for item in node:
            walk(item, level)
        return
    handler = _HANDLERS.get(type(node))
    if handler is not None:
        handler(node, level)
    elif isinstance(node, _TRANSPARENT):
        walk_inside(node, level)
    elif not isinstance(node, _LEAVES):
        raise Opaque(f"an expression of kind {type(node).__name__} is not understood")


def walk_inside(node: Any, level: Level) -> None:
    """Walk everything a node holds."""
    for attribute in type(node).__slots__:
        value = getattr(node, attribute)
        if isinstance(value, (ast.Node, tuple)):
            walk(value, level)


def _column_ref(node: ast.ColumnRef, level: Level) -> None:
    fields: list[Any] = list(node.fields or ())
    if isinstance(fields[-1], ast.A_Star):
        _star(functions.names_of(fields[:-1]), node, level)
        return
    names = functions.names_of(fields)
    if len(names) == 1:
        _bare_name(names[0], node, level)
        return
    item = level.scope.alias(names[-2], names[-3] if len(names) > 2 else None)
    if item is None:
        raise _no_item(names[:-1], node)
    if item.has(names[-1]):
        item.read(names[-1])
    else:
        _field_or_function(item, names, node, level)


def _bare_name(name: str, node: ast.ColumnRef, level: Level) -> None:
    if level.scope.column(name, node.location):
        return
    item = level.scope.alias(name)
    if item is None:
        raise Unresolved(SqlState.UNDEFINED_COLUMN, f'column "{name}" does not exist', node.location)
    item.read_all()  # the whole row


def _field_or_function(item: Item, names: list[str], node: ast.ColumnRef, level: Level) -> None:
    """`t.f` where t has no column f: a function of the row, if there is one (PostgreSQL docs, section 8.16.5)."""
    found = functions.find_functions(level.env, [names[-1]], 1)
    if not found:
        raise Unresolved(SqlState.UNDEFINED_COLUMN, f"column {'.'.join(names)} does not exist", node.location)
    item.read_all()
    for function in found:
        functions.report(level.env, function, ())


def _star(names: list[str], node: ast.ColumnRef, level: Level) -> None:
    if not names:
        level.scope.read_all()
        return
    item = level.scope.alias(names[-1], names[-2] if len(names) > 1 else None)
    if item is None:
        raise _no_item(names, node)
    item.read_all()


def _no_item(names: list[str], node: ast.ColumnRef) -> Unresolved:
    return Unresolved(SqlState.UNDEFINED_TABLE, f'missing FROM-clause entry for table "{names[-1]}"', node.location)


def _func_call(node: ast.FuncCall, level: Level) -> None:
    arguments = tuple(node.args or ())
    walk((arguments, node.agg_order, node.agg_filter, node.over), level)
    given = arguments
    if node.agg_within_group:
        given += tuple(node.agg_order or ())
    functions.call(level.env, functions.names_of(node.funcname), given, node.location)


def _a_expr(node: ast.A_Expr, level: Level) -> None:
    walk((node.lexpr, node.rexpr), level)
    if node.kind not in {A_Expr_Kind.AEXPR_BETWEEN, A_Expr_Kind.AEXPR_NOT_BETWEEN}:
        functions.operator(level.env, functions.names_of(node.name))
        return
    for name in (">=", "<=", "<", ">"):
        functions.operator(level.env, [name])


def _sub_link(node: ast.SubLink, level: Level) -> None:
    walk(node.testexpr, level)
    if node.operName:
        functions.operator(level.env, functions.names_of(node.operName))
    level.query(node.subselect, level.inner(level.scope))


def _type_cast(node: ast.TypeCast, level: Level) -> None:
    walk(node.arg, level)
    functions.cast(level.env, node.typeName)


def _indirection(node: ast.A_Indirection, level: Level) -> None:
    """`(x).field`, `x[1]`, `(x).*`. A field of a whole row may be a function too."""
    walk(node.arg, level)
    for step in node.indirection or ():
        if isinstance(step, ast.String):
            for function in functions.find_functions(level.env, [step.sval or ""], 1):
                if isinstance(node.arg, (ast.ColumnRef, ast.RowExpr)) and function.schema != "pg_catalog":
                    functions.report(level.env, function, ())
        else:
            walk(step, level)


def _current_of(node: ast.CurrentOfExpr, level: Level) -> None:
    """WHERE CURRENT OF reads through a cursor."""
    level.env.control = FetchCursor(node.cursor_name or "")


_HANDLERS: dict[type, Callable[[Any, Level], None]] = {
    ast.ColumnRef: _column_ref,
    ast.FuncCall: _func_call,
    ast.A_Expr: _a_expr,
    ast.SubLink: _sub_link,
    ast.TypeCast: _type_cast,
    ast.A_Indirection: _indirection,
    ast.CurrentOfExpr: _current_of,
}


def equal_columns(where: Any, level: Level) -> dict[Item, set[str]]:
    """For each relation, the columns that the WHERE's top-level AND compares with a constant or parameter by `=`."""
    found: dict[Item, set[str]] = {}
    for term in _terms(where):
        if not isinstance(term, ast.A_Expr) or term.kind != A_Expr_Kind.AEXPR_OP:
            continue
        if functions.names_of(term.name) != ["="]:
            continue
        for side, other in ((term.lexpr, term.rexpr), (term.rexpr, term.lexpr)):
            if isinstance(side, ast.ColumnRef) and _is_constant(other):
                item, column = _relation_column(side, level)
                if item is not None:
                    found.setdefault(item, set()).add(column)
    return found


def _terms(node: Any) -> list[Any]:
    if isinstance(node, ast.BoolExpr) and node.boolop == 0:  # AND_EXPR
        return [term for arg in node.args or () for term in _terms(arg)]
    return [] if node is None else [node]


def _is_constant(node: Any) -> bool:
    if isinstance(node, ast.TypeCast):
        return _is_constant(node.arg)
    return isinstance(node, (ast.A_Const, ast.ParamRef)) and not getattr(node, "isnull", False)


def _relation_column(node: ast.ColumnRef, level: Level) -> tuple[RelationItem | None, str]:
    names = [field.sval for field in node.fields or () if isinstance(field, ast.String)]
    if len(names) != len(node.fields or ()) or not names:
        return None, ""
    column = names[-1] or ""
    if len(names) > 1:
        item = level.scope.alias(names[-2] or "")
    else:
        item = next((i for i in level.scope.relations if i.shows(column)), None)
    if isinstance(item, RelationItem) and item in level.scope.relations and item.has(column):
        return item, item.real(column)
    return None, ""


def output_name(node: Any) -> str:
    """The name of an output column without an alias (PostgreSQL source, FigureColname)."""
    match node:
        case ast.ColumnRef():
            names = [field.sval for field in node.fields or () if isinstance(field, ast.String)]
            return names[-1] or "?column?" if names else "?column?"
        case ast.A_Indirection():
            names = [step.sval for step in node.indirection or () if isinstance(step, ast.String)]
            return names[-1] or "?column?" if names else output_name(node.arg)
        case ast.FuncCall():
            return functions.names_of(node.funcname)[-1]
        case ast.TypeCast():
            inner = output_name(node.arg)
            return (
                inner if inner != "?column?" else functions.names_of(node.typeName.names if node.typeName else ())[-1]
            )
        case ast.CollateClause():
            return output_name(node.arg)
        case ast.SubLink():
            return _sub_link_name(node)
        case ast.CaseExpr():
            inner = output_name(node.defresult)
            return inner if inner != "?column?" else "case"
        case _:
            return _FIXED_NAMES.get(type(node), "?column?")


def _sub_link_name(node: ast.SubLink) -> str:
    if node.subLinkType == 0:  # EXISTS_SUBLINK
        return "exists"
    if node.subLinkType == 6:  # ARRAY_SUBLINK
        return "array"
    select: Any = node.subselect
    while getattr(select, "larg", None) is not None:
        select = select.larg
    targets = getattr(select, "targetList", None)
    if node.subLinkType == 4 and targets:  # EXPR_SUBLINK
        return targets[0].name or output_name(targets[0].val)
    return "?column?"


_FIXED_NAMES: dict[type, str] = {
    ast.A_ArrayExpr: "array", ast.CoalesceExpr: "coalesce", ast.RowExpr: "row", ast.GroupingFunc: "grouping",
    ast.XmlSerialize: "xmlserialize", ast.JsonParseExpr: "json", ast.JsonScalarExpr: "json_scalar",
    ast.JsonSerializeExpr: "json_serialize", ast.JsonObjectConstructor: "json_object",
    ast.JsonArrayConstructor: "json_array", ast.JsonObjectAgg: "json_objectagg", ast.JsonArrayAgg: "json_arrayagg",
    ast.MergeSupportFunc: "merge_action",
}  # fmt: skip
