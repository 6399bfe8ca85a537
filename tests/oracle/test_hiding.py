"""What a statement may come to mean while it waits for a lock, against PostgreSQL with the objects really dropped.

Whoever may drop what a name means can do so while a statement waits for their lock, and PostgreSQL then looks the name up
again. So the accesses of a statement must hold all that PostgreSQL says of it with any of these objects gone.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from random import Random
from typing import Any

import psycopg
import pytest

from pgguard.lab.postgres import Postgres
from pgguard.sql.analyze import Script, analyze
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings
from tests.oracle.compare import catalog_of, judged
from tests.oracle.overloads import PATHS, Calls, World
from tests.sql.postgres_tree import Called, Oracle, Touched

STATEMENTS = int(os.environ.get("PGGUARD_ORACLE_HIDDEN", "300"))
"""How many of each path are made; most of them PostgreSQL refuses."""

PATH = ("pg_catalog", "near", "far")
_DEPTH = 4
_SETTINGS = Settings(PATH, "postgres", "postgres")

_WORLD = """
create schema near; create schema far; create role hands_of_another;
create table near.t (id int, own int, x int, a int); create table far.t (id int, secret text, x text, a int);
create table near.n (id int, own int, secret text, x text); create table near.one (id int);
create table near.u (id int, b int); create table far.u (id int, secret int, b int); create table far.v (id int, secret int);
create type near.mood as enum ('sad'); create type far.mood as enum ('sad', 'fine');
create type near.m as enum ('x'); create table far.tm (m near.m);
create function near.f(int) returns int language sql as 'select 1';
create function far.f(int) returns text language sql as 'select ''x''';
create function far.g(int) returns int language sql as 'select 1';
create function far.g(text) returns int language sql as 'select 1';
create function near.h(int) returns int language sql as 'select 1';
create function near.h(numeric) returns int language sql as 'select 1';
create function near.k(int) returns int language sql as 'select 1';
create function near.k(numeric) returns int language sql as 'select 1';
alter function near.k(numeric) owner to hands_of_another;
create function near.of(near.mood) returns int language sql as 'select 1';
create function far.of(far.mood) returns int language sql as 'select 1';
create function near.same(int, int) returns int language sql as 'select 1';
create operator near.=== (leftarg = int, rightarg = int, function = near.same);
create function far.same(int, int) returns text language sql as 'select ''x''';
create operator far.=== (leftarg = int, rightarg = int, function = far.same);
create function far.same(int, text) returns text language sql as 'select ''x''';
create operator far.=== (leftarg = int, rightarg = text, function = far.same);
create type far.word as enum ('x');
create function near.word(int) returns int language sql as 'select 1';
create function far.to_word(int) returns far.word language sql as 'select ''x''::far.word';
create cast (int as far.word) with function far.to_word(int);
create function far.g(far.word) returns int language sql as 'select 1';
create function near.to_text(near.m) returns text language sql as 'select ''x''';
create cast (near.m as text) with function near.to_text(near.m) as implicit;
create function near.to_int(near.m) returns int language sql as 'select 1';
create cast (near.m as int) with function near.to_int(near.m) as implicit;
create function far.left(int, bigint) returns int language sql as 'select 1';
create function near.secret(far.t) returns int language sql as 'select 1';
create function near.rows() returns table (a int, b int) language sql as 'select 1, 2';
create function far.rows() returns table (a int, secret int) language sql as 'select 1, 2';
create sequence near.s; create sequence far.s;
"""

_C = "alter table near.n drop secret"
_T, _U, _F = "drop table near.t cascade", "drop table near.u", "drop function near.f(int)"

_CASES = (
    ("select id from t", _T),
    ("select t from t", _T),
    ("select own from t", _T),
    ("select (select secret from t limit 1) from far.v", _T),
    ("insert into t (id) values (1) returning *", _T),
    ("with t as (select id from t) select id from t", _T),
    ("delete from t using u where t.id = u.id", _T, _U),
    ("select b, x from t join u using (id)", _T, _U),
    ("select b from u natural join t", _T, _U),
    ("select (select b from u limit 1), (select x from t limit 1) from far.v", _T, _U),
    ("select x, g(x) from t", _T),
    ("select f(1)", _F),
    ("select g(f(1))", _F),
    ("select * from f(1) r, g(r)", _F),
    ("select secret from rows(), far.v where v.id = a", "drop function near.rows()"),
    ("select (select secret from rows() limit 1) from far.v", "drop function near.rows()"),
    ("select k(1)", "drop function near.k(int)"),
    ("select near.k(1)", "drop function near.k(int)"),
    ("select g(1 === 2)", "drop operator near.=== (int, int)"),
    ("select id === '2' from t", "drop operator near.=== (int, int)", _T),
    ("select of('sad'::mood)", "drop type near.mood cascade"),
    ("select word(1)", "drop function near.word(int)"),
    ("select g(word(id)) from u", "drop function near.word(int)", _U),
    ('select "left"(m, 1) from far.tm', "drop cast (near.m as text)", "drop cast (near.m as int)"),
    ("select g(secret(q)) from far.t q", "drop function near.secret(far.t)"),
    ("select (select secret from n limit 1) from far.t", _C),
    ("select (select secret from (select * from n) x limit 1) from far.t", _C),
    ("with w as (select * from n) select (select max(secret) from w) from far.t", _C),
    (
        "select 1 from far.t where exists (select from n join far.v using (id) where n.secret = 'x' and x = 'x')",
        _C,
        _C[:-6] + "x",
    ),
    ("select (select own from n limit 1) from far.v own", "alter table near.n rename own to other"),
    ("select n.* from near.n, far.v order by secret", _C),
    ("select distinct on (secret) n.* from near.n, far.t", _C),
    ("delete from far.t where id in (select x::int from n)", _C[:-6] + "x"),
    ("select 1 from far.t natural join near.n", "alter table near.n add a int"),
    ("select 1 from (select * from near.n) s natural join far.t", "alter table near.n add a int"),
    ("insert into far.u select * from near.one", "alter table near.one add b int"),
    ("insert into far.u (id) select id from near.one", "alter table near.one add b int"),
)


_NEW = {"select near.n a", "select near.one b"}
"""Columns that the one has added who asks."""


@pytest.fixture(scope="module")
def world(postgres: Postgres) -> Iterator[tuple[Catalog, Oracle]]:
    postgres.run("create database hiding")
    dsn = postgres.dsn("hiding")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_WORLD.encode())
    oracle = Oracle(dsn)
    oracle.connection.execute("set search_path = near, far")
    yield asyncio.run(catalog_of(dsn)), oracle
    oracle.close()


def _with(oracle: Oracle, drops: Sequence[str], statement: str) -> tuple[set[Touched], set[Called]]:
    """What PostgreSQL says where these are gone; nothing where it refuses the statement then."""
    with oracle.connection.transaction(force_rollback=True):
        for drop in drops:
            oracle.connection.execute(drop.encode())
            if " add " in drop:
                oracle.look_up()
        try:
            return oracle.ask(statement)
        except psycopg.Error:
            return set(), set()


@pytest.mark.parametrize(("statement", "drops"), [(case[0], case[1:]) for case in _CASES])
def test_all_that_a_statement_may_come_to_mean_is_accessed(
    statement: str, drops: tuple[str, ...], world: tuple[Catalog, Oracle]
) -> None:
    """Missed were: what takes a value of the type that another function gives, the cast behind a function, another
    owner's overload of the same schema, an operator by PostgreSQL's rule for a literal, what the drop of a cast
    uncovers, and that of a column: one of the query around it, or of FROM where it was one of a `*`. NATURAL JOIN and
    INSERT without a list of columns take up what is added.
    """
    catalog, oracle = world
    relations: set[Touched] = set()
    functions: set[Called] = set()
    for gone in chain.from_iterable(combinations(drops, count) for count in range(len(drops) + 1)):
        touched, called = _with(oracle, gone, statement)
        relations |= touched
        functions |= called
    found = analyze(statement, catalog, _SETTINGS)
    assert isinstance(found, Script), found
    difference = judged(found.statements[0], relations, functions)
    assert set(difference.less) <= _NEW


@pytest.mark.parametrize(
    ("statement", "accesses"),
    [
        ("select nextval('s')", {("sequence", "near", "s"), ("sequence", "far", "s")}),
        ("drop sequence s", {("sequence", "near", "s"), ("sequence", "far", "s")}),
        ("drop type mood", {("type", "near", "mood"), ("type", "far", "mood")}),
        ("drop function f(int)", {("function", "near", "f"), ("function", "far", "f")}),
        ("drop operator === (int, text)", {("operator", "far", "===")}),
        ("drop operator === (int, int)", {("operator", "near", "==="), ("operator", "far", "===")}),
        ("comment on operator + (int, int) is 'x'", {("operator", "pg_catalog", "+")}),
        ("truncate t", {("table", "near", "t"), ("table", "far", "t")}),
        ("copy t (id) to stdout", {("table", "near", "t"), ("table", "far", "t")}),
        ("alter function f(int) rename to r", {("function", s, n) for s in ("near", "far") for n in ("f", "r")}),
    ],
)
def test_what_no_tree_shows_is_found_behind_a_name_as_well(
    statement: str, accesses: set[tuple[str, str, str]], world: tuple[Catalog, Oracle]
) -> None:
    found = analyze(statement, world[0], _SETTINGS)
    assert isinstance(found, Script), found
    assert {(a.kind.value, a.object.schema, a.object.name) for a in found.statements[0].accesses} == accesses


def test_what_is_of_the_same_hands_in_the_same_schema_hides_nothing(world: tuple[Catalog, Oracle]) -> None:
    """Else no rule could allow one overload alone."""
    found = analyze("select h(1)", world[0], _SETTINGS)
    assert isinstance(found, Script), found
    assert [a.object.arguments for a in found.statements[0].accesses] == [("integer",)]


def test_made_overloads_with_those_dropped_that_postgresql_picks(postgres: Postgres) -> None:
    """Each is of somebody else, so that who drops one has no say over the others."""
    random = Random(5)
    postgres.run("create database hiding_calls")
    dsn = postgres.dsn("hiding_calls")
    with psycopg.connect(dsn, autocommit=True) as connection:
        World(random, connection, (300, 150, 6))
        _give_away(connection)
    catalog, oracle = asyncio.run(catalog_of(dsn)), Oracle(dsn)
    deeper = 0
    for path in PATHS:
        oracle.connection.execute(f"set search_path = {', '.join(path)}".encode())
        calls, settings = Calls(random, path), Settings(path, "postgres", "postgres")
        for _ in range(STATEMENTS):
            statement = calls.statement()
            with oracle.connection.transaction(force_rollback=True):
                said = list(_peeled(oracle, statement))
            if not said:
                continue
            found = analyze(statement, catalog, settings)
            assert isinstance(found, Script), (path, statement, found)
            for gone, relations, functions in said:
                assert judged(found.statements[0], relations, functions).less == (), (path, statement, gone)
                deeper += len(gone) > 0
    oracle.close()
    assert deeper > STATEMENTS / 20


def _give_away(connection: psycopg.Connection[Any]) -> None:
    made = connection.execute(
        "select 'function ' || oid::regprocedure from pg_proc where pronamespace = any (%(schemas)s::regnamespace[])"
        " union all select 'operator ' || oid::regoperator from pg_operator where oprnamespace = any (%(schemas)s::regnamespace[])",
        {"schemas": ["near", "far"]},
    ).fetchall()
    for number, (object_,) in enumerate(made):
        connection.execute(f"create role hands{number}".encode())
        connection.execute(f"alter {object_} owner to hands{number}".encode())


def _peeled(
    oracle: Oracle, statement: str, gone: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], set[Touched], set[Called]]]:
    """What PostgreSQL says of a statement, and again with each users' function dropped that it calls, and so on."""
    try:
        with oracle.connection.transaction():
            relations, functions = oracle.ask(statement)
    except psycopg.Error:
        return
    yield gone, relations, functions
    for schema, name, arguments in sorted(functions):
        if schema != "pg_catalog" and len(gone) < _DEPTH:
            dropped = f"{schema}.{name}({', '.join(arguments)})"
            with oracle.connection.transaction(force_rollback=True):
                oracle.connection.execute(f"drop function {dropped} cascade".encode())
                yield from _peeled(oracle, statement, (*gone, dropped))
