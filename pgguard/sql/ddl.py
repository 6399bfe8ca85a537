"""DDL: what is created, altered, dropped or granted, down to the object (rule-language, section 2).

An index, rule, policy or statistics object is `alter` on its table, a trigger is `trigger` on it; CREATE TABLE is
`create` on the table's name; RENAME is `alter` on the old and `create` on the new name; ownership is `grant`. What the
query inside a CREATE VIEW, CREATE RULE or CREATE TABLE AS reads is accessed as if it ran.
"""

from collections.abc import Sequence
from typing import Any

from pglast import ast
from pglast.enums import ObjectType

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.control import ExecutePrepared
from pgguard.sql import functions
from pgguard.sql.environment import Environment, Opaque
from pgguard.sql.expressions import walk
from pgguard.sql.level import Level
from pgguard.sql.queries import collect, collect_query
from pgguard.sql.scope import RelationItem
from pgguard.sql.utility import Collector

_P = Privilege
_O = ObjectType

_KINDS: dict[object, Kind] = {
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

_WITHOUT_SCHEMA = frozenset({
    Kind.SCHEMA, Kind.EXTENSION, Kind.LANGUAGE, Kind.FOREIGN_DATA_WRAPPER, Kind.FOREIGN_SERVER, Kind.PUBLICATION,
    Kind.SUBSCRIPTION, Kind.EVENT_TRIGGER, Kind.TABLESPACE, Kind.ACCESS_METHOD, Kind.DATABASE, Kind.ROLE, Kind.SETTING,
    Kind.LARGE_OBJECT, Kind.CAST, Kind.TRANSFORM,
})  # fmt: skip

_ON_TABLE = frozenset({
    _O.OBJECT_RULE, _O.OBJECT_TRIGGER, _O.OBJECT_POLICY, _O.OBJECT_COLUMN, _O.OBJECT_TABCONSTRAINT,
})  # fmt: skip


def _tag(node: Any, verb: str) -> str:
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


def _parts(object_: Any) -> list[str]:
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
            return [part for item in object_ for part in _parts(item)]
        case ast.Integer():
            return [str(object_.ival)]
        case ast.Float():
            return [object_.fval or "*"]
        case _:
            raise Opaque(f"an object named by {type(object_).__name__} is not understood")


def _object(env: Environment, kind: Kind, parts: Sequence[str]) -> ObjectName:
    """The name of an object that exists, or is to: by its schema, or the one it is found in or created in."""
    name = parts[-1] if parts else "*"
    if kind in _WITHOUT_SCHEMA:
        return ObjectName(name)
    if len(parts) > 1:
        return ObjectName(name, parts[-2])
    env.needs_settings = True
    if kind in {Kind.TABLE, Kind.SEQUENCE}:
        relation = env.look_up(None, name)
        if relation is not None:
            return ObjectName(relation.name, relation.schema)
    if kind is Kind.FUNCTION:
        found = {f.schema for f in env.catalog.functions(name)} & set(env.settings.search_path)
        if found:
            return ObjectName(name, next(s for s in env.settings.search_path if s in found))
    return ObjectName(name, env.settings.creation_schema or "public")


def _touch(env: Environment, privilege: Privilege, kind: Kind, parts: Sequence[str]) -> None:
    env.changes_catalog = True
    name = _object(env, kind, parts)
    relation = env.catalog.relation(name.schema or "", name.name) if kind in {Kind.TABLE, Kind.SEQUENCE} else None
    if relation is not None and relation.kind == "S":
        kind = Kind.SEQUENCE
    env.add(Access(privilege, kind, name, temporary=relation is not None and relation.temporary))


def _create_name(env: Environment, name: ast.RangeVar, kind: Kind = Kind.TABLE) -> None:
    """CREATE of a relation; a temporary one needs `temp` on the database instead."""
    env.changes_catalog = True
    if name.relpersistence == "t":
        env.touch(_P.TEMP, Kind.DATABASE, env.catalog.snapshot.database)
        env.unsettles = True  # the session's temporary schema may come into being
    else:
        env.add(Access(_P.CREATE, kind, env.new_name(name)))


# tables


def _create_table(node: Any, env: Environment) -> str:
    base: Any = node.base if isinstance(node, ast.CreateForeignTableStmt) else node
    _create_name(env, base.relation)
    for parent in base.inhRelations or ():
        env.relation_access(_P.ALTER, env.find_relation(parent))
    for element in base.tableElts or ():
        _table_element(element, env)
    if isinstance(node, ast.CreateForeignTableStmt):
        env.touch(_P.USAGE, Kind.FOREIGN_SERVER, node.servername or "")
        return "CREATE FOREIGN TABLE"
    return "CREATE TABLE"


def _table_element(element: Any, env: Environment) -> None:
    """Expressions run later, on each row: their functions are accessed; foreign keys need `references`."""
    match element:
        case ast.ColumnDef():
            for constraint in element.constraints or ():
                _table_element(constraint, env)
            _functions_in(element.raw_default, env)
        case ast.Constraint():
            if element.pktable is not None:
                relation = env.find_relation(element.pktable)
                env.relation_access(_P.REFERENCES, relation, functions.names_of(element.pk_attrs) or relation.columns)
            _functions_in(element.raw_expr, env)
            _functions_in(element.where_clause, env)
        case ast.TableLikeClause():
            if element.relation is not None:
                env.relation_access(_P.SELECT, env.find_relation(element.relation), ())
        case _:
            raise Opaque(f"a table element of kind {type(element).__name__} is not understood")


def _functions_in(expression: Any, env: Environment) -> None:
    """The accesses of an expression over columns of a table that may not exist yet."""
    if expression is not None:
        walk(expression, _open_level(env))


def _open_level(env: Environment) -> Level:
    """A level in which every column name may be one."""
    from pgguard.sql.scope import Item  # noqa: PLC0415  # only here is a scope made by hand

    level = Level(env, collect)
    level.scope.add(Item("", None))
    return level


def _create_table_as(node: ast.CreateTableAsStmt, env: Environment) -> str:
    inner: Any = node.query
    if isinstance(inner, ast.ExecuteStmt):
        walk(inner.params, Level(env, collect))
        env.control = ExecutePrepared(inner.name or "")
    else:
        collect_query(inner, env)
    assert node.into is not None
    assert node.into.rel is not None
    _create_name(env, node.into.rel)
    if node.objtype == _O.OBJECT_MATVIEW:
        return "CREATE MATERIALIZED VIEW"
    return "SELECT INTO" if node.is_select_into else "CREATE TABLE AS"


def _create_view(node: ast.ViewStmt, env: Environment) -> str:
    collect_query(node.query, env)
    assert node.view is not None
    _create_name(env, node.view)
    return "CREATE VIEW"


def _alter_table(node: ast.AlterTableStmt, env: Environment) -> str:
    kind = _KINDS.get(node.objtype, Kind.TABLE)
    assert node.relation is not None
    _touch(env, _P.ALTER, kind, _parts(node.relation))
    for command in node.cmds or ():
        _alter_table_command(command, node.relation, env)
    return _tag(node.objtype, "ALTER")


def _alter_table_command(command: ast.AlterTableCmd, name: ast.RangeVar, env: Environment) -> None:
    if command.newowner is not None:
        _touch(env, _P.GRANT, Kind.TABLE, _parts(name))
    definition: Any = command.def_
    if isinstance(definition, (ast.ColumnDef, ast.Constraint)):
        _table_element(definition, env)
    elif isinstance(definition, ast.RangeVar):  # INHERIT
        env.relation_access(_P.ALTER, env.find_relation(definition))
    elif isinstance(definition, ast.PartitionCmd):
        part: Any = definition.name
        env.relation_access(_P.ALTER, env.find_relation(part))
    elif isinstance(definition, (ast.A_Const, ast.A_Expr, ast.FuncCall, ast.TypeCast, ast.CaseExpr)):
        _functions_in(definition, env)


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
            level.query(action, level.inner(level.scope))
        if isinstance(node, ast.CreateTrigStmt):
            functions.call(env, functions.names_of(node.funcname), (), None)
        return tag

    return collector


def _create_trigger(node: ast.CreateTrigStmt, env: Environment) -> str:
    return _on_table("CREATE TRIGGER", _P.TRIGGER)(node, env)


def _statistics(node: ast.CreateStatsStmt, env: Environment) -> str:
    for name in node.relations or ():
        _touch(env, _P.ALTER, Kind.TABLE, _parts(name))
    return "CREATE STATISTICS"


# any object


def _drop(node: ast.DropStmt, env: Environment) -> str:
    kind = _KINDS[node.removeType]
    for object_ in node.objects or ():
        parts = _parts(object_)
        if node.removeType in _ON_TABLE:
            _touch(env, _P.ALTER, kind, parts[:-1])
        elif kind is Kind.TABLE and node.removeType == _O.OBJECT_INDEX:
            _touch(env, _P.ALTER, kind, parts)
        else:
            _touch(env, _P.DROP, kind, parts)
    if node.behavior == 1:  # DROP_CASCADE
        raise Opaque("DROP … CASCADE drops more than it names")
    return _tag(node.removeType, "DROP")


def _rename(node: ast.RenameStmt, env: Environment) -> str:
    kind = _KINDS[node.renameType]
    parts = (
        _parts(node.relation)
        if node.relation is not None
        else _parts(node.object)
        if node.object
        else [node.subname or ""]
    )
    _touch(env, _P.ALTER, kind, parts)
    if node.renameType not in _ON_TABLE and node.renameType not in {_O.OBJECT_ATTRIBUTE, _O.OBJECT_DOMCONSTRAINT}:
        old = _object(env, kind, parts)
        env.add(Access(_P.CREATE, kind, ObjectName(node.newname or "", old.schema)))
    return _tag(node.renameType, "ALTER")


def _set_schema(node: ast.AlterObjectSchemaStmt, env: Environment) -> str:
    kind = _KINDS[node.objectType]
    parts = _parts(node.relation) if node.relation is not None else _parts(node.object)
    _touch(env, _P.ALTER, kind, parts)
    env.add(Access(_P.CREATE, kind, ObjectName(parts[-1], node.newschema or "")))
    return _tag(node.objectType, "ALTER")


def _owner(node: ast.AlterOwnerStmt, env: Environment) -> str:
    _touch(env, _P.GRANT, _KINDS[node.objectType], _parts(node.relation or node.object))
    return _tag(node.objectType, "ALTER")


def _comment(tag: str) -> Collector:
    def collector(node: Any, env: Environment) -> str:
        parts = _parts(node.object)
        kind = _KINDS[node.objtype]
        _touch(env, _P.ALTER, kind, parts[:-1] if node.objtype in _ON_TABLE else parts)
        return tag

    return collector


def _grant(node: ast.GrantStmt, env: Environment) -> str:
    kind = _KINDS[node.objtype]
    everything = node.targtype != 0  # ACL_TARGET_OBJECT
    for object_ in node.objects or ():
        parts = _parts(object_)
        if everything:
            env.add(Access(_P.GRANT, kind, ObjectName("*", parts[-1])))
        else:
            _touch(env, _P.GRANT, kind, parts)
    env.changes_catalog = True
    return "GRANT" if node.is_grant else "REVOKE"


def _grant_role(node: ast.GrantRoleStmt, env: Environment) -> str:
    for role in node.granted_roles or ():
        env.touch(_P.GRANT, Kind.ROLE, role.priv_name or "")
    return "GRANT ROLE" if node.is_grant else "REVOKE ROLE"


def _default_privileges(node: ast.AlterDefaultPrivilegesStmt, env: Environment) -> str:
    del node
    env.add(Access(_P.GRANT, Kind.TABLE, ObjectName("*", "*")))
    return "ALTER DEFAULT PRIVILEGES"


def _function(node: ast.CreateFunctionStmt, env: Environment) -> str:
    """A body in SQL is judged as if it ran; one in another language cannot be seen into."""
    _touch(env, _P.CREATE, Kind.FUNCTION, functions.names_of(node.funcname))
    options = {option.defname: option.arg for option in node.options or ()}
    language = options.get("language")
    name = language.sval if isinstance(language, ast.String) else "sql"
    env.touch(_P.USAGE, Kind.LANGUAGE, (name or "sql").lower())
    if (name or "").lower() == "sql":
        raise Opaque("the body of a function in SQL")
    return "CREATE PROCEDURE" if node.is_procedure else "CREATE FUNCTION"


def _named(tag: str, privilege: Privilege, kind: Kind, attribute: str) -> Collector:
    """A statement that does one thing to the object that an attribute names."""

    def collector(node: Any, env: Environment) -> str:
        value = getattr(node, attribute)
        parts = [value] if isinstance(value, str) else _parts(value)
        _touch(env, privilege, kind, parts)
        return tag

    return collector


def _schema(node: ast.CreateSchemaStmt, env: Environment) -> str:
    _touch(env, _P.CREATE, Kind.SCHEMA, [node.schemaname or (node.authrole.rolename if node.authrole else None) or ""])
    if node.schemaElts:
        raise Opaque("CREATE SCHEMA with objects in it")
    return "CREATE SCHEMA"


def _define(node: ast.DefineStmt, env: Environment) -> str:
    _touch(env, _P.CREATE, _KINDS[node.kind], functions.names_of(node.defnames))
    if node.kind in {_O.OBJECT_AGGREGATE, _O.OBJECT_OPERATOR, _O.OBJECT_TYPE}:
        raise Opaque(f"{_tag(node.kind, 'CREATE')} names functions that run later")
    return _tag(node.kind, "CREATE")


def _roles(tag: str, privilege: Privilege) -> Collector:
    def collector(node: Any, env: Environment) -> str:
        names = getattr(node, "roles", None) or [getattr(node, "role", None)]
        for role in names:
            value = role if isinstance(role, str) else (role.rolename if role is not None else None)
            env.touch(privilege, Kind.ROLE, value or "*")
        return tag

    return collector


def _drop_owned(node: ast.DropOwnedStmt, env: Environment) -> str:
    del node, env
    raise Opaque("DROP OWNED drops what it does not name")


def _reassign(node: ast.ReassignOwnedStmt, env: Environment) -> str:
    del node, env
    raise Opaque("REASSIGN OWNED changes what it does not name")


def _sequence(node: Any, env: Environment) -> str:
    _create_name(env, node.sequence, Kind.SEQUENCE)
    return "CREATE SEQUENCE"


DDL: dict[type, Collector] = {
    ast.CreateStmt: _create_table,
    ast.CreateForeignTableStmt: _create_table,
    ast.CreateTableAsStmt: _create_table_as,
    ast.ViewStmt: _create_view,
    ast.AlterTableStmt: _alter_table,
    ast.IndexStmt: _on_table("CREATE INDEX", _P.ALTER),
    ast.RuleStmt: _on_table("CREATE RULE", _P.ALTER),
    ast.CreatePolicyStmt: _on_table("CREATE POLICY", _P.ALTER),
    ast.AlterPolicyStmt: _on_table("ALTER POLICY", _P.ALTER),
    ast.CreateTrigStmt: _create_trigger,
    ast.CreateStatsStmt: _statistics,
    ast.DropStmt: _drop,
    ast.RenameStmt: _rename,
    ast.AlterObjectSchemaStmt: _set_schema,
    ast.AlterOwnerStmt: _owner,
    ast.CommentStmt: _comment("COMMENT"),
    ast.SecLabelStmt: _comment("SECURITY LABEL"),
    ast.GrantStmt: _grant,
    ast.GrantRoleStmt: _grant_role,
    ast.AlterDefaultPrivilegesStmt: _default_privileges,
    ast.CreateFunctionStmt: _function,
    ast.AlterFunctionStmt: _named("ALTER FUNCTION", _P.ALTER, Kind.FUNCTION, "func"),
    ast.CreateSchemaStmt: _schema,
    ast.CreateSeqStmt: _sequence,
    ast.AlterSeqStmt: _named("ALTER SEQUENCE", _P.ALTER, Kind.SEQUENCE, "sequence"),
    ast.CreateDomainStmt: _named("CREATE DOMAIN", _P.CREATE, Kind.TYPE, "domainname"),
    ast.AlterDomainStmt: _named("ALTER DOMAIN", _P.ALTER, Kind.TYPE, "typeName"),
    ast.CompositeTypeStmt: _named("CREATE TYPE", _P.CREATE, Kind.TYPE, "typevar"),
    ast.CreateEnumStmt: _named("CREATE TYPE", _P.CREATE, Kind.TYPE, "typeName"),
    ast.AlterEnumStmt: _named("ALTER TYPE", _P.ALTER, Kind.TYPE, "typeName"),
    ast.CreateRangeStmt: _named("CREATE TYPE", _P.CREATE, Kind.TYPE, "typeName"),
    ast.AlterTypeStmt: _named("ALTER TYPE", _P.ALTER, Kind.TYPE, "typeName"),
    ast.DefineStmt: _define,
    ast.CreateExtensionStmt: _named("CREATE EXTENSION", _P.CREATE, Kind.EXTENSION, "extname"),
    ast.AlterExtensionStmt: _named("ALTER EXTENSION", _P.ALTER, Kind.EXTENSION, "extname"),
    ast.AlterExtensionContentsStmt: _named("ALTER EXTENSION", _P.ALTER, Kind.EXTENSION, "extname"),
    ast.CreatedbStmt: _named("CREATE DATABASE", _P.CREATE, Kind.DATABASE, "dbname"),
    ast.DropdbStmt: _named("DROP DATABASE", _P.DROP, Kind.DATABASE, "dbname"),
    ast.AlterDatabaseStmt: _named("ALTER DATABASE", _P.ALTER, Kind.DATABASE, "dbname"),
    ast.AlterDatabaseSetStmt: _named("ALTER DATABASE", _P.ALTER, Kind.DATABASE, "dbname"),
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
    ast.CreateForeignServerStmt: _named("CREATE SERVER", _P.CREATE, Kind.FOREIGN_SERVER, "servername"),
    ast.AlterForeignServerStmt: _named("ALTER SERVER", _P.ALTER, Kind.FOREIGN_SERVER, "servername"),
    ast.CreateUserMappingStmt: _named("CREATE USER MAPPING", _P.ALTER, Kind.FOREIGN_SERVER, "servername"),
    ast.AlterUserMappingStmt: _named("ALTER USER MAPPING", _P.ALTER, Kind.FOREIGN_SERVER, "servername"),
    ast.DropUserMappingStmt: _named("DROP USER MAPPING", _P.ALTER, Kind.FOREIGN_SERVER, "servername"),
    ast.ImportForeignSchemaStmt: _named("IMPORT FOREIGN SCHEMA", _P.USAGE, Kind.FOREIGN_SERVER, "server_name"),
    ast.CreatePublicationStmt: _named("CREATE PUBLICATION", _P.CREATE, Kind.PUBLICATION, "pubname"),
    ast.AlterPublicationStmt: _named("ALTER PUBLICATION", _P.ALTER, Kind.PUBLICATION, "pubname"),
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
}
