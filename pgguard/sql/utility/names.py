"""How DDL names its objects: the kind, the command tag, and the stored name behind what was written."""

from collections.abc import Callable, Sequence
from typing import Any

from pglast import ast
from pglast.enums import ObjectType

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.sqlstate import SqlState
from pgguard.sql import functions, types
from pgguard.sql.catalog import Function, Relation
from pgguard.sql.environment import Environment, Opaque, Unresolved

_BUILT_IN = "pg_catalog"

Collector = Callable[[Any, Environment], str]
"""Reports the accesses of a statement; its command tag."""

_O = ObjectType

KINDS: dict[object, Kind] = {
    _O.OBJECT_TABLE: Kind.TABLE, _O.OBJECT_VIEW: Kind.TABLE, _O.OBJECT_MATVIEW: Kind.TABLE,
    _O.OBJECT_FOREIGN_TABLE: Kind.TABLE, _O.OBJECT_INDEX: Kind.TABLE, _O.OBJECT_SEQUENCE: Kind.SEQUENCE,
    _O.OBJECT_COLUMN: Kind.TABLE, _O.OBJECT_TABCONSTRAINT: Kind.TABLE, _O.OBJECT_RULE: Kind.TABLE,
    _O.OBJECT_TRIGGER: Kind.TABLE, _O.OBJECT_POLICY: Kind.TABLE, _O.OBJECT_STATISTIC_EXT: Kind.TABLE,
    _O.OBJECT_FUNCTION: Kind.FUNCTION, _O.OBJECT_PROCEDURE: Kind.FUNCTION, _O.OBJECT_ROUTINE: Kind.FUNCTION,
    _O.OBJECT_AGGREGATE: Kind.FUNCTION, _O.OBJECT_SCHEMA: Kind.SCHEMA, _O.OBJECT_TYPE: Kind.TYPE,
    _O.OBJECT_DOMAIN: Kind.TYPE, _O.OBJECT_DOMCONSTRAINT: Kind.TYPE, _O.OBJECT_ATTRIBUTE: Kind.TYPE,
    _O.OBJECT_EXTENSION: Kind.EXTENSION, _O.OBJECT_LANGUAGE: Kind.LANGUAGE, _O.OBJECT_FDW: Kind.FOREIGN_DATA_WRAPPER,
    _O.OBJECT_FOREIGN_SERVER: Kind.FOREIGN_SERVER, _O.OBJECT_USER_MAPPING: Kind.FOREIGN_SERVER,
    _O.OBJECT_PUBLICATION: Kind.PUBLICATION, _O.OBJECT_SUBSCRIPTION: Kind.SUBSCRIPTION,
    _O.OBJECT_EVENT_TRIGGER: Kind.EVENT_TRIGGER, _O.OBJECT_TABLESPACE: Kind.TABLESPACE,
    _O.OBJECT_COLLATION: Kind.COLLATION, _O.OBJECT_CONVERSION: Kind.CONVERSION, _O.OBJECT_CAST: Kind.CAST,
    _O.OBJECT_TRANSFORM: Kind.TRANSFORM, _O.OBJECT_OPERATOR: Kind.OPERATOR, _O.OBJECT_OPCLASS: Kind.OPERATOR_CLASS,
    _O.OBJECT_OPFAMILY: Kind.OPERATOR_FAMILY, _O.OBJECT_ACCESS_METHOD: Kind.ACCESS_METHOD,
    _O.OBJECT_TSPARSER: Kind.TEXT_SEARCH, _O.OBJECT_TSDICTIONARY: Kind.TEXT_SEARCH,
    _O.OBJECT_TSTEMPLATE: Kind.TEXT_SEARCH, _O.OBJECT_TSCONFIGURATION: Kind.TEXT_SEARCH,
    _O.OBJECT_DATABASE: Kind.DATABASE, _O.OBJECT_ROLE: Kind.ROLE, _O.OBJECT_LARGEOBJECT: Kind.LARGE_OBJECT,
    _O.OBJECT_PARAMETER_ACL: Kind.SETTING,
}  # fmt: skip

WITHOUT_SCHEMA = frozenset({
    Kind.SCHEMA, Kind.EXTENSION, Kind.LANGUAGE, Kind.FOREIGN_DATA_WRAPPER, Kind.FOREIGN_SERVER, Kind.PUBLICATION,
    Kind.SUBSCRIPTION, Kind.EVENT_TRIGGER, Kind.TABLESPACE, Kind.ACCESS_METHOD, Kind.DATABASE, Kind.ROLE, Kind.SETTING,
    Kind.LARGE_OBJECT, Kind.CAST, Kind.TRANSFORM,
})  # fmt: skip

ON_TABLE = frozenset({
    _O.OBJECT_RULE, _O.OBJECT_TRIGGER, _O.OBJECT_POLICY, _O.OBJECT_COLUMN, _O.OBJECT_TABCONSTRAINT,
})  # fmt: skip


def tag_of(node: Any, verb: str) -> str:
    """`ALTER TABLE` of OBJECT_TABLE and so on."""
    name = ObjectType(node).name.removeprefix("OBJECT_")
    return f"{verb} {_TAG_WORDS.get(name, name.replace('_', ' '))}"


_TAG_WORDS = {
    "MATVIEW": "MATERIALIZED VIEW", "FDW": "FOREIGN DATA WRAPPER", "FOREIGN_SERVER": "SERVER",
    "OPCLASS": "OPERATOR CLASS", "OPFAMILY": "OPERATOR FAMILY",
    "TSPARSER": "TEXT SEARCH PARSER", "TSDICTIONARY": "TEXT SEARCH DICTIONARY",
    "TSTEMPLATE": "TEXT SEARCH TEMPLATE", "TSCONFIGURATION": "TEXT SEARCH CONFIGURATION",
    "STATISTIC_EXT": "STATISTICS", "TABCONSTRAINT": "TABLE", "COLUMN": "TABLE", "DOMCONSTRAINT": "DOMAIN",
    "ATTRIBUTE": "TYPE", "LARGEOBJECT": "LARGE OBJECT",
}  # fmt: skip


def parts_of(object_: Any) -> list[str]:
    """The dotted name of whatever a DDL node names its object by."""
    match object_:
        case ast.String():
            return [object_.sval or ""]
        case ast.RangeVar():
            return [p for p in (object_.schemaname, object_.relname) if p]
        case ast.ObjectWithArgs():
            return functions.names_of(object_.objname)
        case ast.TypeName():
            return functions.names_of(object_.names)
        case ast.RoleSpec():
            return [object_.rolename or "current_user"]
        case tuple() | list():
            return [part for item in object_ for part in parts_of(item)]
        case ast.Integer():
            return [str(object_.ival)]
        case ast.Float():
            return [object_.fval or "*"]
        case _:
            raise Opaque(f"an object named by {type(object_).__name__} is not understood")


def parts_of_existing(env: Environment, kind: Kind, object_: Any) -> list[str]:
    """The name of an object that exists, as the statement that made it gives it."""
    if kind is Kind.CAST:
        source, target = object_
        return [cast_name(env, source, target)]
    if kind is Kind.TRANSFORM:
        of, language = object_
        return [transform_name(env, of, language.sval or "")]
    parts = parts_of(object_)
    return parts[1:] if kind in {Kind.OPERATOR_CLASS, Kind.OPERATOR_FAMILY} else parts  # behind the access method


def cast_name(env: Environment, source: Any, target: Any) -> str:
    return f"{_type_name(env, source)} as {_type_name(env, target)}"


def transform_name(env: Environment, of: Any, language: str) -> str:
    return f"{_type_name(env, of)} language {language}"


def _type_name(env: Environment, written: ast.TypeName) -> str:
    """The same for each way of writing it, so that a rule that denies it is met by all."""
    known = env.catalog.type_by_oid(types.named(env, written))
    return ".".join(parts_of(written)) if known is None else f"{known.schema}.{known.name}"


def name_of(env: Environment, kind: Kind, parts: Sequence[str]) -> ObjectName:
    """The name of an object that exists, or is to: by its schema, or the one it is found in or created in."""
    return names_of_existing(env, kind, parts)[0]


def new_name(env: Environment, kind: Kind, parts: Sequence[str]) -> ObjectName:
    """The name of an object that is to be."""
    if kind in WITHOUT_SCHEMA or len(parts) > 1:
        return _qualified(kind, parts)
    env.needs_settings = True
    return ObjectName(parts[-1], env.settings.creation_schema or "public")


def _qualified(kind: Kind, parts: Sequence[str]) -> ObjectName:
    name = parts[-1] if parts else "*"
    return ObjectName(name) if kind in WITHOUT_SCHEMA else ObjectName(name, parts[-2])


def names_of_existing(env: Environment, kind: Kind, parts: Sequence[str]) -> list[ObjectName]:
    """The names that an object which exists may have: it is the first of its name on the search_path.

    Or one behind it, since who drops the first can do so while the statement waits (hiding.py); but pg_catalog's stay.
    Of kinds that the catalog does not hold, it may be in any schema on the path.
    """
    if kind in WITHOUT_SCHEMA or len(parts) > 1:
        return [_qualified(kind, parts)]
    env.needs_settings = True
    name, path = parts[-1] if parts else "*", env.settings.search_path
    there = _schemas_with(env, kind, name)
    if there is not None:
        found = [schema for schema in path if schema in there]
        reached = found[:1] if found[:1] == [_BUILT_IN] else found
        return [ObjectName(name, schema) for schema in reached or [env.settings.creation_schema or "public"]]
    own = [schema for schema in path if schema != _BUILT_IN]
    return [ObjectName(name, schema) for schema in own or path] or [ObjectName(name, "public")]


def _schemas_with(env: Environment, kind: Kind, name: str) -> set[str] | None:
    """The schemas with an object of this kind and name; None where the catalog does not tell."""
    match kind:
        case Kind.TABLE | Kind.SEQUENCE:
            relation = env.look_up(None, name)
            return set() if relation is None else {relation.schema}
        case Kind.FUNCTION:
            return {function.schema for function in env.catalog.functions(name)}
        case Kind.OPERATOR:
            return {operator.schema for operator in env.catalog.operators(name)}
        case Kind.TYPE:
            return {schema for schema in env.settings.search_path if env.catalog.has_type(schema, name)}
        case _:
            return None


def touch(
    env: Environment, privilege: Privilege, kind: Kind, parts: Sequence[str], *, missing_ok: bool = False
) -> None:
    """An access to an object that exists, or with CREATE is to. Raises Unresolved for a relation that does not."""
    env.changes_catalog = True
    if privilege is Privilege.CREATE:
        env.add(Access(privilege, kind, new_name(env, kind, parts)))
        return
    if kind not in {Kind.TABLE, Kind.SEQUENCE}:
        for name in names_of_existing(env, kind, parts):
            env.add(Access(privilege, kind, name))
        return
    relation = env.look_up(parts[-2] if len(parts) > 1 else None, parts[-1])
    if relation is not None:
        touch_relation(env, privilege, relation)
    elif missing_ok:
        env.add(Access(privilege, kind, name_of(env, kind, parts)))
    else:
        raise Unresolved(SqlState.UNDEFINED_TABLE, f'relation "{".".join(parts)}" does not exist')


def touch_relation(env: Environment, privilege: Privilege, relation: Relation) -> None:
    """An access to a relation; an index is its table, and changed rather than dropped (rule language, section 2)."""
    if relation.table is not None:
        table = env.catalog.relation(*relation.table)
        if table is not None:
            relation = table
            privilege = Privilege.ALTER if privilege is Privilege.DROP else privilege
    env.relation_access(privilege, relation)


def touch_descendants(env: Environment, name: ast.RangeVar) -> None:
    """Without ONLY, what changes a table changes its partitions and heirs, and asks for their ownership too."""
    relation = env.look_up(name.schemaname, name.relname or "") if name.inh else None
    for descendant in [] if relation is None else env.catalog.descendants(relation):
        touch_relation(env, Privilege.ALTER, descendant)


def touch_functions(env: Environment, privilege: Privilege, object_: Any, *, missing_ok: bool = False) -> None:
    """An access to each function that a name, with its argument types or without, may mean."""
    env.changes_catalog = True
    found = functions_named(env, object_)
    for function in found:
        env.add(Access(privilege, Kind.FUNCTION, ObjectName(function.name, function.schema, function.arguments)))
    if found:
        return
    parts = parts_of(object_)
    if not missing_ok:
        raise Unresolved(SqlState.UNDEFINED_FUNCTION, f"function {'.'.join(parts)} does not exist")
    env.add(Access(privilege, Kind.FUNCTION, name_of(env, Kind.FUNCTION, parts)))


def touch_object(env: Environment, privilege: Privilege, kind: Kind, object_: Any, *, missing_ok: bool = False) -> None:
    """An access to what a DDL node names."""
    if kind is Kind.FUNCTION and privilege is not Privilege.CREATE:
        touch_functions(env, privilege, object_, missing_ok=missing_ok)
    elif isinstance(object_, ast.ObjectWithArgs) and (found := _operators_named(env, object_)):
        env.changes_catalog = True
        for name in found:
            env.add(Access(privilege, kind, name))
    else:
        touch(env, privilege, kind, parts_of_existing(env, kind, object_), missing_ok=missing_ok)


def functions_named(env: Environment, object_: Any) -> list[Function]:
    """The functions that a name may mean: told apart by the number of arguments, and their types where these agree."""
    parts = parts_of(object_)
    if len(parts) > 1:
        schemas: Sequence[str] = (env.schema(parts[-2]),)
    else:
        env.needs_settings = True
        schemas = env.settings.search_path
    found = [f for f in env.catalog.functions(parts[-1]) if f.schema in schemas]
    if not isinstance(object_, ast.ObjectWithArgs) or object_.args_unspecified:
        return found
    given = [node for node in object_.objargs or () if node is not None]
    found = [f for f in found if len(f.arguments) == len(given)] or found
    same = [f for f in found if all(_is(env, t, o) for t, o in zip(given, f.argument_types, strict=False))]
    return same or found


def _operators_named(env: Environment, object_: ast.ObjectWithArgs) -> list[ObjectName]:
    """The operators that a name with its operands' types may mean, as far as the catalog knows them."""
    parts = parts_of(object_)
    env.needs_settings = env.needs_settings or len(parts) == 1
    schemas: Sequence[str] = parts[-2:-1] or env.settings.search_path
    operands = tuple(object_.objargs or ())
    found = [
        operator.schema
        for operator in env.catalog.operators(parts[-1])
        if operator.schema in schemas
        and all(
            oid == 0 if written is None else _is(env, written, oid)
            for written, oid in zip(operands, (operator.left, operator.right), strict=False)
        )
    ]
    return [ObjectName(parts[-1], schema) for schema in sorted(set(found))]


def _is(env: Environment, written: ast.TypeName, oid: int) -> bool:
    known = env.catalog.type_by_oid(oid)
    if known is None:
        return True
    name = parts_of(written)[-1]
    return known.name == (f"_{name}" if written.arrayBounds else name)


def create_name(env: Environment, name: ast.RangeVar, kind: Kind = Kind.TABLE) -> None:
    """CREATE of a relation; a temporary one needs `temp` on the database instead."""
    env.changes_catalog = True
    env.needs_settings = env.needs_settings or not name.schemaname
    unnamed = not name.schemaname and env.settings.creates_temporary
    if name.relpersistence == "t" or unnamed or (name.schemaname or "").startswith("pg_temp"):
        env.touch(Privilege.TEMP, Kind.DATABASE, env.catalog.snapshot.database)
        env.unsettles = True  # the session's temporary schema may come into being
    else:
        env.add(Access(Privilege.CREATE, kind, env.new_name(name)))


def execute_named(env: Environment, names: Any) -> None:
    """A function that DDL names without arguments, to be run later: every overload may be meant."""
    parts = parts_of(names)
    if not parts or parts == ["none"]:
        return
    for function in functions_named(env, names):
        functions.execute(env, (function.schema, function.name, function.arguments))
