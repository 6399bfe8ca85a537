"""What a session's open transaction has made, changed and dropped is seen as the session sees it, held by PostgreSQL."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from pgguard.database.own_catalog import OWN_QUESTIONS, TEMPORARY_QUESTIONS, CannotTell, seen_by_session
from pgguard.lab.postgres import Postgres
from pgguard.session.judgement import Failed, Rows
from pgguard.sql.analyze import Script, analyze
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings
from tests.oracle.compare import catalog_of, judged
from tests.sql.postgres_tree import Oracle

_WORLD = """
create schema mine; create schema others; create schema evil;
create table mine.t (id int primary key, a text, secret text);
comment on column mine.t.secret is '@pii';
create table others.t (id int, b text);
create table mine.parent (id int); create table mine.child () inherits (mine.parent);
create function mine.f(int) returns int language sql as 'select 1';
create function mine.f(bigint) returns int language sql as 'select 1';
create function mine.plus(text, text) returns text language sql as 'select $1';
create operator mine.+ (leftarg = text, rightarg = text, function = mine.plus);
create type mine.pair as (a int, b text);
create function mine.pair(text) returns mine.pair language sql as 'select row(1, $1)::mine.pair';
create function mine.takes(mine.pair) returns int language sql as 'select 1';
create function evil.json_agg(anyelement) returns json language sql as 'select ''[]''::json';
create function evil.json_build_object(variadic "any") returns json language internal as 'json_build_object';
create function evil.no(oid, oid) returns boolean language sql as 'select false';
create operator evil.= (leftarg = oid, rightarg = oid, function = evil.no);
create table evil.pg_class (oid oid); create table evil.pg_proc (oid oid);
"""


class Session:
    def __init__(self, dsn: str, catalog: Catalog) -> None:
        self.oracle = Oracle(dsn)
        self.catalog = catalog

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.oracle.connection.execute(statement.encode())

    def ask(self, questions: Any = OWN_QUESTIONS) -> list[Rows]:
        """As the wire carries it: text."""
        answers = [self.oracle.connection.execute(q.text).fetchall() for q in questions]
        return [
            Rows(tuple(tuple(v if v is None or isinstance(v, str) else json.dumps(v) for v in r) for r in a))
            for a in answers
        ]

    def seen(self, questions: Any = OWN_QUESTIONS) -> Catalog:
        return seen_by_session(self.ask(questions), self.catalog) or self.catalog

    def holds(self, statement: str, questions: Any = OWN_QUESTIONS) -> None:
        """The accesses are PostgreSQL's own, and those of what the schema `mine` hides (sql/hiding.py)."""
        (path,) = self.oracle.connection.execute("select pg_catalog.current_schemas(true)").fetchone() or ((),)
        found = analyze(statement, self.seen(questions), Settings(tuple(path), "postgres", "postgres"))
        assert isinstance(found, Script), found
        self.oracle.look_up()
        difference = judged(found.statements[0], *self.oracle.ask(statement))
        assert difference.less == ()
        assert all(" others." in access for access in difference.more), difference


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> str:
    postgres.run("create database transactions")
    postgres.run(_WORLD, "transactions")
    return postgres.dsn("transactions")


@pytest.fixture(scope="module")
def catalog(dsn: str) -> Catalog:
    """Of what is committed: each test rolls back."""
    return asyncio.run(catalog_of(dsn))


@pytest.fixture
def session(dsn: str, catalog: Catalog) -> Iterator[Session]:
    session = Session(dsn, catalog)
    session.run("set search_path = mine, others", "begin")
    yield session
    session.oracle.close()


@pytest.mark.parametrize(
    ("changes", "statement"),
    [
        ("drop table mine.t", "select * from t"),
        ("alter table mine.t rename to was", "select * from t"),
        ("alter table mine.t rename to was", "select * from was, mine.was w"),
        ("alter table mine.t set schema evil", "select * from t"),
        ("drop schema mine cascade", "select * from t"),
        ("savepoint s; drop table mine.t; release s", "select * from t"),
        ("set local search_path = mine; alter table mine.t add n int, drop a", "select * from t"),
        ("alter table mine.t rename a to z", "select z from t"),
        ("drop function mine.f(int)", "select f(1)"),
        ("drop function mine.f(bigint); drop operator mine.+ (text, text)", "select f(1), 1 + 1"),
        ("alter function mine.f(int) rename to g", "select f(1), g(2)"),
        ("create function mine.f(text) returns text language sql as 'select $1'", "select f('a'), f('a'::text)"),
        ("create function mine.k(a int, b int default 1, out x int, out y text) as 'select 1, 2::text' language sql", "select (k(1)).y, * from k(b => 1, a => 2)"),
        ("create function mine.minus(text, text) returns text language sql as 'select $1'; create operator mine.- (leftarg = text, rightarg = text, function = mine.minus)", "select a - 'x' from t"),
        ("create cast (text as mine.pair) with function mine.pair(text) as implicit", "select takes(a) from t"),
        ("set local search_path = mine; create aggregate mine.total (int) (sfunc = int4pl, stype = int)", "select total(id), total(distinct id) from t"),
        ("create type mine.mood as enum ('a'); create function mine.f(mine.mood) returns int language sql as 'select 1'", "select f('a'::mood)"),
        ("create domain mine.small as int; create function mine.f(mine.small) returns int language sql as 'select 1'", "select f(1::small), f(1)"),
        ("create schema fresh; create table fresh.x (a int); set local search_path = fresh", "select a from x"),
        ("create temp table t (q int, r text)", "select f(q), r + 'x' from t"),
        ("create temp table tt (q int primary key)", "insert into tt values (1) on conflict on constraint tt_pkey do nothing"),
        ("create view mine.v as select id from mine.t; create or replace view mine.v as select id, a from mine.t", "select * from v"),
        ("create temp table named (first text, last text)", "select last(n), first(n.*) from named n"),
    ],
    ids=range(23),
)  # fmt: skip
def test_names_mean_what_they_mean_to_the_session(changes: str, statement: str, session: Session) -> None:
    """A table dropped in the open transaction hid the next one on the path: reading that was judged as reading it."""
    session.run(*changes.split(";"))
    session.holds(statement)


def test_temporary_tables_are_known_with_their_types(session: Session) -> None:
    session.run("create temp table t (q int, r text)")
    session.holds("select f(q), f(1), r + 'x' from t", TEMPORARY_QUESTIONS)


def test_a_temporary_function_is_found_to_be_dropped(session: Session) -> None:
    session.run("create function pg_temp.once() returns int language sql as 'select 1'")
    (path,) = session.oracle.connection.execute("select pg_catalog.current_schemas(true)").fetchone() or ((),)
    settings = Settings(tuple(path), "postgres", "postgres")
    assert isinstance(analyze("drop function pg_temp.once()", session.seen(OWN_QUESTIONS), settings), Script)


def test_nothing_on_the_path_answers_in_the_place_of_the_database(session: Session) -> None:
    session.run("drop table mine.t", "create table mine.new (a int)")
    plain = [sorted(map(str, answer.rows)) for answer in session.ask()]
    session.run("set local search_path = evil, pg_catalog, mine, others")
    assert [sorted(map(str, answer.rows)) for answer in session.ask()] == plain


def test_labels_and_parents_outlast_a_change(session: Session) -> None:
    session.run("alter table mine.t rename secret to public", "alter table mine.child add x int")
    seen = session.seen()
    renamed, child = seen.relation("mine", "t"), seen.relation("mine", "child")
    assert renamed is not None
    assert child is not None
    assert renamed.comments == {"public": "@pii"}
    assert child.ancestors == (("mine", "parent"),)


def test_a_view_of_the_caller_that_is_made_just_now_cannot_be_seen_through(session: Session) -> None:
    session.run("create view mine.v with (security_invoker) as select * from others.t")
    found = analyze("select * from v", session.seen(), Settings(("pg_catalog", "mine")))
    assert isinstance(found, Script)
    assert found.statements[0].opaque == "a view whose definition an open transaction keeps back"


def test_an_unchanged_session_sees_the_catalog_itself(session: Session) -> None:
    assert seen_by_session(session.ask(), session.catalog) is None


def test_no_answer_is_no_catalog(session: Session) -> None:
    with pytest.raises(CannotTell, match="aborted"):
        seen_by_session([Failed("25P02", "current transaction is aborted")], session.catalog)
