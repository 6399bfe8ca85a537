"""Columns of views that plainly are a column of a table: what a label on the table's column reaches.

Read from the text that pg_get_viewdef gives with an empty search_path: every relation qualified. Plain is a bare column
reference in the target list of one SELECT; anything computed, and any query that this reading does not know, is not.
"""

from collections.abc import Mapping
from typing import Any

from pglast import ast, parse_sql
from pglast.parser import ParseError

Name = tuple[str, str]
Source = tuple[str, str, str, str]


def plain_sources(views: Mapping[Name, tuple[str, tuple[str, ...]]]) -> dict[Name, tuple[Source, ...]]:
    """For each view (definition, columns), its (column, schema, table, column), views under views followed down."""
    direct = {name: _direct(definition, columns) for name, (definition, columns) in views.items()}
    return {name: tuple(sorted(_followed(name, direct, frozenset()))) for name in views}


def _followed(name: Name, direct: Mapping[Name, set[Source]], above: frozenset[Name]) -> set[Source]:
    found: set[Source] = set()
    for column, schema, table, source in direct[name]:
        found.add((column, schema, table, source))
        under = (schema, table)
        if under in direct and under not in above:
            deeper = _followed(under, direct, above | {name})
            found |= {(column, s, t, c) for own, s, t, c in deeper if own == source}
    return found


def _direct(definition: str, columns: tuple[str, ...]) -> set[Source]:
    try:
        select: Any = parse_sql(definition)[0].stmt
    except (ParseError, RecursionError):
        return set()
    if not isinstance(select, ast.SelectStmt) or not select.targetList or len(select.targetList) != len(columns):
        return set()
    ctes = {cte.ctename for cte in select.withClause.ctes or ()} if select.withClause is not None else set()
    tables: dict[str, Name] = {}
    for node in select.fromClause or ():
        _gather(node, tables)
    found = set()
    for column, target in zip(columns, select.targetList, strict=True):
        if not isinstance(target.val, ast.ColumnRef):
            continue
        names = [field.sval or "" for field in target.val.fields or () if isinstance(field, ast.String)]
        alias = (
            names[-2]
            if len(names) > 1
            else next(iter(tables))
            if tables and len(select.fromClause or ()) == 1
            else None
        )
        if alias in tables and alias not in ctes and names:
            found.add((column, *tables[alias], names[-1]))
    return found


def _gather(node: Any, tables: dict[str, Name]) -> None:
    """The relations of FROM by alias."""
    if isinstance(node, ast.JoinExpr):
        _gather(node.larg, tables)
        _gather(node.rarg, tables)
    elif isinstance(node, ast.RangeVar) and node.schemaname:
        alias = node.alias.aliasname if node.alias is not None else node.relname
        tables[alias or ""] = (node.schemaname, node.relname or "")
