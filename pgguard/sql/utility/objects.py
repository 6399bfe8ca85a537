"""Objects of any kind: DROP, RENAME, SET SCHEMA, OWNER, COMMENT, GRANT, CREATE and ALTER of what is no table."""

from collections.abc import Sequence
from typing import Any

from pglast import ast
from pglast.enums import ObjectType

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.sqlstate import SqlState
from pgguard.sql import functions
from pgguard.sql.catalog import Relation
from pgguard.sql.environment import Environment, Opaque, Unresolved
from pgguard.sql.utility.names import (
    KINDS,
    ON_TABLE,
    Collector,
    cast_name,
    create_name,
    execute_named,
    functions_named,
    names_of_existing,
    parts_of,
    parts_of_existing,
    tag_of,
    touch,
    touch_descendants,
    touch_functions,
    touch_object,
    touch_relation,
    transform_name,
)
from pgguard.sql.utility.tables import functions_in

_P = Privilege
_O = ObjectType


def _drop(node: ast.DropStmt, env: Environment) -> str:
    kind = KINDS[node.removeType]
    missing_ok = bool(node.missing_ok)
    for object_ in node.objects or ():
        parts = parts_of(object_)
        if node.removeType == _O.OBJECT_STATISTIC_EXT:
            _alter_any_table(env)
            continue
        if node.removeType in ON_TABLE:
            touch(env, _P.ALTER, kind, parts[:-1], missing_ok=missing_ok)
        elif kind in {Kind.TABLE, Kind.SEQUENCE}:
            if not missing_ok:
                _must_exist(node.removeType, parts, env)
            touch(env, _P.ALTER if node.removeType == _O.OBJECT_INDEX else _P.DROP, kind, parts, missing_ok=missing_ok)
        else:
            touch_object(env, _P.DROP, kind, object_, missing_ok=missing_ok)
        if node.removeType == _O.OBJECT_TABLE:
            _partitions(env, parts)
        if node.behavior == _DROP_CASCADE:
            _cascade(env, kind, parts)
    return tag_of(node.removeType, "DROP")


_NO_TABLE = frozenset({_O.OBJECT_INDEX, _O.OBJECT_FOREIGN_TABLE})
"""Relations that are missing with 42704 instead of 42P01 (PostgreSQL source, dropmsgstringarray)."""


def _must_exist(type_: Any, parts: Sequence[str], env: Environment) -> None:
    """The error of a DROP is one of its own. Raises Unresolved."""
    schema = parts[-2] if len(parts) > 1 else None
    if schema is not None and schema != "pg_temp" and schema not in env.catalog.schemas:
        raise Unresolved(SqlState.INVALID_SCHEMA_NAME, f'schema "{schema}" does not exist')
    if env.look_up(schema, parts[-1]) is None:
        state = SqlState.UNDEFINED_OBJECT if type_ in _NO_TABLE else SqlState.UNDEFINED_TABLE
        word = tag_of(type_, "DROP").removeprefix("DROP ").lower()
        raise Unresolved(state, f'{word} "{parts[-1]}" does not exist')


_DROP_CASCADE = 1


def _partitions(env: Environment, parts: Sequence[str]) -> None:
    """Partitions go with their table, CASCADE or not."""
    relation = env.look_up(parts[-2] if len(parts) > 1 else None, parts[-1])
    if relation is not None and relation.kind == _PARTITIONED:
        for partition in env.catalog.descendants(relation):
            touch_relation(env, _P.DROP, partition)


_PARTITIONED = "p"
_COMPOSITE = "c"
_ROWS = "cm"
"""Row types go with their relations, multiranges with their ranges."""


def _cascade(env: Environment, kind: Kind, parts: Sequence[str]) -> None:
    """CASCADE is `drop` of each dependent; of a table a foreign key points at, `alter` on the one it stands in."""
    if kind is Kind.SCHEMA:
        found = env.catalog.relations_in(parts[-1])
        made = _drop_contents(env, parts[-1])
    elif kind is Kind.TABLE:
        relation = env.look_up(parts[-2] if len(parts) > 1 else None, parts[-1])
        found = [] if relation is None else [relation, *env.catalog.descendants(relation)]
        made = {oid for r in found if r.row_type for oid in (r.row_type, _array_of(env, r.row_type))}
    else:
        raise Opaque("CASCADE drops more than the statement names")
    for relation in found:
        if relation.kind == _COMPOSITE:
            env.add(Access(_P.DROP, Kind.TYPE, ObjectName(relation.name, relation.schema)))
        elif relation.table is None:
            touch_relation(env, _P.DROP, relation)
        _drop_tied(env, relation)
    gone = frozenset(name for r in found for name in ((r.schema, r.name), *r.dependents))
    if env.catalog.uses_of_types(frozenset(made) - {0}, gone, parts[-1] if kind is Kind.SCHEMA else ""):
        raise Opaque("CASCADE drops more than the statement names: something else is made with a type that goes")


def _drop_contents(env: Environment, schema: str) -> set[int]:
    """The functions and types of a schema; the numbers of the types."""
    for function in env.catalog.functions_in(schema):
        env.add(Access(_P.DROP, Kind.FUNCTION, ObjectName(function.name, function.schema, function.arguments)))
    made = [type_ for type_ in env.catalog.snapshot.types if type_.schema == schema]
    for type_ in made:
        if type_.kind not in _ROWS and not type_.is_array:
            env.add(Access(_P.DROP, Kind.TYPE, ObjectName(type_.name, type_.schema)))
    return {type_.oid for type_ in made}


def _drop_tied(env: Environment, relation: Relation) -> None:
    for privilege, names in ((_P.DROP, relation.dependents), (_P.ALTER, relation.referenced_by)):
        for name in names:
            dependent = env.catalog.relation(*name)
            if dependent is not None:
                touch_relation(env, privilege, dependent)


def _array_of(env: Environment, row_type: int) -> int:
    known = env.catalog.type_by_oid(row_type)
    return 0 if known is None else known.array


def _rename(node: ast.RenameStmt, env: Environment) -> str:
    if node.renameType == _O.OBJECT_STATISTIC_EXT:
        return _statistics(node, env)
    kind = KINDS[node.renameType]
    parts = (
        parts_of(node.relation)
        if node.relation is not None
        else parts_of_existing(env, kind, node.object)
        if node.object
        else [node.subname or ""]
    )
    if node.relation is not None and node.renameType in {_O.OBJECT_COLUMN, _O.OBJECT_TABCONSTRAINT}:
        touch_descendants(env, node.relation)
    if kind is Kind.FUNCTION:
        touch_functions(env, _P.ALTER, node.object)
    else:
        touch(
            env,
            _P.ALTER,
            kind,
            parts[:-1] if node.relation is None and node.renameType in ON_TABLE else parts,
            missing_ok=bool(node.missing_ok),
        )
    if node.renameType not in ON_TABLE and node.renameType not in {_O.OBJECT_ATTRIBUTE, _O.OBJECT_DOMCONSTRAINT}:
        for schema in _schemas(env, kind, node.object, parts):
            env.add(Access(_P.CREATE, kind, ObjectName(node.newname or "", schema)))
    return tag_of(node.renameType, "ALTER")


def _schemas(env: Environment, kind: Kind, object_: Any, parts: Sequence[str]) -> set[str | None]:
    """Where an object may be that exists."""
    found = functions_named(env, object_) if kind is Kind.FUNCTION else ()
    return {f.schema for f in found} or {name.schema for name in names_of_existing(env, kind, parts)}


def _set_schema(node: ast.AlterObjectSchemaStmt, env: Environment) -> str:
    if node.objectType == _O.OBJECT_STATISTIC_EXT:
        return _statistics(node, env)
    kind = KINDS[node.objectType]
    named = node.object if node.relation is None else node.relation
    touch_object(env, _P.ALTER, kind, named, missing_ok=bool(node.missing_ok))
    env.add(Access(_P.CREATE, kind, ObjectName(parts_of(named)[-1], node.newschema or "")))
    return tag_of(node.objectType, "ALTER")


def _owner(node: ast.AlterOwnerStmt, env: Environment) -> str:
    if node.objectType == _O.OBJECT_STATISTIC_EXT:
        return _statistics(node, env)
    touch_object(env, _P.GRANT, KINDS[node.objectType], node.relation or node.object)
    return tag_of(node.objectType, "ALTER")


def _comment(tag: str) -> Collector:
    def collector(node: Any, env: Environment) -> str:
        kind = KINDS[node.objtype]
        if node.objtype in ON_TABLE:
            touch(env, _P.ALTER, kind, parts_of(node.object)[:-1])
        elif node.objtype == _O.OBJECT_STATISTIC_EXT:
            _alter_any_table(env)
        elif node.objtype == _O.OBJECT_DOMCONSTRAINT:
            touch(env, _P.ALTER, kind, parts_of(node.object[0]))
        else:
            touch_object(env, _P.ALTER, kind, node.object)
        return tag

    return collector


def _grant(node: ast.GrantStmt, env: Environment) -> str:
    kind = KINDS[node.objtype]
    everything = node.targtype != 0  # ACL_TARGET_OBJECT
    for object_ in node.objects or ():
        parts = parts_of(object_)
        if everything:
            env.add(Access(_P.GRANT, kind, ObjectName("*", parts[-1])))
        else:
            touch_object(env, _P.GRANT, kind, object_)
    env.changes_catalog = True
    return "GRANT" if node.is_grant else "REVOKE"


def _grant_role(node: ast.GrantRoleStmt, env: Environment) -> str:
    for role in node.granted_roles or ():
        env.touch(_P.GRANT, Kind.ROLE, role.priv_name or "")
    return "GRANT ROLE" if node.is_grant else "REVOKE ROLE"


def _default_privileges(node: ast.AlterDefaultPrivilegesStmt, env: Environment) -> str:
    action: Any = node.action
    kind = KINDS[action.objtype]
    named = [option.arg for option in node.options or () if option.defname == "schemas"]
    for schema in [part for schemas in named for part in parts_of(schemas)] or ["*"]:
        env.add(Access(_P.GRANT, kind, ObjectName("*", None if kind is Kind.SCHEMA else schema)))
    return "ALTER DEFAULT PRIVILEGES"


def _named(tag: str, privilege: Privilege, kind: Kind, attribute: str) -> Collector:
    """A statement that does one thing to the object that an attribute names."""

    def collector(node: Any, env: Environment) -> str:
        value = getattr(node, attribute)
        named = ast.String(sval=value) if isinstance(value, str) else value
        touch_object(env, privilege, kind, named, missing_ok=bool(getattr(node, "missing_ok", False)))
        for attribute_ in ("handler_name", "funcname", "func_name", "plhandler", "plinline", "plvalidator"):
            execute_named(env, getattr(node, attribute_, None) or ())
        for option in getattr(node, "func_options", None) or ():
            execute_named(env, option.arg or ())
        _options(node, env)
        return tag

    return collector


_FUNCTION_OPTIONS = frozenset({
    "sfunc", "finalfunc", "combinefunc", "serialfunc", "deserialfunc", "msfunc", "minvfunc", "mfinalfunc", "function",
    "procedure", "restrict", "join", "input", "output", "receive", "send", "typmod_in", "typmod_out", "analyze",
    "subscript", "start", "gettoken", "end", "lextypes", "headline", "init", "lexize", "canonical", "subtype_diff",
})  # fmt: skip
"""Options of CREATE and ALTER AGGREGATE, OPERATOR, TYPE and TEXT SEARCH that name functions which run later."""


def _options(node: Any, env: Environment) -> None:
    """The functions among what a definition is made of; its place depends on the class of the statement."""
    for attribute in ("definition", "params", "options"):
        for option in getattr(node, attribute, None) or ():
            if option.defname in _FUNCTION_OPTIONS and isinstance(option.arg, ast.TypeName):
                execute_named(env, option.arg)


def _domain(tag: str, privilege: Privilege, attribute: str) -> Collector:
    """A domain's checks and default run with every value."""

    def collector(node: Any, env: Environment) -> str:
        touch(env, privilege, Kind.TYPE, parts_of(getattr(node, attribute)))
        definition = getattr(node, "def_", None)
        for constraint in (*(getattr(node, "constraints", None) or ()), definition):
            functions_in(constraint.raw_expr if isinstance(constraint, ast.Constraint) else constraint, env)
        return tag

    return collector


def _define(node: ast.DefineStmt, env: Environment) -> str:
    touch(env, _P.CREATE, KINDS[node.kind], functions.names_of(node.defnames))
    _options(node, env)
    return tag_of(node.kind, "CREATE")


def _roles(tag: str, privilege: Privilege) -> Collector:
    def collector(node: Any, env: Environment) -> str:
        names = getattr(node, "roles", None) or [getattr(node, "role", None)]
        for role in names:
            value = role if isinstance(role, str) else (role.rolename if role is not None else None)
            env.touch(privilege, Kind.ROLE, value or "*")
        for option in getattr(node, "options", None) or ():
            _membership(option, names, env)
        _stored_setting(node, env)
        return tag

    return collector


def _membership(option: ast.DefElem, names: Sequence[Any], env: Environment) -> None:
    """IN ROLE grants the roles it names to the new one; ROLE and ADMIN grant the one they stand in to others."""
    if option.defname == "addroleto":
        for role in parts_of(option.arg):
            env.touch(_P.GRANT, Kind.ROLE, role)
    elif option.defname in {"rolemembers", "adminmembers"}:
        for name in names:
            env.touch(_P.GRANT, Kind.ROLE, name if isinstance(name, str) else parts_of(name)[-1])


def _stored_setting(node: Any, env: Environment) -> None:
    """ALTER ROLE and ALTER DATABASE … SET: the setting holds from the next login on."""
    setting = getattr(node, "setstmt", None)
    if setting is not None:
        env.touch(_P.SET, Kind.SETTING, (setting.name or "all").lower())


def _database_set(node: ast.AlterDatabaseSetStmt, env: Environment) -> str:
    env.touch(_P.ALTER, Kind.DATABASE, node.dbname or "")
    _stored_setting(node, env)
    return "ALTER DATABASE"


def _in_schema(tag: str, privilege: Privilege, kind: Kind, attribute: str) -> Collector:
    """A statement on an object that lives in a schema and is no relation."""

    def collector(node: Any, env: Environment) -> str:
        env.changes_catalog = True
        touch(env, privilege, kind, parts_of(getattr(node, attribute)))
        for item in getattr(node, "items", None) or ():
            if item.name is not None and item.itemtype == _FUNCTION_ITEM:
                execute_named(env, item.name)
        return tag

    return collector


_FUNCTION_ITEM = 2  # OPCLASS_ITEM_FUNCTION


def _statistics(node: Any, env: Environment) -> str:
    del node
    _alter_any_table(env)
    return "ALTER STATISTICS"


def _alter_any_table(env: Environment) -> None:
    """Statistics are `alter` on their table, which their name does not tell: on any."""
    env.changes_catalog = True
    env.touch(_P.ALTER, Kind.TABLE, "*", "*")


def _create_cast(node: ast.CreateCastStmt, env: Environment) -> str:
    touch(env, _P.CREATE, Kind.CAST, [cast_name(env, node.sourcetype, node.targettype)])
    execute_named(env, node.func or ())
    return "CREATE CAST"


def _create_transform(node: ast.CreateTransformStmt, env: Environment) -> str:
    touch(env, _P.CREATE, Kind.TRANSFORM, [transform_name(env, node.type_name, node.lang or "")])
    env.touch(_P.USAGE, Kind.LANGUAGE, node.lang or "")
    for function in (node.fromsql, node.tosql):
        execute_named(env, function or ())
    return "CREATE TRANSFORM"


def _create_server(node: ast.CreateForeignServerStmt, env: Environment) -> str:
    env.touch(_P.USAGE, Kind.FOREIGN_DATA_WRAPPER, node.fdwname or "")
    return _named("CREATE SERVER", _P.CREATE, Kind.FOREIGN_SERVER, "servername")(node, env)


_FREE_TEMPLATES = frozenset({"template0", "template1", "default"})


def _create_database(node: ast.CreatedbStmt, env: Environment) -> str:
    """A database that is no template is copied by its owner only (PostgreSQL docs, CREATE DATABASE)."""
    for option in node.options or ():
        if option.defname == "template" and option.arg is not None:
            (template,) = parts_of(option.arg)
            if template not in _FREE_TEMPLATES:
                env.touch(_P.ALTER, Kind.DATABASE, template)
    return _named("CREATE DATABASE", _P.CREATE, Kind.DATABASE, "dbname")(node, env)


def _depends(node: ast.AlterObjectDependsStmt, env: Environment) -> str:
    touch_object(env, _P.ALTER, KINDS[node.objectType], node.object if node.relation is None else node.relation)
    return tag_of(node.objectType, "ALTER")


def _move_all(node: ast.AlterTableMoveAllStmt, env: Environment) -> str:
    env.changes_catalog = True
    env.touch(_P.ALTER, Kind.TABLE, "*", "*")
    return tag_of(node.objtype, "ALTER")


def _publication(tag: str, privilege: Privilege) -> Collector:
    """What is published is read, by whoever subscribes."""

    def collector(node: Any, env: Environment) -> str:
        touch(env, privilege, Kind.PUBLICATION, [node.pubname or ""])
        if node.for_all_tables:
            env.touch(_P.SELECT, Kind.TABLE, "*", "*")
        for published in node.pubobjects or ():
            if published.pubtable is None:
                env.touch(_P.SELECT, Kind.TABLE, "*", published.name or env.settings.creation_schema)
                continue
            relation = env.find_relation(published.pubtable.relation)
            env.relation_access(_P.SELECT, relation, functions.names_of(published.pubtable.columns) or relation.columns)
            functions_in(published.pubtable.whereClause, env)
        return tag

    return collector


def _import_schema(node: ast.ImportForeignSchemaStmt, env: Environment) -> str:
    env.changes_catalog = True
    env.touch(_P.USAGE, Kind.FOREIGN_SERVER, node.server_name or "")
    env.touch(_P.CREATE, Kind.TABLE, "*", node.local_schema or "")
    return "IMPORT FOREIGN SCHEMA"


def _drop_owned(node: ast.DropOwnedStmt, env: Environment) -> str:
    del node, env
    raise Opaque("DROP OWNED drops what it does not name")


def _reassign(node: ast.ReassignOwnedStmt, env: Environment) -> str:
    del node, env
    raise Opaque("REASSIGN OWNED changes what it does not name")


def _sequence(node: Any, env: Environment) -> str:
    create_name(env, node.sequence, Kind.SEQUENCE)
    return "CREATE SEQUENCE"


OBJECTS: dict[type, Collector] = {
    ast.DropStmt: _drop,
    ast.RenameStmt: _rename,
    ast.AlterObjectSchemaStmt: _set_schema,
    ast.AlterOwnerStmt: _owner,
    ast.CommentStmt: _comment("COMMENT"),
    ast.SecLabelStmt: _comment("SECURITY LABEL"),
    ast.GrantStmt: _grant,
    ast.GrantRoleStmt: _grant_role,
    ast.AlterDefaultPrivilegesStmt: _default_privileges,
    ast.CreateSeqStmt: _sequence,
    ast.AlterSeqStmt: _named("ALTER SEQUENCE", _P.ALTER, Kind.SEQUENCE, "sequence"),
    ast.CreateDomainStmt: _domain("CREATE DOMAIN", _P.CREATE, "domainname"),
    ast.AlterDomainStmt: _domain("ALTER DOMAIN", _P.ALTER, "typeName"),
    ast.CompositeTypeStmt: _named("CREATE TYPE", _P.CREATE, Kind.TYPE, "typevar"),
    ast.CreateEnumStmt: _named("CREATE TYPE", _P.CREATE, Kind.TYPE, "typeName"),
    ast.AlterEnumStmt: _named("ALTER TYPE", _P.ALTER, Kind.TYPE, "typeName"),
    ast.CreateRangeStmt: _named("CREATE TYPE", _P.CREATE, Kind.TYPE, "typeName"),
    ast.AlterTypeStmt: _named("ALTER TYPE", _P.ALTER, Kind.TYPE, "typeName"),
    ast.DefineStmt: _define,
    ast.CreateExtensionStmt: _named("CREATE EXTENSION", _P.CREATE, Kind.EXTENSION, "extname"),
    ast.AlterExtensionStmt: _named("ALTER EXTENSION", _P.ALTER, Kind.EXTENSION, "extname"),
    ast.AlterExtensionContentsStmt: _named("ALTER EXTENSION", _P.ALTER, Kind.EXTENSION, "extname"),
    ast.CreatedbStmt: _create_database,
    ast.DropdbStmt: _named("DROP DATABASE", _P.DROP, Kind.DATABASE, "dbname"),
    ast.AlterDatabaseStmt: _named("ALTER DATABASE", _P.ALTER, Kind.DATABASE, "dbname"),
    ast.AlterDatabaseSetStmt: _database_set,
    ast.AlterDatabaseRefreshCollStmt: _named("ALTER DATABASE", _P.ALTER, Kind.DATABASE, "dbname"),
    ast.CreateRoleStmt: _roles("CREATE ROLE", _P.CREATE),
    ast.AlterRoleStmt: _roles("ALTER ROLE", _P.ALTER),
    ast.AlterRoleSetStmt: _roles("ALTER ROLE", _P.ALTER),
    ast.DropRoleStmt: _roles("DROP ROLE", _P.DROP),
    ast.CreateTableSpaceStmt: _named("CREATE TABLESPACE", _P.CREATE, Kind.TABLESPACE, "tablespacename"),
    ast.DropTableSpaceStmt: _named("DROP TABLESPACE", _P.DROP, Kind.TABLESPACE, "tablespacename"),
    ast.AlterTableSpaceOptionsStmt: _named("ALTER TABLESPACE", _P.ALTER, Kind.TABLESPACE, "tablespacename"),
    ast.CreatePLangStmt: _named("CREATE LANGUAGE", _P.CREATE, Kind.LANGUAGE, "plname"),
    ast.CreateFdwStmt: _named("CREATE FOREIGN DATA WRAPPER", _P.CREATE, Kind.FOREIGN_DATA_WRAPPER, "fdwname"),
    ast.AlterFdwStmt: _named("ALTER FOREIGN DATA WRAPPER", _P.ALTER, Kind.FOREIGN_DATA_WRAPPER, "fdwname"),
    ast.CreateForeignServerStmt: _create_server,
    ast.AlterForeignServerStmt: _named("ALTER SERVER", _P.ALTER, Kind.FOREIGN_SERVER, "servername"),
    ast.CreateUserMappingStmt: _named("CREATE USER MAPPING", _P.ALTER, Kind.FOREIGN_SERVER, "servername"),
    ast.AlterUserMappingStmt: _named("ALTER USER MAPPING", _P.ALTER, Kind.FOREIGN_SERVER, "servername"),
    ast.DropUserMappingStmt: _named("DROP USER MAPPING", _P.ALTER, Kind.FOREIGN_SERVER, "servername"),
    ast.ImportForeignSchemaStmt: _import_schema,
    ast.CreatePublicationStmt: _publication("CREATE PUBLICATION", _P.CREATE),
    ast.AlterPublicationStmt: _publication("ALTER PUBLICATION", _P.ALTER),
    ast.CreateSubscriptionStmt: _named("CREATE SUBSCRIPTION", _P.CREATE, Kind.SUBSCRIPTION, "subname"),
    ast.AlterSubscriptionStmt: _named("ALTER SUBSCRIPTION", _P.ALTER, Kind.SUBSCRIPTION, "subname"),
    ast.DropSubscriptionStmt: _named("DROP SUBSCRIPTION", _P.DROP, Kind.SUBSCRIPTION, "subname"),
    ast.CreateEventTrigStmt: _named("CREATE EVENT TRIGGER", _P.CREATE, Kind.EVENT_TRIGGER, "trigname"),
    ast.AlterEventTrigStmt: _named("ALTER EVENT TRIGGER", _P.ALTER, Kind.EVENT_TRIGGER, "trigname"),
    ast.CreateAmStmt: _named("CREATE ACCESS METHOD", _P.CREATE, Kind.ACCESS_METHOD, "amname"),
    ast.CreateConversionStmt: _named("CREATE CONVERSION", _P.CREATE, Kind.CONVERSION, "conversion_name"),
    ast.AlterCollationStmt: _named("ALTER COLLATION", _P.ALTER, Kind.COLLATION, "collname"),
    ast.AlterTSDictionaryStmt: _named("ALTER TEXT SEARCH DICTIONARY", _P.ALTER, Kind.TEXT_SEARCH, "dictname"),
    ast.AlterTSConfigurationStmt: _named("ALTER TEXT SEARCH CONFIGURATION", _P.ALTER, Kind.TEXT_SEARCH, "cfgname"),
    ast.AlterOperatorStmt: _named("ALTER OPERATOR", _P.ALTER, Kind.OPERATOR, "opername"),
    ast.DropOwnedStmt: _drop_owned,
    ast.ReassignOwnedStmt: _reassign,
    ast.CreateCastStmt: _create_cast,
    ast.CreateTransformStmt: _create_transform,
    ast.CreateOpClassStmt: _in_schema("CREATE OPERATOR CLASS", _P.CREATE, Kind.OPERATOR_CLASS, "opclassname"),
    ast.CreateOpFamilyStmt: _in_schema("CREATE OPERATOR FAMILY", _P.CREATE, Kind.OPERATOR_FAMILY, "opfamilyname"),
    ast.AlterOpFamilyStmt: _in_schema("ALTER OPERATOR FAMILY", _P.ALTER, Kind.OPERATOR_FAMILY, "opfamilyname"),
    ast.AlterStatsStmt: _statistics,
    ast.AlterObjectDependsStmt: _depends,
    ast.AlterTableMoveAllStmt: _move_all,
}
