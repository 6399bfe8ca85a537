"""SELECT, INSERT, UPDATE, DELETE, MERGE and WITH: what each query level reads and writes.

`collect` walks one query, reports its accesses, and returns its output columns. Source of the details: PostgreSQL
source, parser/analyze.c and parse_relation.c, whose requiredPerms and selectedCols are the oracle of the tests.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pglast import ast
from pglast.enums import CmdType, MergeMatchKind, SetOperation

from pgguard.model.access import Privilege, Where
from pgguard.model.sqlstate import SqlState
from pgguard.sql import functions, types
from pgguard.sql.environment import Environment, Opaque, TooComplex, Unresolved
from pgguard.sql.expressions import condition, equal_columns, number, output_name, row_item, walk
from pgguard.sql.from_clause import add_from, relation_item
from pgguard.sql.level import Columns, Level, renamed, settled
from pgguard.sql.scope import Column, Item, RelationItem, Scope, columns_of
from pgguard.sql.types import ANYTHING, UNKNOWN

_SINGLE = SetOperation.SETOP_NONE  # a constant of its own: see session.expected.Awaits


def collect_query(node: Any, env: Environment) -> Columns:
    """A query at the top of a statement, or inside a utility statement."""
    return collect(node, Level(env, collect))


def collect(node: Any, level: Level) -> Columns:
    """One query in a fresh level. Raises Opaque for a node that is no query."""
    match node:
        case ast.SelectStmt():
            return _select(node, level)
        case ast.InsertStmt():
            return _insert(node, level)
        case ast.UpdateStmt():
            return _update(node, level)
        case ast.DeleteStmt():
            return _delete(node, level)
        case ast.MergeStmt():
            return _merge(node, level)
        case _:
            raise Opaque(f"a query of kind {type(node).__name__} is not understood")


# WITH


def _with(clause: ast.WithClause | None, level: Level) -> None:
    if clause is None:
        return
    if clause.recursive:  # each sees all of them, also those that come after it
        level.ctes |= dict.fromkeys((cte.ctename or "" for cte in clause.ctes or ()), None)
    for cte in clause.ctes or ():
        level.ctes[cte.ctename or ""] = _cte(cte, level, recursive=bool(clause.recursive))


def _cte(cte: ast.CommonTableExpr, level: Level, *, recursive: bool) -> Columns:
    names = functions.names_of(cte.aliascolnames)
    inside = level.inner(level.scope.around)
    query: Any = cte.ctequery
    if recursive and isinstance(query, ast.SelectStmt):
        inside.ctes[cte.ctename or ""] = None
    if recursive and isinstance(query, ast.SelectStmt) and query.op != _SINGLE:
        _with(query.withClause, inside)
        first = collect(query.larg, inside.inner(level.scope.around))
        inside.ctes[cte.ctename or ""] = _extended(renamed(settled(first), names), cte)
        found = _set_operation(query, first, inside)
    else:
        found = collect(query, inside)
    columns = renamed(settled(found), names)
    if cte.cycle_clause is not None:
        walk((cte.cycle_clause.cycle_mark_value, cte.cycle_clause.cycle_mark_default), level)
    return _extended(columns, cte)


def _extended(columns: Columns, cte: ast.CommonTableExpr) -> Columns:
    """With the columns that SEARCH and CYCLE add."""
    if columns is None:
        return None
    added = []
    if cte.search_clause is not None:
        added.append(cte.search_clause.search_seq_column or "")
    if cte.cycle_clause is not None:
        added += [cte.cycle_clause.cycle_mark_column or "", cte.cycle_clause.cycle_path_column or ""]
    return [*columns, *(Column(name) for name in added)]


# SELECT


def _select(node: ast.SelectStmt, level: Level) -> Columns:
    _with(node.withClause, level)
    if node.op != _SINGLE:
        return _set_operation(node, collect(node.larg, level.inner(level.scope.around)), level)
    if node.valuesLists:
        rows = [[walk(value, level) for value in row] for row in node.valuesLists]
        output = _Output(
            [Column(f"column{n}", _together(level, kinds)) for n, kinds in enumerate(zip(*rows, strict=False), 1)]
        )
        _order(node.sortClause, output, level)
    else:
        add_from(node.fromClause, level)
        output = _targets(node.targetList, level)
        condition(node.whereClause, level)
        condition(node.havingClause, level)
        walk(node.windowClause, level)
        _distinct_on(node.distinctClause, output, level)
        _order(node.sortClause, output, level)
        _group(node.groupClause, output, level)
    number(node.limitOffset, level)
    number(node.limitCount, level)
    _locking(node.lockingClause, level)
    _report(node.whereClause, level)
    return output.columns


def _report(where: Any, level: Level) -> None:
    level.scope.report(level.env, where is not None, equal_columns(where, level))


def _set_operation(node: ast.SelectStmt, left: Columns, level: Level) -> Columns:
    """A UNION or its like whose first query was walked."""
    around = level.scope.around
    right = collect(node.rarg, level.inner(around))
    columns: Columns = None
    if left is not None and right is not None:
        columns = [
            Column(one.name, _together(level, (one.type, other.type))) for one, other in zip(left, right, strict=False)
        ]
    output = level.inner(around)
    output.scope.add(Item("", columns))
    walk(node.sortClause, output)
    number(node.limitOffset, output)
    number(node.limitCount, output)
    if node.lockingClause:
        raise Opaque("FOR UPDATE is not allowed with UNION/INTERSECT/EXCEPT")
    return columns


def _together(level: Level, kinds: Iterable[int]) -> int:
    """The type of one column of several rows or queries; a bare literal stays one."""
    given = list(kinds)
    return UNKNOWN if set(given) == {UNKNOWN} else functions.together(level.env, given)


class _Output(NamedTuple):
    """A target list: the output columns that are known, and whether these are all."""

    known: Sequence[Column]
    whole: bool = True

    @property
    def columns(self) -> Columns:
        return list(self.known) if self.whole else None

    def type_of(self, name: str | None) -> int | None:
        """The type of the output column of this name, where there is one."""
        return next((column.type for column in self.known if column.name == name), None)


def _targets(targets: Iterable[Any] | None, level: Level) -> _Output:
    """Walk the target list; the output columns."""
    names: list[Column] = []
    known = True
    for target in targets or ():
        value = target.val
        star = _star_of(value)
        type_ = walk(value, level)
        if star is None:
            name = target.name or output_name(value, level)
            known = known and name is not None
            names.append(Column(name or "", type_))
            continue
        columns = _star_columns(value, star, type_, level)
        known = known and columns is not None
        names += columns or []
        if len(names) > _MOST_COLUMNS:  # `SELECT *, *` around itself doubles them each time
            raise TooComplex(f"a target list has more than {_MOST_COLUMNS} entries")
    return _Output(names, known)


_MOST_COLUMNS = 1664
"""PostgreSQL's own limit of a row (PostgreSQL docs, appendix K)."""


def _star_of(value: Any) -> list[str] | None:
    """The qualifier of `*` or `t.*`; None where it is no star. `(expression).*` has columns nobody knows here."""
    if isinstance(value, ast.ColumnRef) and value.fields and isinstance(value.fields[-1], ast.A_Star):
        return functions.names_of(value.fields[:-1])
    if isinstance(value, ast.A_Indirection) and value.indirection and isinstance(value.indirection[-1], ast.A_Star):
        return ["(…)"]
    return None


def _star_columns(value: Any, qualifier: list[str], type_: int, level: Level) -> Columns:
    if isinstance(value, ast.A_Indirection):
        row = row_item(value.arg, level) if len(value.indirection or ()) == 1 else None
        if row is not None:
            return row.typed_columns()
        relation = types.row_of(level.env.catalog, type_)
        return None if relation is None else columns_of(relation)
    if not qualifier:
        return level.scope.star_columns()
    item = level.scope.alias(qualifier[-1], qualifier[-2] if len(qualifier) > 1 else None)
    return None if item is None else item.typed_columns()


def _order(clause: Any, output: _Output, level: Level) -> None:
    """ORDER BY: a bare name is an output column first."""
    for sort in clause or ():
        type_ = _output_first(sort.node, output, level)
        if sort.useOp:
            functions.operator(level.env, functions.names_of(sort.useOp), type_, type_)


def _distinct_on(clause: Any, output: _Output, level: Level) -> None:
    """DISTINCT ON: a bare name is an output column first, as in ORDER BY."""
    for item in clause or ():
        _output_first(item, output, level)


def _output_first(node: Any, output: _Output, level: Level) -> int:
    """The type of an output column by its name, or of an expression over input columns."""
    name = _bare(node)
    type_ = output.type_of(name)
    if type_ is not None and name is not None:
        level.env.hides(name, level.scope.behind(name, here=True))  # it may be one of a `*`
        return type_
    try:
        return walk(node, level)
    except Unresolved as unresolved:
        if output.whole or name is None or unresolved.sqlstate is not SqlState.UNDEFINED_COLUMN:
            raise
    return ANYTHING  # it can only be among the output columns that are not known


def _group(clause: Any, output: _Output, level: Level) -> None:
    """GROUP BY: a bare name is an input column first, then an output column."""
    for item in clause or ():
        if isinstance(item, ast.GroupingSet):
            _group(item.content, output, level)
            continue
        if isinstance(item, ast.RowExpr):
            _group(item.args, output, level)
            continue
        name = _bare(item)
        if output.type_of(name) is not None:
            assert name is not None
            try:
                level.scope.column(name, None)
            except Unresolved:
                continue
        else:
            walk(item, level)


def _bare(node: Any) -> str | None:
    if isinstance(node, ast.ColumnRef) and len(node.fields or ()) == 1:
        field = (node.fields or ())[0]
        return field.sval if isinstance(field, ast.String) else None
    return None


def _locking(clauses: Any, level: Level) -> None:
    """FOR UPDATE and its like need UPDATE on at least one column (PostgreSQL docs, SELECT, "The Locking Clause")."""
    for clause in clauses or ():
        names = [locked.relname for locked in clause.lockedRels or ()]
        for item in level.scope.relations:
            if not names or item.alias in names:
                item.updated = item.updated or set()
        for entry in level.scope.items:
            if entry.inside is not None and (not names or entry.alias in names):
                _lock_inside(level.env, entry.inside)


def _lock_inside(env: Environment, scope: Scope) -> None:
    """A locked subquery locks all its tables, and those of the subqueries in its FROM."""
    for item in scope.relations:
        env.relation_access(Privilege.UPDATE, item.relation, (), scope.where)
    for inner in scope.items:
        if inner.inside is not None:
            _lock_inside(env, inner.inside)


# writes


def _target(node: Any, level: Level) -> RelationItem:
    item = relation_item(node, level)
    level.scope.add(item)
    return item


def _assigned(targets: Any, item: RelationItem, level: Level) -> set[str]:
    """The columns that SET writes; their values are walked."""
    columns = set()
    for target in targets or ():
        columns.add(_writable(item, target))
        walk(target.indirection, level)
        column = ANYTHING if target.indirection else item.relation.type_of(target.name or "")
        functions.convert(level.env, _value_type(target.val, level), column, "a")
    return columns


def _value_type(value: Any, level: Level) -> int:
    """The type of what SET assigns; of `(a, b) = (x, y)` that of the one column."""
    if not isinstance(value, ast.MultiAssignRef):
        return walk(value, level)
    source: Any = value.source
    place = (value.colno or 1) - 1
    if isinstance(source, ast.RowExpr):
        given = source.args or ()
        return walk(given[place], level) if place < len(given) else ANYTHING
    if place == 0:  # each of the columns holds the same subquery
        walk(source, level)
    return ANYTHING


def _writable(item: RelationItem, target: ast.ResTarget) -> str:
    name = target.name or ""
    if name not in item.relation.columns:
        raise Unresolved(
            SqlState.UNDEFINED_COLUMN,
            f'column "{name}" of relation "{item.relation.name}" does not exist',
            target.location,
        )
    return name


def _insert(node: ast.InsertStmt, level: Level) -> Columns:
    _with(node.withClause, level)
    target: Any = node.relation
    item = relation_item(target, level)
    source: Any = node.selectStmt
    given: Columns = []
    if source is not None:
        given = collect(source, level.inner(level.scope.around))
    if node.cols:
        item.inserted = {_writable(item, target) for target in node.cols}
        for target in node.cols:
            walk(target.indirection, level)
    else:
        open_ended = given is None or (_has_star(source) and level.env.others_alter(item.relation))
        count = len(item.relation.columns) if given is None or open_ended else len(given)
        item.inserted = set(item.relation.columns[:count])
    _insert_conversions(node, item, given, level)
    level.scope.add(item)
    if node.onConflictClause is not None:
        _on_conflict(node.onConflictClause, item, level)
    level.scope.report(level.env, False, {})
    return _returning(node.returningClause, item, level)


def _has_star(source: Any) -> bool:
    """Whether how many columns a query gives hangs on how many a relation has."""
    if not isinstance(source, ast.SelectStmt):
        return False
    if source.op != _SINGLE:
        return _has_star(source.larg)
    return any(_star_of(target.val) is not None for target in source.targetList or ())


def _insert_conversions(node: ast.InsertStmt, item: RelationItem, given: Columns, level: Level) -> None:
    """What is inserted converts to the columns' types, as an assignment."""
    if not level.env.catalog.user_casts or node.selectStmt is None:
        return
    names = [None if t.indirection else t.name for t in node.cols] if node.cols else list(item.relation.columns)
    sources = [ANYTHING] * len(names) if given is None else [column.type for column in given]
    for source, name in zip(sources, names, strict=False):
        functions.convert(level.env, source, ANYTHING if name is None else item.relation.type_of(name), "a")


def _on_conflict(clause: ast.OnConflictClause, item: RelationItem, level: Level) -> None:
    """The inference columns are read; DO UPDATE writes, and reads what it names (PostgreSQL docs, INSERT)."""
    if clause.infer is not None:
        for element in clause.infer.indexElems or ():
            if element.name:
                item.read(element.name)
            walk(element.expr, level)
        condition(clause.infer.whereClause, level)
        if clause.infer.conname:
            _named_constraint(clause.infer, item)
    inside = level.inner(level.scope.around)
    # INVARIANT: what is read of excluded needs `select` on the target's column (PostgreSQL docs, INSERT, "excluded")
    inside.scope.items = [item, _Version("excluded", item)]
    if clause.targetList:
        item.updated = _assigned(clause.targetList, item, inside)
    condition(clause.whereClause, inside)


def _named_constraint(infer: ast.InferClause, item: RelationItem) -> None:
    """ON CONSTRAINT reads the columns that the constraint is on."""
    columns = item.relation.constraints.get(infer.conname or "")
    if columns is None:
        raise Unresolved(
            SqlState.UNDEFINED_OBJECT,
            f'constraint "{infer.conname}" for table "{item.relation.name}" does not exist',
            infer.location,
        )
    if columns:
        item.select(*columns)
    else:
        item.read_all()


def _update(node: ast.UpdateStmt, level: Level) -> Columns:
    _with(node.withClause, level)
    item = _target(node.relation, level)
    add_from(node.fromClause, level)
    item.updated = set()
    item.updated = _assigned(node.targetList, item, level)
    condition(node.whereClause, level)
    columns = _returned(node.returningClause, item, level)
    _report(node.whereClause, level)
    return columns


def _delete(node: ast.DeleteStmt, level: Level) -> Columns:
    _with(node.withClause, level)
    item = _target(node.relation, level)
    item.deletes = True
    add_from(node.usingClause, level)
    condition(node.whereClause, level)
    columns = _returned(node.returningClause, item, level)
    _report(node.whereClause, level)
    return columns


def _returning(clause: ast.ReturningClause | None, item: RelationItem, level: Level) -> Columns:
    """RETURNING of an INSERT sees the target alone."""
    inside = level.inner(level.scope.around)
    target = RelationItem(item.relation, item.alias, item.typed_columns(), item.schema)
    inside.scope.add(target)
    columns = _returned(clause, target, inside)
    inside.scope.report(level.env, False, {})
    return columns


def _returned(clause: ast.ReturningClause | None, item: RelationItem, level: Level) -> Columns:
    if clause is None:
        return []
    for alias in ("old", "new"):
        if level.scope.alias(alias) is None:
            level.scope.items.append(_Version(alias, item))
    for option in clause.options or ():
        level.scope.items.append(_Version(option.value or "", item))
    return _targets(clause.exprs, level).columns


class _Version(Item):
    """`old` and `new` in RETURNING: the target's row before and after."""

    def __init__(self, alias: str, target: RelationItem) -> None:
        super().__init__(alias, target.typed_columns())
        self.row_type = target.row_type
        self._target = target
        self.visible = False

    def has(self, column: str) -> bool:
        return self._target.has(column)

    def read(self, column: str) -> None:
        self._target.read(column)

    def read_all(self) -> None:
        self._target.read_all()


def _merge(node: ast.MergeStmt, level: Level) -> Columns:
    _with(node.withClause, level)
    item = _target(node.relation, level)
    if any(clause.commandType == CmdType.CMD_NOTHING for clause in node.mergeWhenClauses or ()):
        item.select()  # PostgreSQL source, transformMergeStmt: an action that does nothing needs SELECT
    add_from([node.sourceRelation], level)
    condition(node.joinCondition, level)
    for clause in node.mergeWhenClauses or ():
        _merge_action(clause, item, level)
    item.visible = True
    columns = _returned(node.returningClause, item, level)
    level.scope.report(level.env, True, equal_columns(node.joinCondition, level))
    return columns


def _merge_action(clause: Any, item: RelationItem, level: Level) -> None:
    """Each action by itself: the AND of its WHEN is its WHERE (rule language, "statement").

    What is not matched by the target has no row of it: unqualified names are the source's.
    """
    item.visible = clause.matchKind != MergeMatchKind.MERGE_WHEN_NOT_MATCHED_BY_TARGET
    condition(clause.condition, level)
    equals: Mapping[Item, set[str]] = equal_columns(clause.condition, level)
    where = Where(clause.condition is not None, tuple(sorted(equals.get(item, ()))))
    if clause.commandType == CmdType.CMD_UPDATE:
        level.env.relation_access(Privilege.UPDATE, item.relation, _assigned(clause.targetList, item, level), where)
    elif clause.commandType == CmdType.CMD_DELETE:
        level.env.relation_access(Privilege.DELETE, item.relation, None, where)
    elif clause.commandType == CmdType.CMD_INSERT:
        columns = [_writable(item, target) for target in clause.targetList or ()] or list(item.relation.columns)
        for value, column in zip(clause.values or (), columns, strict=False):
            functions.convert(level.env, walk(value, level), item.relation.type_of(column), "a")
        written = columns if clause.targetList else columns[: len(clause.values or ())]
        level.env.relation_access(Privilege.INSERT, item.relation, written)
