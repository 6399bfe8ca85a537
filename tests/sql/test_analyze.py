"""What the analyzer settles without a database: scripts, errors, WHERE, functions with an access of their own."""

from collections.abc import Callable

import pytest
from pglast import ast
from rich_schema import SETTINGS

from pgguard.model.access import Kind, ObjectName, Privilege, Where
from pgguard.model.facts import Facts
from pgguard.model.sqlstate import SqlState
from pgguard.sql import analyze as analysis
from pgguard.sql import expressions
from pgguard.sql.analyze import Refused, Script, analyze
from pgguard.sql.catalog import Catalog, Relation
from pgguard.sql.environment import Budget, Environment, Opaque, Settings
from pgguard.sql.level import Level
from pgguard.sql.queries import collect
from pgguard.sql.utility import UTILITIES

FactsOf = Callable[[str], tuple[Facts, ...]]


@pytest.mark.parametrize(
    ("text", "sqlstate", "message", "position"),
    [
        ("select * from nowhere", SqlState.UNDEFINED_TABLE, 'relation "nowhere" does not exist', 15),
        ("select nothing from customers", SqlState.UNDEFINED_COLUMN, 'column "nothing" does not exist', 8),
        ("select c.nothing from customers c", SqlState.UNDEFINED_COLUMN, "column c.nothing does not exist", 8),
        ("select x.id from customers c", SqlState.UNDEFINED_TABLE, 'missing FROM-clause entry for table "x"', 8),
        ("select id from customers, orders", SqlState.AMBIGUOUS_COLUMN, 'column reference "id" is ambiguous', 8),
        ("select nope(1)", SqlState.UNDEFINED_FUNCTION, "function nope(integer) does not exist", 8),
        ("select 1 +", SqlState.SYNTAX_ERROR, "syntax error at end of input", 11),
    ],
)
def test_errors_are_those_of_postgresql(
    text: str, sqlstate: SqlState, message: str, position: int, catalog: Catalog
) -> None:
    refused = analyze(text, catalog, SETTINGS)
    assert isinstance(refused, Refused)
    assert (refused.sqlstate, refused.message, refused.position) == (sqlstate, message, position)


@pytest.mark.parametrize(
    ("text", "privilege", "where"),
    [
        ("delete from customers", Privilege.DELETE, Where(present=False)),
        ("delete from customers where region = 'x' and id = $1", Privilege.DELETE, Where(True, ("id", "region"))),
        ("delete from customers where 1 = id or id = 2", Privilege.DELETE, Where(present=True)),
        ("update customers set name = 'x' where id = 1::int", Privilege.UPDATE, Where(True, ("id",))),
        ("update customers set name = 'x' where id in (1)", Privilege.UPDATE, Where(present=True)),
        (
            "merge into customers c using orders o on o.id = c.id when matched then delete",
            Privilege.DELETE,
            Where(present=False),
        ),
        (
            "merge into customers c using orders o on o.id = c.id when matched and c.id = 3 then delete",
            Privilege.DELETE,
            Where(True, ("id",)),
        ),
    ],
)
def test_where_belongs_to_its_own_level(text: str, privilege: Privilege, where: Where, facts_of: FactsOf) -> None:
    (access,) = [a for a in facts_of(text)[0].accesses if a.privilege is privilege]
    assert access.where == where


@pytest.mark.parametrize(
    ("text", "privilege", "kind", "name"),
    [
        ("select set_config('role', 'x', false)", Privilege.SET, Kind.SETTING, "role"),
        ("select set_config('ro' || 'le', 'x', false)", Privilege.SET, Kind.SETTING, "*"),
        ("select set_config('rolex'::varchar(4), 'x', false)", Privilege.SET, Kind.SETTING, "*"),
        ("select current_setting('Work_Mem')", Privilege.SHOW, Kind.SETTING, "work_mem"),
        ("select nextval('app.numbers')", Privilege.USAGE, Kind.SEQUENCE, "numbers"),
        ("select nextval('numbers'::regclass)", Privilege.USAGE, Kind.SEQUENCE, "numbers"),
        ("select setval('numbers', 3)", Privilege.UPDATE, Kind.SEQUENCE, "numbers"),
        ("select pg_read_file('/etc/passwd')", Privilege.READ_FILE, Kind.SERVER, "/etc/passwd"),
        ("select pg_notify('jobs', 'x')", Privilege.NOTIFY, Kind.CHANNEL, "jobs"),
        ("select pg_terminate_backend(1)", Privilege.SIGNAL, Kind.SERVER, "*"),
        ("select lo_get(17)", Privilege.READ, Kind.LARGE_OBJECT, "17"),
    ],
)  # fmt: skip
def test_functions_with_an_access_of_their_own(
    text: str, privilege: Privilege, kind: Kind, name: str, facts_of: FactsOf
) -> None:
    accesses = facts_of(text)[0].accesses
    assert [(a.privilege, a.kind, a.object.name) for a in accesses if a.kind is not Kind.FUNCTION] == [
        (privilege, kind, name)
    ]


def test_a_parameter_leaves_the_overload_open(facts_of: FactsOf) -> None:
    """The client declares the types of parameters: every overload that may be called is an access."""
    called = {a.object.arguments for a in facts_of("select f($1)")[0].accesses if a.object.name == "f"}
    assert called == {("integer",), ("text",)}


def test_what_lies_under_an_invoker_view_is_accessed(facts_of: FactsOf) -> None:
    objects = {(a.object.name, a.columns) for a in facts_of("select name from careful")[0].accesses}
    assert objects == {("careful", ("name",)), ("customers", ("card", "name"))}


def test_children_name_their_ancestors(facts_of: FactsOf) -> None:
    (access,) = facts_of("select id from events_2026")[0].accesses
    assert [str(ancestor) for ancestor in access.ancestors] == ["app.events"]


def test_a_script_sees_its_own_search_path_and_tables(facts_of: FactsOf) -> None:
    path = facts_of("set search_path = other; select id from orders")[1]
    assert [str(a.object) for a in path.accesses] == ["other.orders"]
    made = facts_of("create temp table mine (a int); insert into mine (a) values (1)")[1]
    assert [(str(a.object), a.temporary) for a in made.accesses] == [("pg_temp.mine", True)]


def test_what_follows_an_uncertain_change_is_opaque(facts_of: FactsOf) -> None:
    after = facts_of("select set_config('search_path', 'other', false); select id from orders")[1]
    assert after.opaque is not None
    assert "send it as a query of its own" in after.opaque


@pytest.mark.parametrize("opening", ["- ", "not ", "array[", "(select "])
def test_deep_nesting_is_refused(opening: str, catalog: Catalog) -> None:
    closing = {"(select ": ")", "array[": "]"}.get(opening, "")
    text = f"select {opening * 3000} true {closing * 3000}"
    assert isinstance(analyze(text, catalog, SETTINGS), Refused)


def test_a_long_sum_is_refused_or_read(catalog: Catalog) -> None:
    """Raises nothing, however deep: the depth of the tree is the client's choice."""
    refused = analyze("select " + "1 + " * 4000 + "1", catalog, SETTINGS)
    assert isinstance(refused, Refused)
    assert refused.sqlstate in {SqlState.STATEMENT_TOO_COMPLEX, SqlState.SYNTAX_ERROR}


def _classes() -> list[type]:
    return [c for c in vars(ast).values() if isinstance(c, type) and issubclass(c, ast.Node) and c is not ast.Node]


def test_every_node_class_is_known_or_refused(catalog: Catalog) -> None:
    """Nothing is passed over: as an expression, and as a statement, a class is handled or Opaque."""
    tables = (expressions._HANDLERS, expressions._TRANSPARENT, expressions._CONVERTING, expressions._LEAVES)
    known = {class_ for table in tables for class_ in table}
    assert sum(map(len, tables)) == len(known)
    level = Level(Environment(catalog, SETTINGS, "", Budget(10_000)), collect)
    for class_ in _classes():
        if class_ not in known:
            with pytest.raises(Opaque, match=class_.__name__):
                expressions.walk(object.__new__(class_), level)
        if class_ not in analysis._QUERIES and class_ not in UTILITIES and class_ is not ast.ExplainStmt:
            with pytest.raises(Opaque, match=class_.__name__):
                analysis._collect(object.__new__(class_), level.env)


def test_json_array_of_a_query_reads_what_the_query_reads(facts_of: FactsOf) -> None:
    """It was refused as opaque. The test's server may be older than it, so the oracle cannot tell."""
    (facts,) = facts_of(
        "select json_array(select card from customers c where c.id = o.id returning jsonb) from orders o"
    )
    assert facts.opaque is None
    assert [(a.object.name, a.columns) for a in facts.accesses] == [("customers", ("card", "id")), ("orders", ("id",))]


@pytest.mark.parametrize("path", ["'/etc/passwd'::text", "'/etc/passwd'", "(select '/etc/passwd'::text)"])
def test_a_built_in_function_written_as_a_field_is_a_call(path: str, facts_of: FactsOf) -> None:
    """`(x).f` calls f(x) for a built-in f and a plain x too: it read files without any access."""
    (facts,) = facts_of(f"select ({path}).pg_read_file")
    assert [(a.privilege, a.kind) for a in facts.accesses] == [(Privilege.READ_FILE, Kind.SERVER)]


@pytest.mark.parametrize(
    "bomb",
    [
        "select " + "(" * 150 + "1" + " between 1 and 2)" * 150,
        "select " + "(" * 150 + "1" + " in (1, 2, 3, 4))" * 150,
        "select " + "nullif(" * 150 + "1" + ", 2)" * 150,
        "select " + "row(" * 60 + "1" + ")::app.pair" * 60,
        "".join(f"with recursive a{n} as (" for n in range(40)) + "select 1" + " union select 1) select 1" * 40,
        "select * from " + "(select *, * from " * 50 + "(select 1 as x) a" + ") a" * 50,
    ],
    ids=("between", "in", "nullif", "row", "recursive", "star"),
)
def test_no_nesting_multiplies_the_work(bomb: str, catalog: Catalog) -> None:
    """Each level walked what is in it twice: forty of them, in a kilobyte, stopped the server for good."""
    found = analysis.analyze(bomb, catalog, SETTINGS, effort=100_000)
    assert isinstance(found, analysis.Script) or found.message == "a target list has more than 1664 entries"


def test_effort_is_bounded(catalog: Catalog) -> None:
    found = analysis.analyze("select " + "1," * 1000 + "1", catalog, SETTINGS, effort=500)
    assert isinstance(found, analysis.Refused)
    assert found.sqlstate is SqlState.STATEMENT_TOO_COMPLEX


def test_pg_temp_first_makes_tables_temporary(catalog: Catalog) -> None:
    """They were taken for tables of the next schema, and a rule for that schema let them pass."""
    settings = Settings(("pg_catalog", "pg_temp_3", "app"), "postgres", "postgres", creates_in="pg_temp_3")
    found = analysis.analyze("create table x (id int)", catalog, settings)
    assert isinstance(found, analysis.Script)
    assert [(a.privilege, a.kind) for a in found.statements[0].accesses] == [(Privilege.TEMP, Kind.DATABASE)]


def test_a_path_with_pg_temp_is_not_followed_in_a_string(facts_of: FactsOf) -> None:
    first, second = facts_of("set search_path = pg_temp, app; create table x (id int)")
    assert first.opaque is None
    assert second.opaque is not None


@pytest.mark.parametrize("what", ["function f(int)", "routine app.f(int)"])
def test_a_setting_that_a_function_is_altered_to_is_set(what: str, facts_of: FactsOf) -> None:
    """Only the `alter` was seen: a call could then forge pgguard.principal, which no client may set."""
    (facts,) = facts_of(f"alter {what} set PgGuard.principal = 'eve@EXAMPLE.COM' reset work_mem")
    settings = {a.object.name for a in facts.accesses if (a.privilege, a.kind) == (Privilege.SET, Kind.SETTING)}
    assert settings == {"pgguard.principal", "work_mem"}
    assert any((a.privilege, a.kind) == (Privilege.ALTER, Kind.FUNCTION) for a in facts.accesses)


def test_a_support_function_is_opaque_by_create_and_by_alter(facts_of: FactsOf) -> None:
    (facts,) = facts_of("alter function f(int) support s")
    assert facts.opaque == "a planner support function"


@pytest.mark.parametrize(
    "text",
    [
        "create type r as range (subtype = float8, subtype_diff = float8mi)",
        "alter type app.money_range set (receive = float8mi)",
        "alter operator +(int, int) set (restrict = float8mi, join = none)",
        "create type app.t (input = float8mi, output = float8mi)",
    ],
)
def test_functions_that_a_definition_names_are_executed(text: str, facts_of: FactsOf) -> None:
    """A range type's, and those that ALTER gives, were passed over."""
    (facts,) = facts_of(text)
    executed = {str(a.object) for a in facts.accesses if a.privilege is Privilege.EXECUTE}
    assert any("float8mi" in name for name in executed), facts


@pytest.mark.parametrize(
    "body",
    [
        "'select name from app.customers where id = 1'",
        "'with c as (select id from app.customers) select count(*) from c'",
        "'select app.f(1) + abs(-1)'",
    ],
)
def test_a_body_whose_names_stand_for_themselves_is_judged_as_if_it_ran(body: str, facts_of: FactsOf) -> None:
    (facts,) = facts_of(f"create function public.h() returns text language sql as {body}")
    assert facts.opaque is None
    assert any("app." in str(a.object) for a in facts.accesses)


@pytest.mark.parametrize("body", ["select name from customers", "select f(1)", "with c as (table orders) table c"])
def test_a_body_that_the_search_path_of_a_call_would_read_otherwise_is_opaque(body: str, facts_of: FactsOf) -> None:
    """It was judged under its maker's path, and then read again under each caller's."""
    (facts,) = facts_of(f"create function public.h() returns text language sql as '{body}'")
    assert facts.opaque == "a body in SQL with names that the search_path of each call decides"
    (atomic,) = facts_of(f"create function public.h() returns text language sql begin atomic; {body}; end")
    assert atomic.opaque is None, "its names were settled when it was made"


def _called(text: str, catalog: Catalog, *voids: int) -> set[ObjectName]:
    found = analyze(text, catalog, SETTINGS, voids=frozenset(voids))
    assert isinstance(found, Script), found
    (facts,) = found.statements
    assert facts.opaque is None
    return {access.object for access in facts.accesses if access.kind is Kind.FUNCTION}


def test_a_parameter_declared_as_void_is_no_argument(catalog: Catalog) -> None:
    """Or another function were judged than runs: PostgreSQL drops it from the call, for JDBC's OUT parameters."""
    now, trunc = ObjectName("now", "pg_catalog", ()), ("date_trunc", "pg_catalog")
    text = "select date_trunc($1, $2, $3)"
    assert _called("select now($1)", catalog, 1) == {now}
    assert ObjectName(*trunc, ("text", "timestamp with time zone", "text")) in _called(text, catalog)
    assert ObjectName(*trunc, ("text", "timestamp with time zone", "text")) not in _called(text, catalog, 3)
    assert ObjectName(*trunc, ("text", "interval")) in _called(text, catalog, 3)


@pytest.mark.parametrize(
    "text",
    [
        "select now($1::void), date_trunc('day', $1)",
        "select date_trunc('day', $1), $1::void",
        "select coalesce($1, pg_sleep(0)), date_trunc('day', $1)",
        "select void_out($1), date_trunc('day', $1)",
        "prepare p(int, void) as select date_trunc('day', $2)",
    ],
)
def test_a_parameter_that_may_be_void_makes_a_statement_opaque(text: str, catalog: Catalog) -> None:
    """Which of its places the database reads first decides whether a call drops it."""
    found = analyze(text, catalog, SETTINGS)
    assert isinstance(found, Script)
    assert found.statements[0].opaque is not None


def test_a_name_that_hides_another_is_each_of_them(catalog: Catalog) -> None:
    """Whoever may drop what hides the other can do so while the statement waits for their lock (tests/hostile)."""
    mine = Relation("near", "customers", "r", ("id", "name", "own"))
    both = catalog.overlaid([mine])
    path = Settings(("pg_catalog", "near", *(s for s in SETTINGS.search_path if s != "pg_catalog")))
    hidden = next(s for s in SETTINGS.search_path if catalog.relation(s, "customers") is not None)

    def touched(text: str) -> set[tuple[str | None, tuple[str, ...] | None]]:
        found = analyze(text, both, path)
        assert not isinstance(found, Refused)
        return {(a.object.schema, a.columns) for a in found.statements[0].accesses}

    assert touched("select id from customers") == {("near", ("id",)), (hidden, ("id",))}
    assert touched("select own from customers") == {("near", ("own",))}  # the other has no such column
    assert touched("select id from near.customers") == {("near", ("id",))}
    assert touched("delete from customers") == {("near", None), (hidden, None)}
