"""What is written or locked through a security_invoker view, with the caller's own rights (docs, CREATE VIEW).

What such a view reads is collected where it is named. A write to it becomes one to the relation under it, column by
column (PostgreSQL source, rewriteTargetView); FOR UPDATE and LOCK reach the relations that it reads. Where a trigger or
rule stands in for the write, this says too much.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from pglast import ast, parse_sql

from pgguard.model.access import Access, Kind, Privilege
from pgguard.sql.catalog import Relation
from pgguard.sql.environment import Environment, Opaque, access_to

_WRITES = frozenset({Privilege.INSERT, Privilege.UPDATE, Privilege.DELETE, Privilege.LOCK})


def look_under(env: Environment) -> None:
    """Add to the accesses on views those on what lies under them, view by view. Raises Opaque."""
    if not env.does(_WRITES):  # as most statements, for which all their accesses would be put in order
        return
    waiting = list(env.accesses)
    seen = set(waiting)
    while waiting:
        for access in _under(waiting.pop(), env):
            if access not in seen:
                seen.add(access)
                waiting.append(access)
                env.add(access)


def _under(access: Access, env: Environment) -> Iterator[Access]:
    if access.kind is not Kind.TABLE or access.privilege not in _WRITES or access.object.schema is None:
        return
    view = env.catalog.relation(access.object.schema, access.object.name)
    if view is None or view.definition is None:
        return
    if not view.definition:
        raise Opaque("a view whose definition an open transaction keeps back")
    query: Any = parse_sql(view.definition)[0].stmt
    if access.privilege is Privilege.LOCK:
        yield from (_on(relation, access, None) for relation in _relations(query, env))
    elif access.columns == ():
        sources: Any = getattr(query, "fromClause", None)
        yield from (_on(relation, access, ()) for relation in _relations(sources, env))
    else:
        yield from _written(view, query, access, env)


def _written(view: Relation, query: Any, access: Access, env: Environment) -> Iterator[Access]:
    """Only a view over one relation can be written to, and only its plain columns."""
    sources: Any = getattr(query, "fromClause", None) or ()
    if len(sources) != 1 or not isinstance(sources[0], ast.RangeVar):
        return
    plain = {
        column: _last(target.val)
        for column, target in zip(view.columns, query.targetList or (), strict=False)
        if isinstance(target.val, ast.ColumnRef)
    }
    columns = None if access.columns is None else [plain[c] for c in access.columns if c in plain]
    yield _on(env.find_relation(sources[0]), access, columns)


def _last(column: ast.ColumnRef) -> str:
    name: Any = (column.fields or ())[-1:]
    return str(name[0].sval)


def _on(relation: Relation, access: Access, columns: Iterable[str] | None) -> Access:
    return access_to(relation, access.privilege, columns, access.where)


def _relations(node: Any, env: Environment) -> Iterator[Relation]:
    """All that a tree names, but for its CTEs."""
    if isinstance(node, ast.RangeVar):
        found = env.look_up(node.schemaname, node.relname or "") if node.schemaname else None
        if found is not None:
            yield found
    elif isinstance(node, ast.Node):
        for name in node:
            yield from _relations(getattr(node, name), env)
    elif isinstance(node, tuple):
        for item in node:
            yield from _relations(item, env)
