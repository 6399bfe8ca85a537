"""Calls of functions, operators and casts: which ones the database may pick, and the access that each is.

Which overload the database picks depends on types. Candidates are told apart by the number of arguments here, and every
one that the search_path can reach is an access: more than the database will use, never less (design, section 4).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pglast import ast

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.sqlstate import SqlState
from pgguard.sql.catalog import Function
from pgguard.sql.environment import Environment, Unresolved
from pgguard.sql.special_functions import SPECIAL_FUNCTIONS

_BUILT_IN = "pg_catalog"
ANY_OBJECT = "*"


def names_of(nodes: Iterable[Any] | None) -> list[str]:
    """The strings of a list of String nodes."""
    return [node.sval for node in nodes or ()]


def find_functions(env: Environment, parts: Sequence[str], count: int) -> list[Function]:
    """All functions that a call with this many arguments may mean."""
    found = [f for f in env.catalog.functions(parts[-1]) if f.takes(count)]
    if len(parts) > 1:
        return [f for f in found if f.schema == parts[-2]]
    env.needs_settings = True
    return [f for f in found if f.schema in env.settings.search_path]


def call(env: Environment, parts: Sequence[str], arguments: Sequence[Any], location: int | None) -> list[Function]:
    """Report a call's accesses; the candidates. Raises Unresolved (42883) where there is none.

    A call of one argument may also be a cast written as a call, or the field of a row: neither is a function.
    """
    found = find_functions(env, parts, len(arguments))
    if not found:
        if len(arguments) == 1 and (_is_type(env, parts) or isinstance(arguments[0], ast.ColumnRef)):
            return []
        name = ".".join(parts)
        raise Unresolved(
            SqlState.UNDEFINED_FUNCTION,
            f"function {name}({', '.join('unknown' for _ in arguments)}) does not exist",
            location,
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )
    for function in found:
        report(env, function, arguments)
    return found


def report(env: Environment, function: Function, arguments: Sequence[Any]) -> None:
    """The access that a call of this function is."""
    special = SPECIAL_FUNCTIONS.get(function.name) if function.schema == _BUILT_IN else None
    if special is None:
        execute(env, (function.schema, function.name, function.arguments))
        env.unsettles = env.unsettles or function.may_set
        return
    env.unsettles = env.unsettles or special.unsettles
    constant = None
    if special.argument is not None and special.argument < len(arguments):
        constant = constant_text(arguments[special.argument])
    env.add(Access(special.privilege, special.kind, _special_object(env, special.kind, constant)))


def _special_object(env: Environment, kind: Kind, constant: str | None) -> ObjectName:
    if constant is None:
        return ObjectName(ANY_OBJECT, ANY_OBJECT) if kind is Kind.SEQUENCE else ObjectName(ANY_OBJECT)
    if kind is Kind.SETTING:
        return ObjectName(constant.lower())
    if kind is not Kind.SEQUENCE:
        return ObjectName(constant)
    parts = split_identifiers(constant)
    found = env.look_up(parts[-2] if len(parts) > 1 else None, parts[-1])
    if found is None:
        raise Unresolved(SqlState.UNDEFINED_TABLE, f'relation "{constant}" does not exist')
    return ObjectName(found.name, found.schema)


def execute(env: Environment, function: tuple[str, str, tuple[str, ...]]) -> None:
    schema, name, arguments = function
    env.add(Access(Privilege.EXECUTE, Kind.FUNCTION, ObjectName(name, schema, arguments)))


def operator(env: Environment, parts: Sequence[str]) -> None:
    """An operator: an access where it may be one of the users'."""
    for candidate in env.catalog.operators(parts[-1]):
        if candidate.function[0] == _BUILT_IN:
            continue
        if (len(parts) > 1 and candidate.schema == parts[-2]) or (
            len(parts) == 1 and candidate.schema in env.settings.search_path
        ):
            execute(env, candidate.function)
    if len(parts) == 1:
        env.needs_settings = True


def cast(env: Environment, target: ast.TypeName | None) -> None:
    """A cast: an access where a function of the users' may do it."""
    if target is None or not env.catalog.user_casts:
        return
    name = names_of(target.names)[-1]
    for candidate in env.catalog.user_casts:
        if candidate.function is not None and name in {candidate.target[1], candidate.source[1]}:
            execute(env, candidate.function)


def _is_type(env: Environment, parts: Sequence[str]) -> bool:
    schemas = (parts[-2],) if len(parts) > 1 else env.settings.search_path
    return any(env.catalog.has_type(schema, parts[-1]) for schema in schemas)


def constant_text(node: Any) -> str | None:
    """The text of a string or number written as a constant, a cast around it or not; None for anything else."""
    if isinstance(node, ast.TypeCast):
        return constant_text(node.arg)
    if isinstance(node, ast.NamedArgExpr):
        return constant_text(node.arg)
    if not isinstance(node, ast.A_Const) or node.isnull:
        return None
    value: Any = node.val
    for attribute in ("sval", "ival", "fval"):
        found = getattr(value, attribute, None)
        if found is not None:
            return str(found)
    return None


def split_identifiers(text: str) -> list[str]:
    """A qualified name in a string, as nextval takes it: unquoted parts folded to lower case."""
    parts, part, quoted, at = [], "", False, 0
    while at < len(text):
        char = text[at]
        if char == '"':
            if quoted and text[at + 1 : at + 2] == '"':
                part += char
                at += 1
            else:
                quoted = not quoted
        elif char == "." and not quoted:
            parts.append(part)
            part = ""
        else:
            part += char if quoted else char.lower()
        at += 1
    return [*parts, part.strip()]
