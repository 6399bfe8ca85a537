"""Statements that are neither queries nor DDL: settings, transactions, cursors, COPY, maintenance, administration.

Each collector reports the accesses that the rule language gives its statement; docs/statements.md lists them.
"""

from collections.abc import Mapping
from typing import Any

from pglast import ast
from pglast.enums import DiscardMode, ReindexObjectType, TransactionStmtKind, VariableSetKind

from pgguard.model.access import Kind, Privilege
from pgguard.model.control import (
    CloseCursor,
    CopyIn,
    CopyOut,
    Deallocate,
    DeclareCursor,
    Discard,
    ExecutePrepared,
    FetchCursor,
    Prepare,
    Transaction,
    TransactionVerb,
)
from pgguard.sql import functions, types
from pgguard.sql.catalog import Relation
from pgguard.sql.environment import Environment, Opaque
from pgguard.sql.expressions import walk
from pgguard.sql.level import Level
from pgguard.sql.queries import collect, collect_query
from pgguard.sql.scope import RelationItem
from pgguard.sql.slices import text_after
from pgguard.sql.utility.names import Collector, touch_relation

_P = Privilege
_K = TransactionStmtKind

_TRANSACTIONS: Mapping[object, tuple[str, TransactionVerb, bool]] = {
    _K.TRANS_STMT_BEGIN: ("BEGIN", TransactionVerb.BEGIN, False),
    _K.TRANS_STMT_START: ("START TRANSACTION", TransactionVerb.BEGIN, False),
    _K.TRANS_STMT_COMMIT: ("COMMIT", TransactionVerb.COMMIT, True),
    _K.TRANS_STMT_ROLLBACK: ("ROLLBACK", TransactionVerb.ROLLBACK, True),
    _K.TRANS_STMT_SAVEPOINT: ("SAVEPOINT", TransactionVerb.SAVEPOINT, False),
    _K.TRANS_STMT_RELEASE: ("RELEASE", TransactionVerb.RELEASE, False),
    _K.TRANS_STMT_ROLLBACK_TO: ("ROLLBACK", TransactionVerb.ROLLBACK_TO, True),
    _K.TRANS_STMT_PREPARE: ("PREPARE TRANSACTION", TransactionVerb.PREPARE, False),
    _K.TRANS_STMT_COMMIT_PREPARED: ("COMMIT PREPARED", TransactionVerb.COMMIT, False),
    _K.TRANS_STMT_ROLLBACK_PREPARED: ("ROLLBACK PREPARED", TransactionVerb.ROLLBACK, False),
}  # fmt: skip
_TWO_PHASE = frozenset({_K.TRANS_STMT_PREPARE, _K.TRANS_STMT_COMMIT_PREPARED, _K.TRANS_STMT_ROLLBACK_PREPARED})
_KEEP_SETTINGS = frozenset({_K.TRANS_STMT_BEGIN, _K.TRANS_STMT_START, _K.TRANS_STMT_SAVEPOINT, _K.TRANS_STMT_RELEASE})

_ROLE_SETTINGS = frozenset({"role", "session_authorization"})


def _transaction(node: ast.TransactionStmt, env: Environment) -> str:
    tag, verb, ends = _TRANSACTIONS[node.kind]
    if node.kind in _TWO_PHASE:
        env.touch(_P.TWO_PHASE, Kind.SERVER, node.gid or "")
    env.control = Transaction(verb, ends, node.savepoint_name)
    env.unsettles = node.kind not in _KEEP_SETTINGS
    return tag


def _set(node: ast.VariableSetStmt, env: Environment) -> str:
    reset = node.kind in {VariableSetKind.VAR_RESET, VariableSetKind.VAR_RESET_ALL}
    name = (node.name or "").lower()
    if node.kind == VariableSetKind.VAR_RESET_ALL:
        env.touch(_P.SET, Kind.SETTING, "all")
    elif name in _ROLE_SETTINGS:
        _become(node, env)
    elif name in {"transaction", "session characteristics", "transaction snapshot"}:
        env.touch(_P.SET, Kind.SETTING, name.replace(" ", "_"))
    else:
        env.touch(_P.SET, Kind.SETTING, name)
    env.unsettles = True
    return "RESET" if reset else "SET"


def _become(node: ast.VariableSetStmt, env: Environment) -> None:
    """SET ROLE and SET SESSION AUTHORIZATION become the role they name; NONE and RESET the login's own.

    SET SESSION AUTHORIZATION DEFAULT is what DISCARD ALL does among other things, and drivers' pools send it.
    """
    target = functions.constant_text(node.args[0]) if node.args else None
    if target is None and (node.name or "").lower() == "session_authorization":
        return
    if target is None or target.lower() == "none":
        env.needs_settings = True
        target = env.settings.session_user or "none"
    env.touch(_P.BECOME, Kind.ROLE, target)


def _show(node: ast.VariableShowStmt, env: Environment) -> str:
    name = (node.name or "").lower()
    env.touch(_P.SHOW, Kind.SETTING, "*" if name == "all" else name)
    return "SHOW"


def _discard(node: ast.DiscardStmt, env: Environment) -> str:
    what = DiscardMode(node.target or 0).name.removeprefix("DISCARD_")
    env.control = Discard(what)
    env.unsettles = what in {"ALL", "TEMP"}
    env.changes_catalog = env.unsettles
    return f"DISCARD {what}"


def _prepare(node: ast.PrepareStmt, env: Environment) -> str:
    if any(types.named(env, declared) == types.VOID for declared in node.argtypes or ()):
        raise Opaque("a prepared statement's parameter is of type void")  # which EXECUTE would not see
    collect_query(node.query, env)
    env.control = Prepare(node.name or "", text_after(env.text, "AS"))
    return "PREPARE"


def _execute(node: ast.ExecuteStmt, env: Environment) -> str:
    walk(node.params, Level(env, collect))
    env.control = ExecutePrepared(node.name or "")
    return "EXECUTE"


def _deallocate(node: ast.DeallocateStmt, env: Environment) -> str:
    env.control = Deallocate(node.name or None)
    return "DEALLOCATE" if node.name else "DEALLOCATE ALL"


def _declare(node: ast.DeclareCursorStmt, env: Environment) -> str:
    collect_query(node.query, env)
    hold = bool((node.options or 0) & 0x0020)  # CURSOR_OPT_HOLD
    env.control = DeclareCursor(node.portalname or "", text_after(env.text, "FOR"), hold)
    return "DECLARE CURSOR"


def _fetch(node: ast.FetchStmt, env: Environment) -> str:
    env.control = FetchCursor(node.portalname or "")
    return "MOVE" if node.ismove else "FETCH"


def _close(node: ast.ClosePortalStmt, env: Environment) -> str:
    env.control = CloseCursor(node.portalname or None)
    return "CLOSE CURSOR" if node.portalname else "CLOSE CURSOR ALL"


def _copy(node: ast.CopyStmt, env: Environment) -> str:
    if node.query is not None:
        collect_query(node.query, env)
    elif node.relation is not None:
        _copy_relation(node, env)
    if node.filename is None:
        env.control = CopyIn() if node.is_from else CopyOut()
    elif node.is_program:
        env.touch(_P.RUN_PROGRAM, Kind.SERVER, node.filename)
    else:
        env.touch(_P.READ_FILE if node.is_from else _P.WRITE_FILE, Kind.SERVER, node.filename)
    return "COPY"


def _copy_relation(node: ast.CopyStmt, env: Environment) -> None:
    assert node.relation is not None
    relation = env.find_relation(node.relation)
    columns = functions.names_of(node.attlist) or [c for c in relation.columns if c not in relation.generated]
    env.relation_access(_P.INSERT if node.is_from else _P.SELECT, relation, columns)
    if node.whereClause is not None:
        level = Level(env, collect)
        item = RelationItem(relation, relation.name, None, relation.schema)
        level.scope.add(item)
        walk(node.whereClause, level)
        item.report(env, None)


def _lock(node: ast.LockStmt, env: Environment) -> str:
    for name in node.relations or ():
        env.relation_access(_P.LOCK, env.find_relation(name))
    return "LOCK TABLE"


def _cascaded(node: ast.TruncateStmt, relation: Relation) -> tuple[tuple[str, str], ...]:
    """CASCADE empties the tables whose foreign keys point here as well."""
    return relation.referenced_by if node.behavior == _DROP_CASCADE else ()


_DROP_CASCADE = 1


def _truncate(node: ast.TruncateStmt, env: Environment) -> str:
    for name in node.relations or ():
        relation = env.find_relation(name)
        touched = [relation, *(env.catalog.relation(*n) for n in _cascaded(node, relation))]
        for one in touched:
            if one is not None:
                env.relation_access(_P.TRUNCATE, one)
    return "TRUNCATE TABLE"


def _listen(node: ast.ListenStmt, env: Environment) -> str:
    env.touch(_P.LISTEN, Kind.CHANNEL, node.conditionname or "")
    return "LISTEN"


def _unlisten(node: ast.UnlistenStmt, env: Environment) -> str:
    del node, env
    return "UNLISTEN"


def _notify(node: ast.NotifyStmt, env: Environment) -> str:
    env.touch(_P.NOTIFY, Kind.CHANNEL, node.conditionname or "")
    return "NOTIFY"


def _vacuum(node: ast.VacuumStmt, env: Environment) -> str:
    for item in node.rels or ():
        env.relation_access(_P.MAINTAIN, env.find_relation(item.relation))
    if not node.rels:
        env.touch(_P.MAINTAIN, Kind.TABLE, "*", "*")
    return "VACUUM" if node.is_vacuumcmd else "ANALYZE"


def _reindex(node: ast.ReindexStmt, env: Environment) -> str:
    if node.relation is not None:
        touch_relation(env, _P.MAINTAIN, env.find_relation(node.relation))
    else:
        schema = node.kind == ReindexObjectType.REINDEX_OBJECT_SCHEMA
        env.touch(_P.MAINTAIN, Kind.TABLE, "*", node.name if schema else "*")
    return "REINDEX"


def _maintain(tag: str) -> Collector:
    def collector(node: Any, env: Environment) -> str:
        if node.relation is not None:
            touch_relation(env, _P.MAINTAIN, env.find_relation(node.relation))
        else:
            env.touch(_P.MAINTAIN, Kind.TABLE, "*", "*")
        return tag

    return collector


def _call(node: ast.CallStmt, env: Environment) -> str:
    level = Level(env, collect)
    level.procedure = True
    walk(node.funccall, level)
    env.unsettles = True
    return "CALL"


def _do(node: ast.DoStmt, env: Environment) -> str:
    languages = [d.arg.sval for d in node.args or () if d.defname == "language" and isinstance(d.arg, ast.String)]
    env.touch(_P.RUN, Kind.LANGUAGE, (languages[0] or "plpgsql").lower() if languages else "plpgsql")
    env.unsettles = env.changes_catalog = True
    return "DO"


def _administer(tag: str) -> Collector:
    def collector(node: Any, env: Environment) -> str:
        del node
        env.touch(_P.ADMIN, Kind.SERVER, tag.lower())
        return tag

    return collector


def _constraints_set(node: ast.ConstraintsSetStmt, env: Environment) -> str:
    del node, env
    return "SET CONSTRAINTS"


def _opaque(what: str) -> Collector:
    def collector(node: Any, env: Environment) -> str:
        del node, env
        raise Opaque(what)

    return collector


SESSION: dict[type, Collector] = {
    ast.TransactionStmt: _transaction,
    ast.VariableSetStmt: _set,
    ast.VariableShowStmt: _show,
    ast.DiscardStmt: _discard,
    ast.PrepareStmt: _prepare,
    ast.ExecuteStmt: _execute,
    ast.DeallocateStmt: _deallocate,
    ast.DeclareCursorStmt: _declare,
    ast.FetchStmt: _fetch,
    ast.ClosePortalStmt: _close,
    ast.CopyStmt: _copy,
    ast.LockStmt: _lock,
    ast.TruncateStmt: _truncate,
    ast.ListenStmt: _listen,
    ast.UnlistenStmt: _unlisten,
    ast.NotifyStmt: _notify,
    ast.VacuumStmt: _vacuum,
    ast.ClusterStmt: _maintain("CLUSTER"),
    ast.ReindexStmt: _reindex,
    ast.RefreshMatViewStmt: _maintain("REFRESH MATERIALIZED VIEW"),
    ast.CallStmt: _call,
    ast.DoStmt: _do,
    ast.CheckPointStmt: _administer("CHECKPOINT"),
    ast.LoadStmt: _administer("LOAD"),
    ast.AlterSystemStmt: _administer("ALTER SYSTEM"),
    ast.ConstraintsSetStmt: _constraints_set,
    ast.PLAssignStmt: _opaque("a PL/pgSQL assignment is no statement of its own"),
    ast.ReturnStmt: _opaque("RETURN outside a function body"),
}
