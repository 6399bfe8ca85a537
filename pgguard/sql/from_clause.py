"""The FROM clause: each entry to an Item of the level's scope.

An entry is walked with what it may see: a lateral one the entries to its left, any other only the level around. A join
condition sees the two sides of its join. Source: PostgreSQL source, parse_clause.c, transformFromClauseItem.
"""

from collections.abc import Iterator
from typing import Any

from pglast import ast

from pgguard.sql import functions, types
from pgguard.sql.catalog import Function
from pgguard.sql.environment import Opaque
from pgguard.sql.expressions import condition, function_call, number, output_name, truth, walk
from pgguard.sql.level import Columns, Level, renamed, settled
from pgguard.sql.overloads import Candidate
from pgguard.sql.scope import Column, Item, JoinItem, RelationItem, Scope, columns_of, merged_type
from pgguard.sql.types import ANYTHING, BIGINT, INTEGER, JSON_INPUTS, TEXT, XML

Merged = dict[str, list[tuple[Item, str]]]


def add_from(clause: Any, level: Level) -> None:
    """Add all entries of a FROM, USING or MERGE source to the level."""
    for node in clause or ():
        items, merged = _entry(node, level)
        _add(items, merged, level.scope)


def _add(items: list[Item], merged: Merged, scope: Scope) -> None:
    for item in items:
        if item not in scope.items:
            scope.items.append(item)
    scope.merged.update(merged)


def _entry(node: Any, level: Level) -> tuple[list[Item], Merged]:
    match node:
        case ast.RangeVar():
            return [_range_var(node, level)], {}
        case ast.JoinExpr():
            return _join(node, level)
        case ast.RangeSubselect():
            around = level.scope if node.lateral else level.scope.around
            inside = level.inner(around)
            columns = settled(level.query(node.subquery, inside))
            item = Item(_alias(node.alias), _renamed(columns, node.alias))
            item.inside = inside.scope
            return [item], {}
        case ast.RangeFunction():
            return [_range_function(node, level)], {}
        case ast.RangeTableSample():
            _sample(node, level)
            return _entry(node.relation, level)
        case ast.RangeTableFunc():
            names = _xml_columns(node, level)
            return [Item(_alias(node.alias, "xmltable"), _renamed(names, node.alias))], {}
        case ast.JsonTable():
            walk((node.context_item, node.pathspec, node.passing, node.on_error), level)
            names = _json_columns(node.columns, level)
            return [Item(_alias(node.alias, "json_table"), _renamed(names, node.alias))], {}
        case _:
            raise Opaque(f"a FROM entry of kind {type(node).__name__} is not understood")


def _range_var(node: ast.RangeVar, level: Level) -> Item:
    name = node.relname or ""
    if not node.schemaname and name in level.ctes:
        return Item(_alias(node.alias, name), _renamed(level.ctes[name], node.alias))
    item = relation_item(node, level)
    item.select()
    level.scope.relations.append(item)
    return item


def relation_item(node: ast.RangeVar, level: Level) -> RelationItem:
    """The item of a relation by its name, nothing done with it yet."""
    relation = level.env.find_relation(node, node.location)
    if relation.definition is not None and (relation.schema, relation.name) not in level.env.opened:
        level.env.opened.add((relation.schema, relation.name))
        _invoker_view(relation.definition, level)
    schema = None if node.alias else relation.schema
    named = node.alias is not None and node.alias.colnames
    columns = _renamed(columns_of(relation), node.alias) if named else None
    return RelationItem(relation, _alias(node.alias, node.relname or ""), columns, schema)


def _invoker_view(definition: str, level: Level) -> None:
    """What lies under a security_invoker view is reached with the caller's own rights, so it is accessed too."""
    if not definition:
        raise Opaque("a view whose definition an open transaction keeps back")
    from pglast import parse_sql  # noqa: PLC0415  # the one place where a stored text is parsed

    statement: Any = parse_sql(definition)[0].stmt
    level.query(statement, Level(level.env, level.query))


def _alias(alias: ast.Alias | None, otherwise: str = "") -> str:
    return (alias.aliasname or "") if alias is not None else otherwise


def _renamed(columns: Columns, alias: ast.Alias | None) -> Columns:
    """The columns under an alias's column names, which may be fewer."""
    return columns if alias is None else renamed(columns, functions.names_of(alias.colnames))


def _range_function(node: ast.RangeFunction, level: Level) -> Item:
    """A function in FROM always sees what is to its left."""
    columns: Columns = []
    rows = []
    first = ""
    for pair in node.functions or ():
        call, definitions = pair if isinstance(pair, tuple) else (pair, None)
        name = output_name(call, level) or ""
        first = first or name
        for one in _unnested(call):
            found, row = _function_columns(one, definitions, _alias(node.alias, name), level)
            rows.append(row)
            columns = None if columns is None or found is None else [*columns, *found]
    if node.coldeflist:
        columns = _defined(node.coldeflist, level)
    if node.ordinality and columns is not None:
        columns = [*columns, Column("ordinality", BIGINT)]
    item = Item(_alias(node.alias, first), _renamed(columns, node.alias))
    if len(rows) == 1 and not node.ordinality:
        item.row_type = rows[0]
    return item


def _defined(definitions: Any, level: Level) -> list[Column]:
    return [Column(definition.colname, types.named(level.env, definition.typeName)) for definition in definitions]


def _unnested(call: Any) -> list[Any]:
    """`unnest(a, b)` is one built-in unnest beside another (PostgreSQL source, transformRangeFunction)."""
    if not isinstance(call, ast.FuncCall) or functions.names_of(call.funcname) != ["unnest"]:
        return [call]
    if len(call.args or ()) < 2 or call.func_variadic or call.agg_order or call.agg_filter or call.over:
        return [call]
    built_in = (ast.String(sval="pg_catalog"), ast.String(sval="unnest"))
    return [ast.FuncCall(funcname=built_in, args=(argument,)) for argument in call.args or ()]


def _function_columns(call: Any, definitions: Any, alias: str, level: Level) -> tuple[Columns, int]:
    """The columns of a function in FROM, and the type of its row."""
    if not isinstance(call, ast.FuncCall):
        return [Column(alias, walk(call, level))], types.RECORD
    found, result = function_call(call, level)
    if definitions:
        return _defined(definitions, level), types.RECORD
    relation = types.row_of(level.env.catalog, result)
    if relation is not None:
        return columns_of(relation), result
    shapes = {_shape(candidate) for candidate in found}
    if len(shapes) != 1:
        return (None if found else [Column(alias, result)]), ANYTHING
    (shape,) = shapes
    if shape is None:
        open_ended = result == ANYTHING
        return (None if open_ended else [Column(alias, result)]), result
    return list(shape) or None, types.RECORD


def _shape(candidate: Candidate) -> tuple[Column, ...] | None:
    function = candidate.target
    assert isinstance(function, Function)
    if function.columns is None:
        return None
    known = function.column_types or (ANYTHING,) * len(function.columns)
    return tuple(
        Column(name, ANYTHING if type_ in types.POLYMORPHIC else type_)
        for name, type_ in zip(function.columns, known, strict=True)
    )


def _sample(node: ast.RangeTableSample, level: Level) -> None:
    """TABLESAMPLE names a handler function, which takes `internal` and nothing else."""
    functions.handler(level.env, functions.names_of(node.method), node.location)
    for argument in node.args or ():
        number(argument, level)
    number(node.repeatable, level)


def _xml_columns(node: ast.RangeTableFunc, level: Level) -> list[Column]:
    """The columns of XMLTABLE; all that it is made of is converted as in an assignment (transformRangeTableFunc)."""
    spaces = [space.val for space in node.namespaces or ()]
    for expression, type_ in ((node.docexpr, XML), (node.rowexpr, TEXT), *((space, TEXT) for space in spaces)):
        functions.convert(level.env, walk(expression, level), type_, "a")
    names = []
    for column in node.columns or ():
        type_ = types.named(level.env, column.typeName)
        if column.colexpr is not None:
            functions.convert(level.env, walk(column.colexpr, level), TEXT, "a")
        if column.coldefexpr is not None:
            functions.convert(level.env, walk(column.coldefexpr, level), type_, "a")
        names.append(Column(column.colname or "", type_))
    return names


def _json_columns(columns: Any, level: Level) -> list[Column]:
    names: list[Column] = []
    for column in columns or ():
        walk((column.pathspec, column.on_empty, column.on_error), level)
        if column.columns:
            names += _json_columns(column.columns, level)
            continue
        type_ = types.named(level.env, column.typeName) if column.typeName is not None else INTEGER  # FOR ORDINALITY
        for source in JSON_INPUTS:
            functions.convert(level.env, source, type_, "e")
        names.append(Column(column.name, type_))
    return names


# joins


def _join(node: ast.JoinExpr, level: Level) -> tuple[list[Item], Merged]:
    left, left_merged = _entry(node.larg, level)
    seen, seen_merged = list(level.scope.items), dict(level.scope.merged)
    _add(left, left_merged, level.scope)  # the right side may be lateral
    right, right_merged = _entry(node.rarg, level)
    level.scope.items[:] = seen
    level.scope.merged = seen_merged
    merged = {**left_merged, **right_merged}
    using = functions.names_of(node.usingClause)
    if node.isNatural:
        using = _common(left, left_merged, right, right_merged)
        _may_join_more(left, right, level)
        _may_join_more(right, left, level)
    for name in using:
        behind = [*_behind(name, left, left_merged), *_behind(name, right, right_merged)]
        for item, column in behind:
            item.read(column)
            item.hidden |= {name}
        merged[name] = behind
    items = [*left, *right]
    inside = level.inner(level.scope.around)
    inside.scope.items = items
    inside.scope.merged = dict(merged)
    condition(node.quals, inside)
    if using:
        for name in using:
            sides = [item.type_of(column) for item, column in merged[name]]
            left_type, right_type = (sides[0], sides[-1]) if sides else (ANYTHING, ANYTHING)
            truth(functions.operator(level.env, ["="], left_type, right_type), level)
    if node.join_using_alias is not None:
        named = JoinItem(
            _alias(node.join_using_alias),
            [(Column(n, merged_type(merged[n])), merged[n]) for n in using],
            open_ended=False,
        )
        named.visible = False
        items = [*items, named]
    if node.alias is None:
        return items, merged
    return [_aliased_join(node.alias, items, merged)], {}


def _aliased_join(alias: ast.Alias, items: list[Item], merged: Merged) -> Item:
    columns = [(Column(name, merged_type(behind)), behind) for name, behind in merged.items()]
    open_ended = False
    for item in items:
        if item.visible:
            open_ended = open_ended or item.columns is None
            for name in item.columns or ():
                if name not in item.hidden:
                    columns.append((Column(name, item.type_of(name)), [(item, name)]))  # noqa: PERF401  # clearer so
    new_names = _renamed([column for column, _ in columns], alias) or []
    behind = [(new, old[1]) for new, old in zip(new_names, columns, strict=False)]
    item = JoinItem(_alias(alias), behind, open_ended=open_ended)
    item.inside = Scope()
    item.inside.items = items
    return item


def _behind(name: str, items: list[Item], merged: Merged) -> list[tuple[Item, str]]:
    if name in merged:
        return merged[name]
    return [(item, name) for item in items if item.visible and item.has(name) and name not in item.hidden]


def _common(left: list[Item], left_merged: Merged, right: list[Item], right_merged: Merged) -> list[str]:
    """The columns that NATURAL joins on, in the order of the left side."""
    if any(item.columns is None for item in (*left, *right)):
        raise Opaque("a NATURAL JOIN with a function whose columns are not known")
    rights = set(_names(right, right_merged))
    return [name for name in dict.fromkeys(_names(left, left_merged)) if name in rights]


def _may_join_more(side: list[Item], other: list[Item], level: Level) -> None:
    """A column that others add to their relation meanwhile is joined with one of that name: any may be."""
    hands = {hands for item in other for hands in _hands(item, level)} - {None}
    for item in side:
        if isinstance(item, RelationItem) and hands - {item.relation.hands}:
            item.read_all()


def _hands(item: Item, level: Level) -> Iterator[tuple[str, str] | None]:
    """Who may add columns to an item."""
    if isinstance(item, RelationItem):
        yield item.relation.hands
    elif item.inside is not None:
        for one in (*item.inside.relations, *item.inside.items):
            yield from _hands(one, level)
    else:  # of a CTE
        yield from (relation.hands for relation in level.env.seen.values())


def _names(items: list[Item], merged: Merged) -> list[str]:
    names = list(merged)
    for item in items:
        if item.visible:
            names += [name for name in item.columns or () if name not in item.hidden]
    return names
