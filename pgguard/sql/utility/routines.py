"""Functions, procedures and schemas: statements that hold other statements.

A body in SQL is judged as if it ran, its parameters being columns of a level around it; a body in another language
cannot be seen into: its creation is the access, with `usage` of the language.
"""

from typing import Any

from pglast import ast
from pglast.enums import FunctionParameterMode

from pgguard.model.access import Kind, Privilege
from pgguard.sql import functions, types
from pgguard.sql.environment import Environment, Opaque
from pgguard.sql.expressions import walk
from pgguard.sql.level import Level
from pgguard.sql.parse import SyntaxProblem, parse
from pgguard.sql.queries import collect
from pgguard.sql.scope import Column, Item
from pgguard.sql.utility.names import Collector, touch
from pgguard.sql.utility.tables import functions_in

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
    for option in node.options or ():
        if option.defname == "set" and isinstance(option.arg, ast.VariableSetStmt):
            env.touch(Privilege.SET, Kind.SETTING, (option.arg.name or "all").lower())
        elif option.defname == "support":
            raise Opaque("a planner support function")
    if language == "sql":
        _body(node, options, env)
    return "CREATE PROCEDURE" if node.is_procedure else "CREATE FUNCTION"


def _body(node: ast.CreateFunctionStmt, options: dict[str | None, Any], env: Environment) -> None:
    if "set" in options:
        raise Opaque("a body in SQL whose names a SET clause may change")
    body: Any = node.sql_body
    if body is None:
        body = _parsed(options.get("as"))
    for statement in _flat(body):
        _statement(statement, node, env)


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


def _statement(statement: Any, node: ast.CreateFunctionStmt, env: Environment) -> None:
    level = Level(env, collect)
    names = [
        Column(p.name, types.named(env, p.argType)) for p in node.parameters or () if p.name and p.mode not in _OUTPUT
    ]
    level.scope.add(Item(functions.names_of(node.funcname)[-1], names))
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
    if node.schemaElts:
        raise Opaque("CREATE SCHEMA with objects in it; send them as statements of their own")
    if role is not None and role != env.settings.current_user:
        env.touch(Privilege.GRANT, Kind.SCHEMA, name)
    return "CREATE SCHEMA"


ROUTINES: dict[type, Collector] = {
    ast.CreateFunctionStmt: _function,
    ast.CreateSchemaStmt: _schema,
}
