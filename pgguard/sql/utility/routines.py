"""Functions, procedures and schemas: statements that hold other statements.

A body in SQL is judged as if it ran, its parameters being columns of a level around it; a body in another language
cannot be seen into: its creation is the access, with `usage` of the language. A body that is a text is read anew at
each call, under the caller's search_path: so its names must mean the same under every path, that is, be qualified or
built in. BEGIN ATOMIC is read once (PostgreSQL docs, CREATE FUNCTION, "sql_body").
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from pglast import ast
from pglast.enums import FunctionParameterMode

from pgguard.model.access import Kind, Privilege
from pgguard.sql import functions, types
from pgguard.sql.catalog import Relation
from pgguard.sql.environment import Environment, Opaque, Unresolved
from pgguard.sql.expressions import walk
from pgguard.sql.level import Level, renamed
from pgguard.sql.parse import SyntaxProblem, parse
from pgguard.sql.queries import collect, collect_query
from pgguard.sql.scope import Column, Item
from pgguard.sql.utility.names import Collector, touch, touch_object
from pgguard.sql.utility.objects import OBJECTS
from pgguard.sql.utility.tables import TABLES, functions_in

_OUTPUT = frozenset({FunctionParameterMode.FUNC_PARAM_OUT, FunctionParameterMode.FUNC_PARAM_TABLE})
_QUERIES = (ast.SelectStmt, ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)


def _function(node: ast.CreateFunctionStmt, env: Environment) -> str:
    touch(env, Privilege.CREATE, Kind.FUNCTION, functions.names_of(node.funcname))
    for parameter in node.parameters or ():
        functions_in(parameter.defexpr, env)
    options = {option.defname: option.arg for option in node.options or ()}
    written = options.get("language")
    language = (written.sval or "sql").lower() if isinstance(written, ast.String) else "sql"
    env.touch(Privilege.USAGE, Kind.LANGUAGE, language)
    _settings(node.options, env)
    if language == "sql":
        _body(node, options, env)
    return "CREATE PROCEDURE" if node.is_procedure else "CREATE FUNCTION"


def _alter_function(node: ast.AlterFunctionStmt, env: Environment) -> str:
    """What it changes holds at every later call, as what CREATE says does."""
    touch_object(env, Privilege.ALTER, Kind.FUNCTION, node.func)
    _settings(node.actions, env)
    return "ALTER FUNCTION"


def _settings(options: Iterable[ast.DefElem] | None, env: Environment) -> None:
    """The SET clauses, by which calls change settings; a support function runs while statements are planned."""
    for option in options or ():
        if option.defname == "set" and isinstance(option.arg, ast.VariableSetStmt):
            env.touch(Privilege.SET, Kind.SETTING, (option.arg.name or "all").lower())
        elif option.defname == "support":
            raise Opaque("a planner support function")


def _body(node: ast.CreateFunctionStmt, options: dict[str | None, Any], env: Environment) -> None:
    if "set" in options:
        raise Opaque("a body in SQL whose names a SET clause may change")
    parameters = _parameters(node, env)
    if node.sql_body is not None:
        for statement in _flat(node.sql_body):
            _statement(statement, parameters, env)
        return
    parsed = _parsed(options.get("as"))
    settings, env.settings = env.settings, msgspec.structs.replace(env.settings, search_path=("pg_catalog",))
    try:
        for statement in parsed:
            _statement(statement, parameters, env)
    except Unresolved as unresolved:
        raise Opaque("a body in SQL with names that the search_path of each call decides") from unresolved
    finally:
        env.settings = settings


def _parsed(written: Any) -> list[Any]:
    texts = functions.names_of(written if isinstance(written, (tuple, list)) else ())
    if len(texts) != 1:
        raise Opaque("a body in SQL that is no single text")
    try:
        return [parsed.tree for parsed in parse(texts[0])]
    except SyntaxProblem as problem:
        raise Opaque(f"a body in SQL that does not parse: {problem}") from problem


def _flat(body: Any) -> list[Any]:
    """BEGIN ATOMIC comes as a list of lists."""
    if isinstance(body, (tuple, list)):
        return [one for part in body for one in _flat(part)]
    return [body]


def _parameters(node: ast.CreateFunctionStmt, env: Environment) -> Item:
    names = [
        Column(p.name, types.named(env, p.argType)) for p in node.parameters or () if p.name and p.mode not in _OUTPUT
    ]
    return Item(functions.names_of(node.funcname)[-1], names)


def _statement(statement: Any, parameters: Item, env: Environment) -> None:
    level = Level(env, collect)
    level.scope.add(parameters)
    if isinstance(statement, ast.ReturnStmt):
        walk(statement.returnval, level)
    elif isinstance(statement, _QUERIES) and getattr(statement, "intoClause", None) is None:
        level.query(statement, level.inner(level.scope))
    else:
        raise Opaque(f"a body in SQL with a statement of kind {type(statement).__name__}")


def _schema(node: ast.CreateSchemaStmt, env: Environment) -> str:
    role = node.authrole.rolename if node.authrole is not None else None
    name = node.schemaname or role or env.settings.current_user
    touch(env, Privilege.CREATE, Kind.SCHEMA, [name])
    if role is not None and role != env.settings.current_user:
        env.touch(Privilege.GRANT, Kind.SCHEMA, name)
    if node.schemaElts:
        _schema_elements(node.schemaElts, name, env)
    return "CREATE SCHEMA"


def _schema_elements(elements: Iterable[Any], name: str, env: Environment) -> None:
    """What is created in the schema, which comes first on the search_path meanwhile; views may name its tables.

    The order is PostgreSQL's own, not that of the text (PostgreSQL source, transformCreateSchemaStmt).
    """
    settings, catalog = env.settings, env.catalog
    env.settings = msgspec.structs.replace(settings, search_path=(name, *settings.search_path), creates_in=name)
    try:
        for class_, collector in _ELEMENTS.items():
            for element in elements:
                if isinstance(element, class_):
                    collector(element, env)
                    env.catalog = env.catalog.overlaid(_made(element, name, env))
    finally:
        env.settings, env.catalog = settings, catalog
    for element in elements:
        if type(element) not in _ELEMENTS:
            raise Opaque(f"an element of CREATE SCHEMA of kind {type(element).__name__} is not understood")


def _made(element: Any, schema: str, env: Environment) -> list[Relation]:
    """The relation that an element makes, as the ones after it see it; LIKE and INHERITS leave its columns open."""
    if isinstance(element, ast.CreateSeqStmt) and element.sequence is not None:
        return [Relation(schema, element.sequence.relname or "", "S")]
    if isinstance(element, ast.ViewStmt) and element.view is not None:
        columns = renamed(collect_query(element.query, env), functions.names_of(element.aliases))
        return [Relation(schema, element.view.relname or "", "v", tuple(c.name for c in columns or ()))]
    if isinstance(element, ast.CreateStmt) and element.relation is not None:
        names = tuple(e.colname or "" for e in element.tableElts or () if isinstance(e, ast.ColumnDef))
        return [Relation(schema, element.relation.relname or "", "r", names)]
    return []


_ELEMENTS: dict[type, Collector] = {
    ast.CreateSeqStmt: OBJECTS[ast.CreateSeqStmt],
    ast.CreateStmt: TABLES[ast.CreateStmt],
    ast.ViewStmt: TABLES[ast.ViewStmt],
    ast.IndexStmt: TABLES[ast.IndexStmt],
    ast.CreateTrigStmt: TABLES[ast.CreateTrigStmt],
    ast.GrantStmt: OBJECTS[ast.GrantStmt],
}


ROUTINES: dict[type, Collector] = {
    ast.CreateFunctionStmt: _function,
    ast.AlterFunctionStmt: _alter_function,
    ast.CreateSchemaStmt: _schema,
}
