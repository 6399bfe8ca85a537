"""Loading a catalog from a real PostgreSQL, and knowing when it has changed."""

import asyncio

import asyncpg
import psycopg
import pytest

from pgguard.database.catalog_loader import CatalogReader, change_mark, load_catalog
from pgguard.lab.postgres import Postgres
from pgguard.sql.catalog import Catalog, restore, save


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> str:
    base = f"postgresql://postgres@localhost:{postgres.port}/"
    with psycopg.connect(base + "postgres", autocommit=True) as connection:
        connection.execute("create database loading")
    with psycopg.connect(base + "loading", autocommit=True) as connection:
        connection.execute(
            """
            create schema app;
            create table app.people (id int primary key, gone text, card text, double int generated always as (id * 2) stored);
            alter table app.people drop column gone;
            comment on column app.people.card is '@pii';
            create table app.visits (id int, person int references app.people);
            create view app.cards as select id as number, card from app.people;
            create view app.above as select card as c, upper(card) as u from app.cards;
            create view app.own with (security_invoker) as select id from app.people;
            create table app.logs (at date) partition by range (at);
            create table app.logs_1 partition of app.logs for values from ('2026-01-01') to ('2027-01-01');
            create function app.f(a int, b text default 'x', variadic c int[] default '{}') returns table (x int, y text)
              language sql security definer set search_path = app as 'select 1, ''a''::text';
            """
        )
    return base + "loading"


def _load(dsn: str, before: Catalog | None = None) -> Catalog:
    async def load() -> Catalog:
        connection = await asyncpg.connect(dsn)
        try:
            return await load_catalog(connection, before)
        finally:
            await connection.close()

    return asyncio.run(load())


def test_relations_come_with_columns_types_and_ties(dsn: str) -> None:
    catalog = _load(dsn)
    people = catalog.relation("app", "people")
    assert people is not None
    assert people.columns == ("id", "card", "double")
    assert people.numbers == (1, 3, 4)
    assert people.types == (23, 25, 23)
    assert people.generated == ("double",)
    assert people.comments == {"card": "@pii"}
    assert people.constraints == {"people_pkey": ("id",)}
    assert people.referenced_by == (("app", "visits"),)
    assert people.dependents == (("app", "above"), ("app", "cards"), ("app", "own"))
    logs = catalog.relation("app", "logs_1")
    assert logs is not None
    assert logs.ancestors == (("app", "logs"),)
    index = catalog.relation("app", "people_pkey")
    assert index is not None
    assert index.table == ("app", "people")


def test_the_source_of_a_view_column_is_followed_down_where_it_is_plain(dsn: str) -> None:
    above = _load(dsn).relation("app", "above")
    assert above is not None
    assert above.sources == (("c", "app", "cards", "card"), ("c", "app", "people", "card"))
    assert above.definition is None


def test_functions_come_with_what_overloads_are_told_apart_by(dsn: str) -> None:
    (function,) = _load(dsn).functions("f")
    assert function.arguments == ("integer", "text", "integer[]")
    assert function.names == ("a", "b", "c")
    assert (function.required, function.variadic, function.variadic_type) == (1, True, 23)
    assert (function.columns, function.column_types) == (("x", "y"), (23, 25))
    assert (function.definer, function.sets, function.returns_set) == (True, ("search_path=app",), True)


def test_a_catalog_survives_being_saved(dsn: str) -> None:
    catalog = _load(dsn)
    assert restore(save(catalog)).snapshot == catalog.snapshot


@pytest.mark.parametrize(
    "change",
    [
        "create table app.fresh (a int)", "alter table app.visits add column z int", "drop view app.own",
        "create function app.g() returns int language sql as 'select 1'", "comment on column app.people.id is 'x'",
        "create schema later", "alter table app.people rename to persons",
    ],
)  # fmt: skip
def test_each_change_changes_the_mark(dsn: str, change: str) -> None:
    async def marks() -> tuple[str, str, str]:
        connection = await asyncpg.connect(dsn)
        try:
            first, again = await change_mark(connection), await change_mark(connection)
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(change)
            after = await change_mark(connection)
            await transaction.rollback()
            return first, again, after
        finally:
            await connection.close()

    first, again, after = asyncio.run(marks())
    assert first == again != after


def test_the_mark_tells_a_commit_that_comes_after_a_younger_one(dsn: str) -> None:
    """By the newest row version alone, a rename committed late went unseen, and the old name stayed in force."""

    async def marks() -> tuple[str, str]:
        older, younger = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        try:
            transaction = older.transaction()
            await transaction.start()
            await older.execute("alter table app.visits rename to calls")
            await younger.execute("create schema later")
            await younger.execute("create table later.t (id int)")
            before = await change_mark(younger)
            await transaction.commit()
            after = await change_mark(younger)
            await younger.execute("alter table app.calls rename to visits; drop schema later cascade")
            return before, after
        finally:
            await older.close()
            await younger.close()

    before, after = asyncio.run(marks())
    assert before != after


def test_a_table_that_is_locked_holds_no_load_up(dsn: str) -> None:
    """pg_get_viewdef waits for the locks of an open transaction, whose own next statement may wait for the load."""
    before = _load(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("alter table app.people add new int; create view app.fresh as select 1 as x")
        connection.execute("lock app.visits in access exclusive mode")
        connection.execute("set local idle_in_transaction_session_timeout = '30s'")  # ends it, if a load waited for it
        kept, unseen = _load(dsn, before), _load(dsn)
        connection.execute("rollback")
    assert kept.relation("app", "own") == before.relation("app", "own")
    assert kept.relation("app", "cards") == before.relation("app", "cards")
    for name in ("own", "cards"):
        relation = unseen.relation("app", name)
        assert relation is not None
        assert relation.definition == ""


@pytest.mark.slow
def test_a_hundred_thousand_relations_load_and_are_found(postgres: Postgres) -> None:
    """Partitioned tables without partitions: they have no files, whose making and removing would take minutes."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("create database many")
    with psycopg.connect(postgres.dsn("many"), autocommit=True) as connection:
        for start in range(0, 100_000, 2_000):  # a transaction holds only so many locks
            connection.execute(
                f"do $$ begin for i in {start}..{start + 1_999} loop"
                " execute format('create table t%s (a int, b text, c int) partition by list (a)', i); end loop; end $$"
            )
    catalog = _load(postgres.dsn("many"))
    assert all(catalog.relation("public", f"t{i}") is not None for i in range(100_000))


CHANGES = (
    "create table app.fresh (a int primary key, b app.people)", "alter table app.visits add column z int",
    "alter table app.people rename column card to cards", "comment on column app.people.cards is 'x'",
    "comment on column app.people.cards is null", "alter table app.logs rename to log", "drop view app.own",
    "create or replace view app.cards as select id as number, cards as card, double from app.people",
    "create type app.pair as (x int); create function app.g(app.pair) returns app.pair language sql as 'select $1'",
    "alter type app.pair add attribute y text", "alter type app.pair rename to two",
    "create operator app.! (rightarg = app.two, function = app.g)", "drop operator app.! (none, app.two)",
    "create function app.to_two(int) returns app.two language sql as 'select null::app.two'",
    "create cast (int as app.two) with function app.to_two(int)",
    "drop cast (int as app.two)", "alter function app.g(app.two) rename to h", "drop function app.h(app.two)",
    "create or replace function app.to_two(int) returns app.two language sql security definer as 'select null::app.two'",
    "create aggregate app.agg(int) (sfunc = int4pl, stype = int)", "alter table app.visits drop constraint visits_person_fkey",
    "alter table app.fresh drop constraint fresh_pkey", "create index on app.fresh (a)", "create schema later",
    "alter table app.fresh set schema later", "alter schema later rename to latest", "create role reader_new",
    "alter table latest.fresh owner to reader_new", "alter role reader_new rename to reader_other",
    "drop owned by reader_other; drop role reader_other", "drop table app.visits", "alter table app.log detach partition app.logs_1",
    "begin; create table app.rolled (a int); rollback", "create extension hstore", "drop extension hstore",
    "do $$ begin create table app.inner1 (a int); create table app.inner2 (b int); drop table app.inner1; end $$",
    "create temp table own (a int); create function app.t(own) returns int language sql as 'select 1'",
    "vacuum full pg_class; vacuum freeze pg_attribute; analyze", "truncate app.inner2", "drop schema app cascade",
)  # fmt: skip


@pytest.mark.slow
def test_reading_what_has_changed_gives_what_reading_all_gives(postgres: Postgres, dsn: str) -> None:
    """Whatever the change: an object that is gone, or has another name, hides what the database would find."""
    postgres.run("create database changing template loading")

    def parts(catalog: Catalog) -> tuple[object, ...]:
        s = catalog.snapshot
        numbered = ({one.oid: one for one in part} for part in (s.relations, s.functions, s.operators, s.types))
        named = (frozenset(part) for part in (s.schemas, s.casts, s.roles, s.extensions, s.languages))
        return (*numbered, *named)

    async def compare() -> None:
        url = postgres.dsn("changing")
        changing, asking, old = await asyncpg.connect(url), await asyncpg.connect(url), await asyncpg.connect(url)
        reader = CatalogReader(asking)
        await reader.load()
        for number, change in enumerate(CHANGES):
            for statement in change.split("; ") if change.startswith("vacuum") else (change,):
                await changing.execute(statement)
            if number % 5 == 0:  # an open transaction keeps the horizon of the next load back
                await old.execute("rollback; begin; select pg_current_xact_id()")
            found = await reader.load()
            assert parts(found) == parts(await load_catalog(asking)), change
        await old.execute("rollback")
        assert await reader.load() is await reader.load()
        for connection in (changing, asking, old):
            connection.terminate()

    asyncio.run(compare())
