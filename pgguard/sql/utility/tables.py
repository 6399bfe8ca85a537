"""Tables, views, indexes, triggers, rules, policies: what is made of relations, and the expressions kept with them.

What the query inside a CREATE VIEW, CREATE RULE or CREATE TABLE AS reads is accessed as if it ran; expressions that run
later, on each row, are accessed now, since nobody asks again.
"""

from typing import Any

from pglast import ast
from pglast.enums import AlterTableType, ObjectType

from pgguard.model.access import Kind, Privilege
from pgguard.model.control import ExecutePrepared
from pgguard.sql import functions
from pgguard.sql.environment import Environment, Opaque
from pgguard.sql.expressions import walk
from pgguard.sql.level import Level
from pgguard.sql.queries import collect, collect_query
from pgguard.sql.scope import Item, RelationItem
from pgguard.sql.utility.names import (
    KINDS,
    Collector,
    create_name,
    execute_named,
    parts_of,
    tag_of,
    touch,
    touch_descendants,
    touch_relation,
)

_P = Privilege
_O = ObjectType


def _create_table(node: Any, env: Environment) -> str:
    base: Any = node.base if isinstance(node, ast.CreateForeignTableStmt) else node
    create_name(env, base.relation)
    for parent in base.inhRelations or ():
        env.relation_access(_P.ALTER, env.find_relation(parent))
    _partition(base, env)
    for element in base.tableElts or ():
        _table_element(element, env, base.relation)
    if isinstance(node, ast.CreateForeignTableStmt):
        env.touch(_P.USAGE, Kind.FOREIGN_SERVER, node.servername or "")
        return "CREATE FOREIGN TABLE"
    return "CREATE TABLE"


def _partition(node: ast.CreateStmt, env: Environment) -> None:
    """What PARTITION BY and FOR VALUES compute."""
    if node.partspec is not None:
        for element in node.partspec.partParams or ():
            functions_in(element.expr, env)
    if node.partbound is not None:
        _bound(node.partbound, env)


def _bound(bound: ast.PartitionBoundSpec, env: Environment) -> None:
    words = frozenset({"minvalue", "maxvalue"})
    for value in (*(bound.listdatums or ()), *(bound.lowerdatums or ()), *(bound.upperdatums or ())):
        if not (isinstance(value, ast.ColumnRef) and set(parts_of(value.fields)) <= words):
            functions_in(value, env)


def _table_element(element: Any, env: Environment, new: ast.RangeVar | None = None) -> None:
    """Expressions run later, on each row: their functions are accessed; foreign keys need `references`.

    `new`: the table that is made of it.
    """
    match element:
        case ast.ColumnDef():
            for constraint in element.constraints or ():
                _table_element(constraint, env, new)
            functions_in(element.raw_default, env)
        case ast.Constraint():
            if element.pktable is not None:
                _references(element, env, new)
            functions_in(element.raw_expr, env)
            functions_in(element.where_clause, env)
        case ast.TableLikeClause():
            if element.relation is not None:
                like = env.find_relation(element.relation, element.relation.location)
                env.relation_access(_P.SELECT, like, like.columns)
        case _:
            raise Opaque(f"a table element of kind {type(element).__name__} is not understood")


def _references(element: ast.Constraint, env: Environment, new: ast.RangeVar | None) -> None:
    """A foreign key needs `references` on the columns it points at: without a list, those of the primary key.

    One that points at the table it is made with needs nothing.
    """
    pktable: Any = element.pktable
    itself = new is not None and pktable.relname == new.relname and pktable.schemaname in {None, new.schemaname}
    if itself and env.look_up(pktable.schemaname, pktable.relname) is None:
        return
    relation = env.find_relation(pktable)
    named = functions.names_of(element.pk_attrs)
    env.relation_access(_P.REFERENCES, relation, named or relation.primary_key or relation.columns)


def functions_in(expression: Any, env: Environment) -> None:
    """The accesses of an expression over columns of a table that may not exist yet."""
    if expression is not None:
        walk(expression, _open_level(env))


def _open_level(env: Environment) -> Level:
    """A level in which every column name may be one."""
    level = Level(env, collect)
    level.scope.add(Item("", None))
    return level


def create_table_as(node: ast.CreateTableAsStmt, env: Environment) -> str:
    inner: Any = node.query
    if isinstance(inner, ast.ExecuteStmt):
        walk(inner.params, Level(env, collect))
        env.control = ExecutePrepared(inner.name or "")
    else:
        collect_query(inner, env)
    assert node.into is not None
    assert node.into.rel is not None
    create_name(env, node.into.rel)
    if node.objtype == _O.OBJECT_MATVIEW:
        return "CREATE MATERIALIZED VIEW"
    return "SELECT INTO" if node.is_select_into else "CREATE TABLE AS"


def _create_view(node: ast.ViewStmt, env: Environment) -> str:
    collect_query(node.query, env)
    assert node.view is not None
    create_name(env, node.view)
    return "CREATE VIEW"


def _alter_table(node: ast.AlterTableStmt, env: Environment) -> str:
    kind = KINDS.get(node.objtype, Kind.TABLE)
    assert node.relation is not None
    if kind is Kind.TYPE:
        touch(env, _P.ALTER, kind, parts_of(node.relation))
        return tag_of(node.objtype, "ALTER")
    touch(env, _P.ALTER, kind, parts_of(node.relation), missing_ok=bool(node.missing_ok))
    for command in node.cmds or ():
        if command.subtype not in _ALONE:
            touch_descendants(env, node.relation)
        _alter_table_command(command, node.relation, env)
    return tag_of(node.objtype, "ALTER")


_A = AlterTableType
_ALONE = frozenset({
    _A.AT_ChangeOwner, _A.AT_ClusterOn, _A.AT_DropCluster, _A.AT_SetLogged, _A.AT_SetUnLogged, _A.AT_SetAccessMethod,
    _A.AT_SetTableSpace, _A.AT_SetRelOptions, _A.AT_ResetRelOptions, _A.AT_ReplaceRelOptions, _A.AT_AddInherit,
    _A.AT_DropInherit, _A.AT_AddOf, _A.AT_DropOf, _A.AT_ReplicaIdentity, _A.AT_EnableRowSecurity, _A.AT_AttachPartition,
    _A.AT_DisableRowSecurity, _A.AT_ForceRowSecurity, _A.AT_NoForceRowSecurity, _A.AT_DetachPartition,
    _A.AT_DetachPartitionFinalize, _A.AT_SetOptions, _A.AT_ResetOptions,
})  # fmt: skip
"""What leaves partitions and heirs as they are."""

_DROP_CASCADE = 1
_NO_EXPRESSIONS = (ast.String, ast.Integer, ast.ReplicaIdentityStmt, ast.ATAlterConstraint, ast.TypeName)


def _drop_named(env: Environment, name: tuple[str, str]) -> None:
    """A dependent of a column that CASCADE takes along: a view goes whole, a table loses a foreign key."""
    relation = env.catalog.relation(*name)
    if relation is not None:
        touch_relation(env, _P.DROP if relation.kind in "vm" else _P.ALTER, relation)


def _alter_table_command(command: ast.AlterTableCmd, name: ast.RangeVar, env: Environment) -> None:
    if command.newowner is not None:
        touch(env, _P.GRANT, Kind.TABLE, parts_of(name), missing_ok=True)
    if command.behavior == _DROP_CASCADE:
        relation = env.find_relation(name)
        for dependent in (*relation.dependents, *relation.referenced_by):
            _drop_named(env, dependent)
    _definition(command.def_, env)


def _definition(definition: Any, env: Environment) -> None:
    """What a command of ALTER TABLE carries; anything that is not known here is an expression, or is refused."""
    if isinstance(definition, (ast.ColumnDef, ast.Constraint)):
        _table_element(definition, env)
    elif isinstance(definition, ast.RangeVar):  # INHERIT
        env.relation_access(_P.ALTER, env.find_relation(definition))
    elif isinstance(definition, ast.PartitionCmd):
        part: Any = definition.name
        env.relation_access(_P.ALTER, env.find_relation(part))
        if definition.bound is not None:
            _bound(definition.bound, env)
    elif isinstance(definition, (tuple, list)):  # options, or an identity's
        if not all(isinstance(option, ast.DefElem) for option in definition):
            raise Opaque("a list in ALTER TABLE that is not understood")
    elif definition is not None and not isinstance(definition, _NO_EXPRESSIONS):
        functions_in(definition, env)


def _on_table(tag: str, privilege: Privilege) -> Collector:
    """Indexes, rules, policies, triggers: expressions and queries inside run with the table's rows."""

    def collector(node: Any, env: Environment) -> str:
        name: Any = getattr(node, "relation", None) or getattr(node, "table", None)
        relation = env.find_relation(name)
        env.relation_access(privilege, relation)
        env.changes_catalog = True
        level = Level(env, collect)
        for alias in (relation.name, "old", "new"):
            item = RelationItem(relation, alias, None, relation.schema if alias == relation.name else None)
            item.visible = alias == relation.name
            level.scope.items.append(item)
        for attribute in ("whereClause", "qual", "with_check", "whenClause"):
            walk(getattr(node, attribute, None), level)
        for element in getattr(node, "indexParams", None) or ():
            walk(element.expr, level)
        for action in getattr(node, "actions", None) or ():
            if isinstance(action, ast.NotifyStmt):
                env.touch(_P.NOTIFY, Kind.CHANNEL, action.conditionname or "")
            else:
                level.query(action, level.inner(level.scope))
        if isinstance(node, ast.CreateTrigStmt):
            execute_named(env, node.funcname)
        return tag

    return collector


def _create_trigger(node: ast.CreateTrigStmt, env: Environment) -> str:
    if node.constrrel is not None:
        env.relation_access(_P.TRIGGER, env.find_relation(node.constrrel))
    return _on_table("CREATE TRIGGER", _P.TRIGGER)(node, env)


def _statistics(node: ast.CreateStatsStmt, env: Environment) -> str:
    for name in node.relations or ():
        touch(env, _P.ALTER, Kind.TABLE, parts_of(name))
    for element in node.exprs or ():
        functions_in(element.expr, env)
    return "CREATE STATISTICS"


TABLES: dict[type, Collector] = {
    ast.CreateStmt: _create_table,
    ast.CreateForeignTableStmt: _create_table,
    ast.CreateTableAsStmt: create_table_as,
    ast.ViewStmt: _create_view,
    ast.AlterTableStmt: _alter_table,
    ast.IndexStmt: _on_table("CREATE INDEX", _P.ALTER),
    ast.RuleStmt: _on_table("CREATE RULE", _P.ALTER),
    ast.CreatePolicyStmt: _on_table("CREATE POLICY", _P.ALTER),
    ast.AlterPolicyStmt: _on_table("ALTER POLICY", _P.ALTER),
    ast.CreateTrigStmt: _create_trigger,
    ast.CreateStatsStmt: _statistics,
}
