"""Expressions: every column they read, every function they call, every query inside them.

Theory of operation. Node classes fall into three sets: those with a meaning of their own have a function in _HANDLERS;
_TRANSPARENT ones only hold others; _LEAVES hold nothing. A class in none of them is Opaque: nothing is passed over.
"""

from collections.abc import Callable
from itertools import zip_longest
from typing import Any, NamedTuple

from pglast import ast
from pglast.enums import A_Expr_Kind, SQLValueFunctionOp, SubLinkType, XmlExprOp

from pgguard.model.control import FetchCursor
from pgguard.model.sqlstate import SqlState
from pgguard.sql import functions, syntax, types
from pgguard.sql.catalog import Function
from pgguard.sql.environment import Opaque, Unresolved
from pgguard.sql.level import Level, settled
from pgguard.sql.overloads import Candidate
from pgguard.sql.scope import Item, RelationItem
from pgguard.sql.types import (
    ANYTHING,
    BIGINT,
    BIT,
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    JSON_INPUTS,
    NAME,
    NUMERIC,
    REAL,
    RECORD,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    TIMETZ,
    UNKNOWN,
    XML,
)  # fmt: skip

_PLAIN = A_Expr_Kind.AEXPR_OP  # a constant of its own: see session.expected.Awaits

_TRANSPARENT: dict[type, int] = {
    ast.CaseWhen: ANYTHING, ast.GroupingFunc: INTEGER, ast.GroupingSet: ANYTHING, ast.JsonReturning: ANYTHING,
    ast.JsonTablePathSpec: ANYTHING, ast.MultiAssignRef: ANYTHING, ast.NullTest: BOOLEAN, ast.ResTarget: ANYTHING,
    ast.WindowDef: ANYTHING,
}  # fmt: skip
"""Node classes that only hold others, with the type they give."""

_CONVERTING: dict[type, int] = {
    ast.JsonAggConstructor: ANYTHING, ast.JsonArgument: ANYTHING, ast.JsonArrayAgg: ANYTHING,
    ast.JsonArrayConstructor: ANYTHING, ast.JsonBehavior: ANYTHING, ast.JsonFuncExpr: ANYTHING,
    ast.JsonIsPredicate: BOOLEAN, ast.JsonKeyValue: ANYTHING, ast.JsonObjectAgg: ANYTHING,
    ast.JsonObjectConstructor: ANYTHING, ast.JsonParseExpr: ANYTHING, ast.JsonScalarExpr: ANYTHING,
    ast.JsonSerializeExpr: ANYTHING, ast.JsonValueExpr: ANYTHING,
}  # fmt: skip
"""Node classes that hold others and make text or JSON of them; a DEFAULT becomes of whatever type is returned."""

_LEAVES: dict[type, int] = {
    ast.A_Star: ANYTHING, ast.BitString: BIT, ast.Boolean: BOOLEAN, ast.Float: NUMERIC, ast.Integer: INTEGER,
    ast.JsonFormat: ANYTHING, ast.ParamRef: ANYTHING, ast.SetToDefault: UNKNOWN,
    ast.String: UNKNOWN, ast.TypeName: ANYTHING,
}  # fmt: skip
"""Node classes that hold nothing, with the type they give. A parameter's type is the client's to declare."""


def walk(node: Any, level: Level) -> int:
    """Walk an expression, a list of them, or nothing; the type of the expression."""
    handler = _HANDLERS.get(type(node))
    if handler is not None:
        level.env.budget.spend()
        return handler(node, level)
    if node is None or isinstance(node, (str, int, float, bool)):
        return ANYTHING
    level.env.budget.spend()
    if isinstance(node, (tuple, list)):
        for item in node:
            walk(item, level)
        return ANYTHING
    if type(node) in _TRANSPARENT:
        walk_inside(node, level)
        return _TRANSPARENT[type(node)]
    if type(node) in _CONVERTING:
        return _converting(node, level)
    if type(node) in _LEAVES:
        return _LEAVES[type(node)]
    raise Opaque(f"an expression of kind {type(node).__name__} is not understood")


def walk_inside(node: Any, level: Level) -> None:
    """Walk everything a node holds."""
    for attribute in type(node).__slots__:
        value = getattr(node, attribute)
        if isinstance(value, (ast.Node, tuple)):
            walk(value, level)


def _converting(node: Any, level: Level) -> int:
    if (name := syntax.once_a_call(node, level.env.catalog.snapshot.version)) is not None:
        functions.may_call(level.env, name, getattr(node, "location", None))
    for attribute in type(node).__slots__:
        value = getattr(node, attribute)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, ast.Node):
                type_ = walk(one, level)
                if type(one) not in _CONVERTING:
                    for wanted in (ANYTHING,) if isinstance(node, ast.JsonBehavior) else JSON_INPUTS:
                        functions.convert(level.env, type_, wanted, "e")
    return _CONVERTING[type(node)]


def _json_output(node: ast.JsonOutput, level: Level) -> int:
    """RETURNING converts to its type, as a cast does."""
    for type_ in JSON_INPUTS:
        functions.convert(level.env, type_, types.named(level.env, node.typeName), "e")
    return UNKNOWN


def _xml(node: ast.XmlExpr, level: Level) -> int:
    """XMLCONCAT and its like convert as an assignment does; which of them converts to what is left open."""
    walk(node.named_args, level)
    for type_ in _each(node.args, level):
        for wanted in (XML, TEXT, INTEGER, BOOLEAN):
            functions.convert(level.env, type_, wanted, "a")
    return ANYTHING


def _xml_serialize(node: ast.XmlSerialize, level: Level) -> int:
    functions.convert(level.env, walk(node.expr, level), XML, "a")
    functions.convert(level.env, XML, types.named(level.env, node.typeName), "e")
    return ANYTHING


def _merge_action(node: ast.MergeSupportFunc, level: Level) -> int:
    if (name := syntax.once_a_call(node, level.env.catalog.snapshot.version)) is not None:
        functions.may_call(level.env, name, node.location)
    return TEXT


def _each(nodes: Any, level: Level) -> list[int]:
    return [walk(node, level) for node in nodes or ()]


# names


def _column_ref(node: ast.ColumnRef, level: Level) -> int:
    fields: list[Any] = list(node.fields or ())
    if isinstance(fields[-1], ast.A_Star):
        return _star(functions.names_of(fields[:-1]), node, level)
    names = functions.names_of(fields)
    if len(names) == 1:
        return _bare_name(names[0], node, level)
    item = level.scope.alias(names[-2], names[-3] if len(names) > 2 else None)
    if item is None:
        raise _no_item(names[:-1], node)
    if not item.has(names[-1]):
        return _function_of_row(item, names, node, level)
    item.read(names[-1])
    if item.columns is None:  # it may be a function of the row as well
        for function in functions.row_functions(level.env, names[-1]):
            functions.report(level.env, function, ())
    return item.type_of(names[-1])


def _bare_name(name: str, node: ast.ColumnRef, level: Level) -> int:
    found = level.scope.column(name, node.location)
    if found is not None:
        level.env.hides(name, level.scope.behind(name))
    item = level.scope.alias(name) if not found else None
    if found is not None:
        if item is not None:  # it may be a column of what has unknown columns, or this whole row
            item.read_all()
        return found
    if item is None:
        raise Unresolved(SqlState.UNDEFINED_COLUMN, f'column "{name}" does not exist', node.location)
    return _whole_row(item, level)


def _whole_row(item: Item, level: Level) -> int:
    item.read_all()
    if item.row_type in {ANYTHING, RECORD}:
        level.env.row_fields |= {ANYTHING} if item.columns is None else {item.type_of(name) for name in item.columns}
    return item.row_type


def _function_of_row(item: Item, names: list[str], node: ast.ColumnRef, level: Level) -> int:
    """`t.f` where t has no column f: a function of the row, if there is one (PostgreSQL docs, section 8.16.5)."""
    called = functions.Call([names[-1]], (None,), (item.row_type,))
    if not functions.candidates(level.env, called):
        raise Unresolved(SqlState.UNDEFINED_COLUMN, f"column {'.'.join(names)} does not exist", node.location)
    item.read_all()
    found = functions.call(level.env, called)
    return functions.result_of(level.env, found, called.types)


def _star(names: list[str], node: ast.ColumnRef, level: Level) -> int:
    """`*`, or `t.*`, which is the whole row where it is an operand."""
    if not names:
        level.scope.read_all()
        return ANYTHING
    item = level.scope.alias(names[-1], names[-2] if len(names) > 1 else None)
    if item is None:
        raise _no_item(names, node)
    return _whole_row(item, level)


def _no_item(names: list[str], node: ast.ColumnRef) -> Unresolved:
    return Unresolved(SqlState.UNDEFINED_TABLE, f'missing FROM-clause entry for table "{names[-1]}"', node.location)


def _indirection(node: ast.A_Indirection, level: Level) -> int:
    """`(x).field`, `x[1]`, `(x).*`. A field that the row does not have is a function of it."""
    type_ = walk(node.arg, level)
    row = row_item(node.arg, level)
    for step in node.indirection or ():
        if isinstance(step, ast.String):
            name = step.sval or ""
            if row is not None and row.columns is not None and row.has(name):
                type_ = row.type_of(name)
            else:
                type_ = _field(type_, name, level)
            row = None
        elif isinstance(step, ast.A_Indices):
            walk(step, level)
            type_ = _subscripted(type_, step, level)
        else:
            walk(step, level)
    return type_


def row_item(node: Any, level: Level) -> Item | None:
    """The item whose whole row an expression is."""
    fields: Any = node.fields if isinstance(node, ast.ColumnRef) else ()
    if len(fields) == 2 and isinstance(fields[1], ast.A_Star):
        return level.scope.alias(fields[0].sval)
    if len(fields) != 1 or not isinstance(fields[0], ast.String):
        return None
    name = fields[0].sval or ""
    return level.scope.alias(name) if not any(i.shows(name) for i in level.scope.items) else None


def _field(type_: int, name: str, level: Level) -> int:
    catalog = level.env.catalog
    relation = types.row_of(catalog, type_)
    if relation is not None and name in relation.columns:
        return relation.type_of(name)
    called = functions.Call([name], (None,), (type_,))
    found = functions.candidates(level.env, called)
    if not found:
        return ANYTHING
    if type_ not in {ANYTHING, RECORD}:  # it has no such field: `('/x'::text).pg_read_file` is a call as any other
        return functions.result_of(level.env, functions.call(level.env, called), called.types)
    for candidate in found:
        if isinstance(candidate.target, Function) and types.converts(catalog, type_, candidate.types[0]):
            functions.report(level.env, candidate.target, ())
            functions.convert(level.env, type_, candidate.types[0], "i")
    return functions.result_of(level.env, found, called.types)


def _subscripted(type_: int, step: ast.A_Indices, level: Level) -> int:
    known = level.env.catalog.type_by_oid(types.base(level.env.catalog, type_))
    if known is None or not known.is_array:
        return type_ if type_ == types.JSONB else ANYTHING
    return type_ if step.is_slice else known.element


# calls


def _func_call(node: ast.FuncCall, level: Level) -> int:
    return function_call(node, level)[1]


def function_call(node: ast.FuncCall, level: Level) -> tuple[list[Candidate], int]:
    """A call: the functions it may be, and the type it gives."""
    if (name := syntax.once_a_call(node, level.env.catalog.snapshot.version)) is not None:
        functions.may_call(level.env, name, node.location)
    arguments: tuple[Any, ...] = tuple(node.args or ())
    if not node.agg_within_group:
        arguments = tuple(argument for argument in arguments if not _dropped(argument, level))
    given = _each(arguments, level)
    ordered = _each(node.agg_order, level)
    condition(node.agg_filter, level)
    walk(node.over, level)
    if node.agg_within_group:
        arguments += tuple(node.agg_order or ())
        given += ordered
    called = functions.Call(
        functions.names_of(node.funcname),
        arguments,
        given,
        variadic=bool(node.func_variadic),
        procedure=level.procedure,
        location=node.location,
    )
    projected = _projected(called, level)
    if projected is not None:
        return [], projected
    found = functions.call(level.env, called)
    level.env.mixes_void = level.env.mixes_void or any(types.VOID in candidate.types for candidate in found)
    if not found:
        return found, types.named_by(level.env, called.parts) or ANYTHING
    unsure = functions.may_be_other(level.env, called, found)
    return found, ANYTHING if unsure else functions.result_of(level.env, found, given)


def _dropped(argument: Any, level: Level) -> bool:
    """A parameter of type void is no argument: JDBC's OUT parameters (PostgreSQL source, ParseFuncOrColumn).

    # INVARIANT: a parameter is dropped here if and only if the database drops it: another function would be judged.
    """
    env = level.env
    if isinstance(argument, ast.ParamRef):
        env.passed.add(argument.number or 0)
        return argument.number in env.voids
    return _made_void(argument, level) is not None


def _made_void(node: Any, level: Level) -> int | None:
    """The parameter that `$1::void` is."""
    if not isinstance(node, ast.TypeCast) or types.named(level.env, node.typeName) != types.VOID:
        return None
    if not isinstance(node.arg, ast.ParamRef):
        return _made_void(node.arg, level)
    level.env.made_void.add(node.arg.number or 0)
    return node.arg.number


def _projected(called: functions.Call, level: Level) -> int | None:
    """`f(t)` is `t.f` where there is no function f for it (PostgreSQL docs, section 8.16.5); the type of the column."""
    if len(called.parts) > 1 or len(called.types) != 1 or functions.candidates(level.env, called):
        return None
    (name,) = called.parts
    row = row_item(called.arguments[0], level)  # of a temporary relation or subquery the type says nothing
    if row is not None and row.columns is not None and row.has(name):
        return row.type_of(name)
    relation = types.row_of(level.env.catalog, called.types[0])
    return relation.type_of(name) if relation is not None and name in relation.columns else None


def _sort_by(node: ast.SortBy, level: Level) -> int:
    type_ = walk(node.node, level)
    if node.useOp:
        functions.operator(level.env, functions.names_of(node.useOp), type_, type_)
    return type_


class _Operand(NamedTuple):
    """An operand that was walked: its type, and the types of its fields where they are compared one by one."""

    type: int
    fields: tuple[int, ...] | None = None


def _a_expr(node: ast.A_Expr, level: Level) -> int:
    return _OPERATIONS.get(node.kind, _operation)(node, level)


def _operation(node: ast.A_Expr, level: Level) -> int:
    name = functions.names_of(node.name)
    if node.lexpr is None:
        return functions.operator(level.env, name, walk(node.rexpr, level))
    operand = _operand(node.lexpr, level)
    return _compare(name, operand, _operand(node.rexpr, level, beside=operand), level)


def _with_each(node: ast.A_Expr, level: Level) -> int:
    """`x = ANY (array)` and `x = ALL (array)`."""
    left_type, right_type = walk(node.lexpr, level), walk(node.rexpr, level)
    element = types.element(level.env.catalog, right_type)
    functions.operator(level.env, functions.names_of(node.name), left_type, element)
    return BOOLEAN


def _null_if(node: ast.A_Expr, level: Level) -> int:
    name = functions.names_of(node.name)
    left, right = _operand(node.lexpr, level), _operand(node.rexpr, level)
    _compare(name, left, right, level)
    return functions.left_as(level.env, name, left.type, right.type)


def _distinct(node: ast.A_Expr, level: Level) -> int:
    _compare(functions.names_of(node.name), _operand(node.lexpr, level), _operand(node.rexpr, level), level)
    return BOOLEAN


def _operand(node: Any, level: Level, beside: _Operand | None = None) -> _Operand:
    """Walk an operand, once: what holds it may mention it more often than that.

    `beside` a row that is written out, a subquery gives its columns (PostgreSQL docs, section 9.25.5).
    """
    if isinstance(node, ast.RowExpr):
        return _Operand(RECORD, _row_fields(node, level))
    fields = beside.fields if beside is not None else None
    if fields is not None and isinstance(node, ast.SubLink) and node.subLinkType == SubLinkType.EXPR_SUBLINK:
        columns = settled(level.query(node.subselect, level.inner(level.scope)))
        return _Operand(RECORD, (ANYTHING,) * len(fields) if columns is None else tuple(c.type for c in columns))
    return _Operand(walk(node, level))


def _compare(name: list[str], left: _Operand, right: _Operand, level: Level) -> int:
    """An operator over two operands; over rows that are written out, over each pair of their fields."""
    if left.fields is None or right.fields is None:
        return functions.operator(level.env, name, left.type, right.type)
    for one, other in zip(left.fields, right.fields, strict=False):
        functions.operator(level.env, name, one, other)
    return BOOLEAN


def _in(node: ast.A_Expr, level: Level) -> int:
    """`x IN (…)` compares with each item, or with all of them as an array of their common type."""
    name = functions.names_of(node.name)
    left = _operand(node.lexpr, level)
    items = node.rexpr if isinstance(node.rexpr, tuple) else (node.rexpr,)
    rights = [_operand(item, level) for item in items]
    for right in dict.fromkeys(rights):
        truth(_compare(name, left, right, level), level)
    if left.fields is None and len(rights) > 1:
        together = functions.together(level.env, [left.type, *(right.type for right in rights)])
        for type_ in {left.type, together}:  # of which items they are an array hangs on where columns stand in them
            functions.operator(level.env, name, left.type, type_)
    return BOOLEAN


def _between(node: ast.A_Expr, level: Level) -> int:
    """BETWEEN is two comparisons; BETWEEN SYMMETRIC tries the bounds both ways round."""
    lower, upper = node.rexpr  # type: ignore[misc]  # the grammar gives two
    value, lower, upper = _operand(node.lexpr, level), _operand(lower, level), _operand(upper, level)
    symmetric = node.kind in {A_Expr_Kind.AEXPR_BETWEEN_SYM, A_Expr_Kind.AEXPR_NOT_BETWEEN_SYM}
    negated = node.kind in {A_Expr_Kind.AEXPR_NOT_BETWEEN, A_Expr_Kind.AEXPR_NOT_BETWEEN_SYM}
    above, below = ("<", ">") if negated else (">=", "<=")
    for first, last in ((lower, upper), (upper, lower)) if symmetric else ((lower, upper),):
        truth(_compare([above], value, first, level), level)
        truth(_compare([below], value, last, level), level)
    return BOOLEAN


_OPERATIONS: dict[object, Callable[[Any, Level], int]] = {
    A_Expr_Kind.AEXPR_IN: _in,
    A_Expr_Kind.AEXPR_OP_ANY: _with_each,
    A_Expr_Kind.AEXPR_OP_ALL: _with_each,
    A_Expr_Kind.AEXPR_BETWEEN: _between,
    A_Expr_Kind.AEXPR_NOT_BETWEEN: _between,
    A_Expr_Kind.AEXPR_BETWEEN_SYM: _between,
    A_Expr_Kind.AEXPR_NOT_BETWEEN_SYM: _between,
    A_Expr_Kind.AEXPR_NULLIF: _null_if,
    A_Expr_Kind.AEXPR_DISTINCT: _distinct,
    A_Expr_Kind.AEXPR_NOT_DISTINCT: _distinct,
}
"""Kinds that are more than their operator over their operands."""


def _sub_link(node: ast.SubLink, level: Level) -> int:
    catalog = level.env.catalog
    row = node.testexpr
    lefts = _row_fields(row, level) if isinstance(row, ast.RowExpr) else (walk(row, level),)
    columns = settled(level.query(node.subselect, level.inner(level.scope)))
    first = columns[0].type if columns else ANYTHING
    if node.subLinkType in {SubLinkType.ANY_SUBLINK, SubLinkType.ALL_SUBLINK}:
        rights = [c.type for c in columns] if columns is not None else [ANYTHING] * len(lefts)
        for left, right in zip(lefts, rights, strict=False):
            functions.operator(level.env, functions.names_of(node.operName) or ["="], left, right)
        return BOOLEAN
    if columns:
        level.env.subquery_names[id(node)] = columns[0].name
    if node.subLinkType == SubLinkType.ARRAY_SUBLINK:
        return types.array_of(catalog, first)
    return first if node.subLinkType == SubLinkType.EXPR_SUBLINK else BOOLEAN


def _row(node: ast.RowExpr, level: Level) -> int:
    _row_fields(node, level)
    return RECORD


def _row_fields(node: ast.RowExpr, level: Level) -> tuple[int, ...]:
    found = tuple(_each(node.args, level))
    level.env.row_fields |= set(found)
    return found


def _type_cast(node: ast.TypeCast, level: Level) -> int:
    target = types.named(level.env, node.typeName)
    if target == types.VOID:
        _made_void(node, level)
    if isinstance(node.arg, ast.RowExpr):
        _row_cast(node.arg, target, level)
    else:
        functions.convert(level.env, walk(node.arg, level), target, "e")
    return target


def _row_cast(row: ast.RowExpr, target: int, level: Level) -> None:
    """ROW(…)::type converts each field to that of the type."""
    relation = types.row_of(level.env.catalog, target)
    fields = relation.types if relation is not None else ()
    for argument, field in zip_longest(row.args or (), fields, fillvalue=ANYTHING):
        if isinstance(argument, ast.RowExpr):
            _row_cast(argument, field, level)
        elif isinstance(argument, ast.Node):
            functions.convert(level.env, walk(argument, level), field, "e")


# what gives one of several


def _case(node: ast.CaseExpr, level: Level) -> int:
    subject = walk(node.arg, level) if node.arg is not None else None
    results = [UNKNOWN if node.defresult is None else walk(node.defresult, level)]  # without ELSE it is a NULL
    for when in node.args or ():
        if subject is None:
            condition(when.expr, level)
        else:
            subject = TEXT if subject == UNKNOWN else subject
            truth(functions.operator(level.env, ["="], subject, walk(when.expr, level)), level)
        results.append(walk(when.result, level))
    return functions.together(level.env, results)


def _common(node: Any, level: Level) -> int:
    """COALESCE, GREATEST, LEAST."""
    return functions.together(level.env, _each(node.args, level))


def _array(node: ast.A_ArrayExpr, level: Level) -> int:
    common = functions.together(level.env, _each(node.elements, level))
    if any(isinstance(element, ast.A_ArrayExpr) for element in node.elements or ()):
        return common
    return types.array_of(level.env.catalog, common)


def condition(node: Any, level: Level) -> None:
    """What must be true or false."""
    if node is not None:
        truth(walk(node, level), level)


def truth(type_: int, level: Level) -> None:
    """A value of this type must be true or false: a users' cast may make it so, as in an assignment.

    Source: PostgreSQL source, coerce_to_boolean.
    """
    functions.convert(level.env, type_, BOOLEAN, "a")


def number(node: Any, level: Level) -> None:
    """What must be a count, a place or a share; which type of number it is made into is left open."""
    if node is not None:
        type_ = walk(node, level)
        for wanted in (INTEGER, BIGINT, REAL, DOUBLE):
            functions.convert(level.env, type_, wanted, "a")


def _bool_expr(node: ast.BoolExpr, level: Level) -> int:
    for argument in node.args or ():
        condition(argument, level)
    return BOOLEAN


def _boolean_test(node: ast.BooleanTest, level: Level) -> int:
    condition(node.arg, level)
    return BOOLEAN


def _indices(node: ast.A_Indices, level: Level) -> int:
    number(node.lidx, level)
    number(node.uidx, level)
    return ANYTHING


def _inner(node: Any, level: Level) -> int:
    """COLLATE and `name => value` are of the type of what they hold."""
    return walk(node.arg, level)


def _json_array_of_query(node: ast.JsonArrayQueryConstructor, level: Level) -> int:
    """`JSON_ARRAY(SELECT …)`."""
    level.query(node.query, level.inner(level.scope))
    return ANYTHING


def _constant(node: ast.A_Const, level: Level) -> int:
    del level
    return types.of_constant(node)


_VALUES: dict[object, int] = {
    SQLValueFunctionOp.SVFOP_CURRENT_DATE: DATE,
    SQLValueFunctionOp.SVFOP_CURRENT_TIME: TIMETZ,
    SQLValueFunctionOp.SVFOP_CURRENT_TIME_N: TIMETZ,
    SQLValueFunctionOp.SVFOP_CURRENT_TIMESTAMP: TIMESTAMPTZ,
    SQLValueFunctionOp.SVFOP_CURRENT_TIMESTAMP_N: TIMESTAMPTZ,
    SQLValueFunctionOp.SVFOP_LOCALTIME: TIME,
    SQLValueFunctionOp.SVFOP_LOCALTIME_N: TIME,
    SQLValueFunctionOp.SVFOP_LOCALTIMESTAMP: TIMESTAMP,
    SQLValueFunctionOp.SVFOP_LOCALTIMESTAMP_N: TIMESTAMP,
}
"""CURRENT_DATE and its like; those of the session (CURRENT_USER) are names."""


def _value(node: ast.SQLValueFunction, level: Level) -> int:
    del level
    return _VALUES.get(node.op, NAME)


def _current_of(node: ast.CurrentOfExpr, level: Level) -> int:
    """WHERE CURRENT OF reads through a cursor."""
    level.env.control = FetchCursor(node.cursor_name or "")
    return BOOLEAN


_HANDLERS: dict[type, Callable[[Any, Level], int]] = {
    ast.ColumnRef: _column_ref,
    ast.FuncCall: _func_call,
    ast.A_Expr: _a_expr,
    ast.SubLink: _sub_link,
    ast.TypeCast: _type_cast,
    ast.A_Indirection: _indirection,
    ast.CurrentOfExpr: _current_of,
    ast.SortBy: _sort_by,
    ast.RowExpr: _row,
    ast.BoolExpr: _bool_expr,
    ast.BooleanTest: _boolean_test,
    ast.A_Indices: _indices,
    ast.CaseExpr: _case,
    ast.CoalesceExpr: _common,
    ast.MinMaxExpr: _common,
    ast.A_ArrayExpr: _array,
    ast.CollateClause: _inner,
    ast.NamedArgExpr: _inner,
    ast.A_Const: _constant,
    ast.SQLValueFunction: _value,
    ast.JsonArrayQueryConstructor: _json_array_of_query,
    ast.JsonOutput: _json_output,
    ast.XmlExpr: _xml,
    ast.XmlSerialize: _xml_serialize,
    ast.MergeSupportFunc: _merge_action,
}


def equal_columns(where: Any, level: Level) -> dict[Item, set[str]]:
    """For each relation, the columns that the WHERE's top-level AND compares with a constant or parameter by `=`."""
    found: dict[Item, set[str]] = {}
    for term in _terms(where):
        if not isinstance(term, ast.A_Expr) or term.kind != _PLAIN or functions.names_of(term.name) != ["="]:
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


_NAMELESS = "?column?"
_NAMELESS_SUB_LINKS = frozenset({SubLinkType.ANY_SUBLINK, SubLinkType.ALL_SUBLINK, SubLinkType.ROWCOMPARE_SUBLINK})


def output_name(node: Any, level: Level) -> str | None:
    """The name of an output column without an alias; None where it is that of a column nobody knows here.

    The expression has been walked before.
    """
    return _figured(node, level)[0]


def _figured(node: Any, level: Level) -> tuple[str | None, bool]:
    """A name, and whether it stands above that of a type or CASE around it (PostgreSQL source, FigureColname)."""
    match node:
        case ast.ColumnRef():
            return _strings(node.fields)[-1], True
        case ast.A_Indirection():
            steps = _strings(node.indirection)
            return (steps[-1], True) if steps else _figured(node.arg, level)
        case ast.FuncCall():
            return functions.names_of(node.funcname)[-1], True
        case ast.TypeCast():
            type_name = node.typeName.names if node.typeName else ()
            return _unless_stronger(node.arg, functions.names_of(type_name)[-1], level)
        case ast.CaseExpr():
            return _unless_stronger(node.defresult, "case", level)
        case ast.CollateClause():
            return _figured(node.arg, level)
        case ast.SubLink() if node.subLinkType in _NAMELESS_SUB_LINKS:
            return _NAMELESS, False
        case ast.SubLink() if node.subLinkType == SubLinkType.EXPR_SUBLINK:
            return level.env.subquery_names.get(id(node)), True
        case _:
            name = _fixed_name(node)
            return (_NAMELESS, False) if name is None else (name, True)


def _strings(nodes: Any) -> list[str]:
    return functions.names_of(node for node in nodes or () if isinstance(node, ast.String))


def _unless_stronger(inside: Any, name: str, level: Level) -> tuple[str | None, bool]:
    found, strong = _figured(inside, level)
    return (found, True) if strong else (name, False)


def _fixed_name(node: Any) -> str | None:
    match node:
        case ast.SubLink():
            return _lower(node.subLinkType).removesuffix("_sublink")
        case ast.A_Expr():
            return "nullif" if node.kind == A_Expr_Kind.AEXPR_NULLIF else None
        case ast.MinMaxExpr():
            return _lower(node.op).removeprefix("is_")
        case ast.XmlExpr():
            return None if node.op == XmlExprOp.IS_DOCUMENT else _lower(node.op).removeprefix("is_")
        case ast.SQLValueFunction():
            return _lower(node.op).removeprefix("svfop_").removesuffix("_n")
        case ast.JsonFuncExpr():
            return _lower(node.op).removesuffix("_op")
        case _:
            return _FIXED_NAMES.get(type(node))


def _lower(member: Any) -> str:
    return str(member.name).lower()


_FIXED_NAMES: dict[type, str] = {
    ast.A_ArrayExpr: "array", ast.CoalesceExpr: "coalesce", ast.RowExpr: "row", ast.GroupingFunc: "grouping",
    ast.XmlSerialize: "xmlserialize", ast.JsonParseExpr: "json", ast.JsonScalarExpr: "json_scalar",
    ast.JsonSerializeExpr: "json_serialize", ast.JsonObjectConstructor: "json_object",
    ast.JsonArrayConstructor: "json_array", ast.JsonArrayQueryConstructor: "json_array",
    ast.JsonObjectAgg: "json_objectagg", ast.JsonArrayAgg: "json_arrayagg", ast.MergeSupportFunc: "merge_action",
}  # fmt: skip
