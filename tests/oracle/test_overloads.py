"""Which function, operator or cast it is, against PostgreSQL: with overloads that shadow and outbid its own."""

import asyncio
import os
from collections.abc import Iterator
from random import Random

import psycopg
import pytest

from pgguard.lab.postgres import Postgres
from pgguard.sql.catalog import Catalog
from tests.oracle.compare import catalog_of, compare
from tests.oracle.overloads import PATHS, Calls, World
from tests.sql.postgres_tree import Oracle

WORLDS = int(os.environ.get("PGGUARD_ORACLE_WORLDS", "2"))
STATEMENTS = int(os.environ.get("PGGUARD_ORACLE_CALLS", "120"))
"""How many of each path are made in each world; most of them PostgreSQL refuses."""


def _world(postgres: Postgres, name: str, random: Random, sizes: tuple[int, int, int], more: str = "") -> str:
    postgres.run(f"create database {name}")
    with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
        World(random, connection, sizes)
        connection.execute(more.encode())
    return postgres.dsn(name)


@pytest.mark.parametrize("seed", range(WORLDS))
def test_made_overloads_are_picked_as_postgresql_picks_them(postgres: Postgres, seed: int) -> None:
    random = Random(seed)
    dsn = _world(postgres, f"overloads{seed}", random, random.choice(((30, 20, 10), (60, 40, 20), (20, 10, 0))))
    catalog, oracle = asyncio.run(catalog_of(dsn)), Oracle(dsn)
    verdicts: dict[str, list[object]] = {}
    for path in PATHS:
        oracle.connection.execute(f"set search_path = {', '.join(path)}".encode())
        calls = Calls(random, path)
        for _ in range(STATEMENTS):
            statement = calls.statement()
            difference = compare(statement, catalog, oracle, path)
            verdicts.setdefault(difference.verdict, []).append((path, statement, difference))
    oracle.close()
    assert set(verdicts) <= {"exact", "more", "invalid"}, verdicts.get("less") or verdicts
    assert len(verdicts["exact"]) > STATEMENTS / 4
    assert len(verdicts.get("more", ())) < 0.06 * len(verdicts["exact"])


_SHADOWING = """
create function near.lower(text) returns text language sql as 'select $1';
create function near.sum(int) returns int language sql as 'select $1';
create function near.yes(bigint) returns boolean language sql as 'select true';
create cast (bigint as boolean) with function near.yes(bigint) as assignment;
create function near.to_pair(text) returns near.pair language sql as 'select row(1, $1)::near.pair';
create cast (text as near.pair) with function near.to_pair(text) as implicit;
create function near.date(variadic anyarray) returns date language sql as 'select null::date';
create function near.date(varchar) returns int language sql as 'select 1';
create function near.dated(date) returns near.other language sql as 'select row(1, ''x'')::near.other';
create cast (date as near.other) with function near.dated(date) as implicit;
create function near.lower(near.other) returns text language sql as 'select $1.b';
create function near.takes(near.pair) returns int language sql as 'select 1';
create function near.lt(int, int) returns boolean language sql as 'select true';
create operator near.< (leftarg = int, rightarg = int, function = near.lt);
create function near.eq(near.pair, near.typed) returns boolean language sql as 'select true';
create operator near.= (leftarg = near.pair, rightarg = near.typed, function = near.eq);
create function near.ge(name, name) returns bigint language sql as 'select 1::bigint';
create operator near.>= (leftarg = name, rightarg = name, function = near.ge);
create operator near.= (leftarg = name, rightarg = name, function = near.ge);
create function near.le(text, text) returns boolean language sql as 'select true';
create operator near.<= (leftarg = text, rightarg = text, function = near.le);
create operator family near.row using btree;
alter operator family near.row using btree add operator 2 near.<= (text, text);
create function near.like(text, text) returns boolean language sql as 'select true';
create operator near.~~ (leftarg = text, rightarg = text, function = near.like);
"""

_FOUND = (
    "select 1 from near.t where l",
    "select 1 from near.t group by l having l",
    "select not l, l and y, l is true, case when l then 1 end, count(*) filter (where l) over () from near.t group by l, y",
    "select 1 from near.t a join near.t b on a.l",
    "update near.t set i = 1 where l",
    "delete from near.t where l",
    "select ty in (tt) from near.t, near.typed tt",
    "select ty = tt, ty <> all (array[tt]) from near.t, near.typed tt",
    "select near.takes(tt), near.takes(ty) from near.t, near.typed tt",
    "select near.takes((select 'x')), near.takes('(1,x)') from near.t",
    "select p from near.t where p = any (select ty from near.t)",
    "select lower(s), pg_catalog.lower(s), sum(i), pg_catalog.sum(i) from near.t group by s, i",
    "select i < 1, (l, i) <= (1, 2), (i, i) >= (1, 2), i operator(pg_catalog.<) 1, i between 1 and 2 from near.t",
    "select (i, l) <> (select 1, 2), (i, l) >= (select 1, 2), (i, s) = any (select i, s from near.t) from near.t",
    "select (row(1, 'x')).date",
    "select (s, i) <= ('a', 1), (s, i) <= (select s, 2 from near.t) from near.t",
    "select (current_date).lower, date(s), date('2020-01-01'), date(v), date(ts), text(i) from near.t",
    "select nm between 'a' and 'b' from near.t",
    "select case nm when 'a' then 1 end, nm in (nm, ch::name) from near.t a",
    "select 1 from near.t a join near.t b using (nm)",
    "select s like 'a', s not like 'a', s ~~ 'x', s like any (array['a']), s ilike 'b' from near.t",
    "select i from near.t order by i using operator(pg_catalog.<)",
    "select near.takes(s), near.takes(s || 'x'), near.takes(coalesce(s, 'y')) from near.t",
    "insert into near.t (p, y) select s, l from near.t",
    "insert into near.t (p) values ('(1,x)'), ('x'::text)",
    "update near.t set (p, y) = (select s, l from near.t limit 1)",
    "select p from near.t union select ty::near.pair from near.t",
    "with recursive r (a) as (select p from near.t union all select s::near.pair from near.t, r) select a from r",
    "select coalesce(p, ty), case when y then p else ty end, array[p, ty], nullif(p, ty), near.takes(nullif(v, s)) from near.t",
    "select * from (values ('y'), ('x'::text)) v(a), near.takes(v.a)",
    "merge into near.t a using near.t b on a.l when matched and b.l then update set p = b.s when not matched then insert (y) values (b.l)",
    "select row(1, s, day)::near.kin, (row(1, s)::near.pair).b, (nullif(null, null))::near.pair, near.takes(case when y then s end) from near.t",
)  # fmt: skip


@pytest.fixture(scope="module")
def shadowed(postgres: Postgres) -> Iterator[tuple[Catalog, Oracle]]:
    dsn = _world(postgres, "shadowed", Random(0), (0, 0, 0), _SHADOWING)
    oracle = Oracle(dsn)
    yield asyncio.run(catalog_of(dsn)), oracle
    oracle.close()


@pytest.mark.parametrize("path", [("near", "pg_catalog"), ("pg_catalog", "near")], ids=("before", "behind"))
@pytest.mark.parametrize("statement", _FOUND)
def test_what_shadows_and_what_converts(
    statement: str, path: tuple[str, ...], shadowed: tuple[Catalog, Oracle]
) -> None:
    """Missed were: users' casts to boolean as an assignment, rows of typed tables, literals out of subqueries, what
    NULLIF makes of its operands, a CASE without ELSE, and `(row(…)).f` where f takes any number of arguments.
    """
    catalog, oracle = shadowed
    oracle.connection.execute(f"set search_path = {', '.join(path)}".encode())
    difference = compare(statement, catalog, oracle, path)
    assert difference.verdict == "exact", difference


_ONCE_CALLS = """
create schema calls;
create function calls.json_array(int, int) returns int language sql as 'select 1';
create function calls.json_object(text[], text[]) returns int language sql as 'select 1';
create function calls.json_arrayagg(int) returns int language sql as 'select 1';
create function calls.json(int) returns int language sql as 'select 1';
create function calls.json_scalar(int) returns int language sql as 'select 1';
create function calls.json_serialize(int) returns int language sql as 'select 1';
create function calls.json_value(int, int) returns int language sql as 'select 1';
create function calls.json_exists(int, int) returns int language sql as 'select 1';
create function calls.json_query(int, int) returns int language sql as 'select 1';
create function calls.merge_action() returns int language sql as 'select 1';
create function calls.unnest(int[], int[]) returns setof int language sql as 'select 1';
create function calls.unnest(int[]) returns setof int language sql as 'select 1';
"""


@pytest.fixture(scope="module")
def calls(postgres: Postgres) -> Iterator[tuple[Catalog, Oracle]]:
    dsn = _world(postgres, "calls", Random(0), (0, 0, 0), _ONCE_CALLS)
    oracle = Oracle(dsn)
    oracle.connection.execute("set search_path = calls, pg_catalog")
    yield asyncio.run(catalog_of(dsn)), oracle
    oracle.close()


@pytest.mark.parametrize(
    "expression",
    [
        "json_array(1, 2)", "json_object(array['a'], array['b'])", "json_arrayagg(1)", "json(1)", "json_scalar(1)",
        "json_serialize(1)", "json_value(1, 2)", "json_exists(1, 2)", "json_query(1, 2)", "merge_action()",
        "a from unnest(array[1]) a", "a from calls.unnest(array[1], array[2]) a", "a from unnest(array[1], array[2]) a",
    ],
)  # fmt: skip
def test_what_newer_grammar_takes_for_syntax_an_older_server_calls(
    expression: str, calls: tuple[Catalog, Oracle]
) -> None:
    """The parser's `json_array(…)` is no call: that of a function with this name was missed before PostgreSQL 16."""
    catalog, oracle = calls
    difference = compare(f"select {expression}", catalog, oracle, ("calls", "pg_catalog"))
    assert difference.verdict == "exact" or "calls.json(integer)" in str(difference.more), difference
