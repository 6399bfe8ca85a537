"""SQL text to Facts: the way in to this room.

`analyze` parses a text and collects the facts of each statement. Statements of one string see what
earlier ones certainly did: a constant SET search_path, a CREATE TABLE with its columns written out. What is
uncertain (ROLLBACK, set_config, other DDL) makes the later ones opaque: they must be sent by themselves.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from pglast import ast
from pglast.enums import VariableSetKind

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.control import DeclareCursor, Transaction
from pgguard.model.facts import Facts
from pgguard.model.sqlstate import SqlState
from pgguard.sql.catalog import Catalog, Relation
from pgguard.sql.environment import Budget, Environment, Opaque, Settings, TooComplex, Unresolved, in_order
from pgguard.sql.functions import constant_text, report
from pgguard.sql.hiding import Combinations, Gone
from pgguard.sql.invoker_views import look_under
from pgguard.sql.parse import Parsed, SyntaxProblem, parse
from pgguard.sql.queries import collect_query
from pgguard.sql.shape import shape_of
from pgguard.sql.utility import UTILITIES, create_table_as
from pgguard.sql.utility.names import tag_of

_QUERIES: dict[type, str] = {
    ast.SelectStmt: "SELECT",
    ast.InsertStmt: "INSERT",
    ast.UpdateStmt: "UPDATE",
    ast.DeleteStmt: "DELETE",
    ast.MergeStmt: "MERGE",
}
_ANEW = 10
"""What reading a statement once more costs beside its nodes."""

_ESTIMABLE = frozenset(_QUERIES.values()) | {"COPY", "DECLARE CURSOR"}


class Script(msgspec.Struct, frozen=True, tag=True):
    """What a text touches, one Facts a statement.

    `shareable`: it is one query whose facts depend on no constant: they hold for every text of its skeleton.
    """

    statements: tuple[Facts, ...]
    shareable: bool = False

    @property
    def needs_settings(self) -> bool:
        return any(facts.needs_settings for facts in self.statements)


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A text that PostgreSQL would refuse, with its error. `position`: characters from 1, 0 for none.

    `unresolved`: a name was not found in this catalog; another catalog may know it.
    """

    sqlstate: SqlState
    message: str
    position: int = 0
    hint: str | None = None
    unresolved: bool = False


Analysis = Script | Refused

UTMOST_EFFORT = 5_000_000
"""Nodes: some half a minute. Where a time limit watches over the work, it comes first."""


def analyze(
    text: str,
    catalog: Catalog,
    settings: Settings,
    effort: int = UTMOST_EFFORT,
    voids: frozenset[int] = frozenset(),
) -> Analysis:
    """The facts of a text, or the error that PostgreSQL would give for it. Total: raises nothing.

    `effort`: the nodes that may be walked for it; a text that asks for more is refused as too complex (54001), as is
    one nested deeper than Python's recursion limit. `voids`: the numbers of the parameters declared as of type void.
    """
    try:
        return _Script(text, catalog, settings, Budget(effort), voids).analyze()
    except SyntaxProblem as problem:
        return Refused(SqlState.SYNTAX_ERROR, str(problem), problem.position)
    except Unresolved as unresolved:
        position = unresolved.location + 1 if unresolved.location >= 0 else 0
        return Refused(unresolved.sqlstate, str(unresolved), position, unresolved.hint, unresolved=True)
    except TooComplex as limit:
        return Refused(SqlState.STATEMENT_TOO_COMPLEX, str(limit))
    except RecursionError:
        return Refused(SqlState.STATEMENT_TOO_COMPLEX, "statement is nested too deeply to be judged")


def facts_of_call(oid: int, catalog: Catalog) -> Facts:
    """The facts of a FunctionCall message, which names a function by its OID."""
    function = catalog.function_by_oid(oid)
    env = Environment(catalog, Settings(()), "", Budget(0))
    if function is None:
        return _opaque_facts("FUNCTION CALL", f"function with OID {oid} does not exist", "")
    report(env, function, ())
    return Facts("FUNCTION CALL", env.accesses, unsettles=True)


class _Script:
    """`_doubt`: why later statements of the string cannot be judged any more; `_made`: what may have made new names."""

    def __init__(self, text: str, catalog: Catalog, settings: Settings, budget: Budget, voids: frozenset[int]) -> None:
        self._budget = budget
        self._voids = voids
        self._parsed = parse(text, catalog.snapshot.version)
        self._catalog = catalog
        self._settings = settings
        self._doubt: str | None = None
        self._made: str | None = None
        self._shareable = len(self._parsed) == 1

    def analyze(self) -> Script:
        statements = tuple(self._facts(parsed) for parsed in self._parsed)
        return Script(statements, self._shareable)

    def _environment(self, parsed: Parsed, gone: Gone = frozenset()) -> Environment:
        return Environment(self._catalog, self._settings, parsed.text, self._budget, voids=self._voids, gone=gone)

    def _facts(self, parsed: Parsed) -> Facts:
        env = self._environment(parsed)
        shape = shape_of(parsed.tree)
        try:
            kind = _read(parsed.tree, env)
        except Opaque as opaque:
            facts = _opaque_facts(_tag(parsed.tree), str(opaque), shape, env.accesses)
        except Unresolved:
            if self._made is None:
                raise
            facts = behind(self._made, Facts(_tag(parsed.tree), env.accesses, shape=shape))
        else:
            facts = Facts(
                kind=kind,
                accesses=env.accesses,
                shape=shape,
                control=env.control,
                unsettles=env.unsettles,
                changes_catalog=env.changes_catalog,
                needs_settings=env.needs_settings,
                estimable=kind in _ESTIMABLE,
                reads_only=kind in {"SELECT", "SHOW"},
            )
        if env.hiding and facts.opaque is None:
            facts = self._with_hidden(parsed, facts, env)
        plain = facts.kind in _QUERIES.values() and facts.control is None and facts.opaque is None
        self._shareable = self._shareable and plain and not env.reads_constants
        if self._doubt is not None and facts.needs_settings:
            facts = behind(self._doubt, facts)
        if len(self._parsed) > 1:
            self._apply(parsed.tree, facts)
        return facts

    def _with_hidden(self, parsed: Parsed, facts: Facts, env: Environment) -> Facts:
        """With what it does where something is gone that hides another of its name (hiding.py)."""
        accesses = set(facts.accesses)
        combinations = Combinations()
        combinations.add(env.hiding, frozenset())
        for gone in combinations:
            self._budget.spend(_ANEW)
            other = self._environment(parsed, gone)
            try:
                _read(parsed.tree, other)
            except Opaque as opaque:
                return _opaque_facts(facts.kind, str(opaque), facts.shape, in_order(accesses))
            except Unresolved:
                pass  # the database would refuse it; what it may do with more of them gone is tried as well
            else:
                accesses |= set(other.accesses)
                env.unsettles = env.unsettles or other.unsettles
                env.changes_catalog = env.changes_catalog or other.changes_catalog
                env.reads_constants = env.reads_constants or other.reads_constants
            combinations.add(other.hiding, gone)
        return msgspec.structs.replace(
            facts, accesses=in_order(accesses), unsettles=env.unsettles, changes_catalog=env.changes_catalog
        )

    def _apply(self, tree: Any, facts: Facts) -> None:
        """What the later statements of the string will see."""
        if isinstance(tree, ast.CreateStmt) and self._create(tree, facts):
            return
        if isinstance(tree, ast.VariableSetStmt) and (tree.name or "") == "search_path":
            path = [constant_text(node) for node in tree.args or ()]
            if tree.kind == VariableSetKind.VAR_SET_VALUE and not {None, "$user", "pg_temp"} & set(path):
                self._set_path([schema for schema in path if schema is not None])
                return
        ends = isinstance(facts.control, Transaction) and facts.control.ends
        if ends or moves_names(facts):
            self._doubt = self._doubt or facts.kind
        if facts.changes_catalog:
            self._made = self._made or facts.kind

    def _create(self, tree: ast.CreateStmt, facts: Facts) -> bool:
        """A new table whose columns are all written out is known to what follows."""
        elements: Sequence[Any] = tree.tableElts or ()
        plain = all(isinstance(element, (ast.ColumnDef, ast.Constraint)) for element in elements)
        if tree.inhRelations or tree.ofTypename or tree.if_not_exists or not plain or tree.relation is None:
            return False
        temporary = tree.relation.relpersistence == "t"
        name = next((a.object for a in facts.accesses if a.privilege is Privilege.CREATE), None)
        temporary = temporary or (not tree.relation.schemaname and self._settings.creates_temporary)
        schema = "pg_temp" if temporary else (name.schema if name is not None else None)
        if schema is None:
            return False
        columns = tuple(e.colname or "" for e in elements if isinstance(e, ast.ColumnDef))
        relation = Relation(schema, tree.relation.relname or "", "r", columns, temporary=temporary)
        self._catalog = self._catalog.overlaid([relation])
        if temporary and "pg_temp" not in self._settings.search_path:
            self._settings = msgspec.structs.replace(
                self._settings, search_path=("pg_temp", *self._settings.search_path)
            )
        return True

    def _set_path(self, schemas: list[str]) -> None:
        implicit = [s for s in self._settings.search_path if s.startswith("pg_temp")]
        named = [s for s in schemas if s in self._catalog.schemas]
        catalog = [] if "pg_catalog" in named else ["pg_catalog"]
        self._settings = msgspec.structs.replace(
            self._settings, search_path=(*implicit, *catalog, *named), creates_in=""
        )


def behind(doubt: str, facts: Facts) -> Facts:
    """The facts of a statement whose names may mean something else behind another one of the same string."""
    why = f"it follows {doubt} in the same string; send it as a query of its own"
    return _opaque_facts(facts.kind, why, facts.shape, facts.accesses)


_NAMING_SETTINGS = frozenset({
    "all", "search_path", "standard_conforming_strings", "client_encoding", "backslash_quote",
})  # fmt: skip


def moves_names(facts: Facts) -> bool:
    """Whether after it names may mean something else, or text be read in another way.

    The SET without an access is the one back to the login's own role.
    """
    if facts.kind in {"SET", "RESET"} and facts.accesses:
        return any(a.kind is Kind.ROLE or a.object.name in _NAMING_SETTINGS for a in facts.accesses)
    return facts.unsettles or facts.changes_catalog


def _collect(tree: Any, env: Environment) -> str:
    """The command tag of a statement, its accesses in the environment."""
    if isinstance(tree, ast.ExplainStmt):
        _collect(tree.query, env)
        if isinstance(env.control, DeclareCursor):
            env.control = None  # no cursor is made: one of that name, if there is one, has another query
        return "EXPLAIN"
    kind = _QUERIES.get(type(tree))
    if kind is not None:
        if isinstance(tree, ast.SelectStmt) and tree.intoClause is not None:
            return _select_into(tree, env)
        collect_query(tree, env)
        return kind
    collector = UTILITIES.get(type(tree))
    if collector is None:
        raise Opaque(f"a statement of kind {type(tree).__name__} is not understood")
    return collector(tree, env)


def _read(tree: Any, env: Environment) -> str:
    """Gather all that a statement does. Returns its kind. Raises Unresolved, Opaque."""
    kind = _collect(tree, env)
    _tell_voids_apart(env)
    look_under(env)
    return kind


def _tell_voids_apart(env: Environment) -> None:
    """Whether a call drops a parameter hangs on its type, and that on which of its places the database reads first."""
    unsure = env.passed if env.mixes_void else env.passed & env.made_void
    if unsure:
        raise Opaque(f"parameter ${min(unsure)} is a function's argument, and may be of type void")


def _select_into(tree: ast.SelectStmt, env: Environment) -> str:
    """SELECT INTO is CREATE TABLE AS in another dress (PostgreSQL docs, SELECT INTO)."""
    into, tree.intoClause = tree.intoClause, None
    return create_table_as(ast.CreateTableAsStmt(query=tree, into=into, is_select_into=True), env)


_OPAQUE_TAGS: dict[type, str] = {
    ast.DropOwnedStmt: "DROP OWNED",
    ast.ReassignOwnedStmt: "REASSIGN OWNED",
    ast.CreateFunctionStmt: "CREATE FUNCTION",
    ast.CreateSchemaStmt: "CREATE SCHEMA",
    ast.AlterTableStmt: "ALTER TABLE",
}


def _tag(tree: Any) -> str:
    """A tag for a statement that could not be seen through."""
    if isinstance(tree, ast.DropStmt):
        return tag_of(tree.removeType, "DROP")
    known = _QUERIES.get(type(tree)) or _OPAQUE_TAGS.get(type(tree))
    return known or type(tree).__name__.removesuffix("Stmt").upper()


def _opaque_facts(kind: str, why: str, shape: str, accesses: Sequence[Access] = ()) -> Facts:
    """A statement that cannot be seen through: what is known of it, and `run` on kind `opaque`."""
    run = Access(Privilege.RUN, Kind.OPAQUE, ObjectName(why))
    return Facts(kind, (*accesses, run), why, shape, unsettles=True, changes_catalog=True, needs_settings=True)
