"""The second oracle over all families: a role with exactly the accesses may run a statement, and with one less may not.

Each statement runs in a transaction that is rolled back, as a role that owns nothing and from which PUBLIC's own
privileges are taken. What ownership stands for (alter, drop, grant, maintain) is given as ownership.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pgguard.lab.postgres import Postgres
from pgguard.model.access import Access, Kind, Privilege
from pgguard.sql.analyze import Script, analyze
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings
from tests.oracle.compare import PATH, catalog_of

_SQL = Path(__file__).parents[1] / "sql"
_P = Privilege
_OWNS = frozenset({_P.ALTER, _P.DROP, _P.GRANT, _P.MAINTAIN})

SETUP = """
create role bounded; create role another;
create foreign data wrapper fdw; create server remote foreign data wrapper fdw;
create foreign table app.far (id int) server remote;
create function app.fires() returns trigger language plpgsql as 'begin return new; end';
create table app.lone (id int); create index by_total on app.orders (total); create server lonely foreign data wrapper fdw;
create table app.part (id int, at date, kind text);
create trigger t0 before insert on app.orders for each row execute function app.fires();
create materialized view app.fresh as select id from app.orders;
select lo_create(4711);
revoke execute on all functions in schema app from public;
revoke usage on language sql, plpgsql from public; revoke temp, create on database privileges from public;
revoke create on schema public from public; revoke usage on schema app, other from public;
grant usage on schema app, other, public to bounded;
"""

STATEMENTS = (
    # reading and writing
    "select id, f(card::text) from customers where region = 'x'", "table customers", "select c from customers c",
    "select count(*) from orders", "select 1 from orders o join items i on o.id = i.order_id", "select * from careful",
    "select number from deep for update", "select 1 from orders for share", "select * from joined", "select * from open_orders",
    "insert into items (order_id, line) values (1, 2)", "insert into items (order_id, line) select id, 1 from tree returning price",
    "insert into items as t (order_id, line) values (1, 2) on conflict (order_id, line) do update set price = excluded.price where t.product = 'x'",
    "insert into items (order_id, line) values (1, 2) on conflict on constraint items_pkey do nothing",
    "update customers set name = 'x' where card = 'y'", "update only base set note = 'x'", "delete from tree where id = 1",
    "delete from orders using items where items.line = orders.id returning status", "update careful set name = 'x'",
    "insert into careful (name, card) values ('x', 'y')", "delete from careful where card = 'x'", "update deep set number = 'x' where one = 1",
    "with w as (delete from tree returning id) insert into base select id from w", "truncate tree", "truncate orders, items",
    "merge into items t using orders s on t.order_id = s.id when matched and s.total > 3 then update set price = s.total when not matched then insert (order_id, line) values (s.customer_id, 1)",
    "merge into items t using orders s on t.order_id = s.id when matched then delete when not matched then do nothing",
    "select nextval('numbers')", "select setval('numbers', 3)",
    "select last_value from numbers",
    "explain select id from customers", "explain analyze delete from tree", "lock table tree in exclusive mode", "lock table careful in exclusive mode",
    "declare c cursor for select name from customers",
    "do language plpgsql 'begin null; end'", "select v(1, 2), g(1), (row(1, 'x')::pair).pair_sum", "select 'a'::text + 'b'::text",
    "select row(1, 'x')::pair === row(1, 'x')::pair", "select my_sum(id) over () from tree", "update pairs set p = 'x'::text",
    # copy and large objects
    "copy customers to '/nowhere/x'", "copy customers (id, name) from '/nowhere/x'", "copy (select name from customers) to program 'true'",
    "copy tree from program 'true' where f(id) > 1", "select lo_get(4711)", "select lo_put(4711, 0, '')",
    # what is made
    "create table app.n (id int)", "create table app.n as select name from customers", "select id into app.n from customers",
    "create temp table n (id int)", "create temp table n as select id from tree",
    "create table app.n (id int references orders)", "create table app.n (id int references customers (id), p text) ",
    "create table app.n () inherits (base)", "create table app.n partition of events for values from ('2030-01-01') to ('2031-01-01')",
    "create view app.n as select id from customers", "create materialized view app.n as select id from customers",
    "create sequence app.n", "create function app.n() returns int language plpgsql as 'begin return 1; end'",
    "create function app.n() returns int language sql begin atomic select 1; end", "create procedure app.n() language plpgsql as 'begin end'",
    "create aggregate app.n (int) (sfunc = app.step, stype = int)", "create operator app.### (leftarg = int, rightarg = int, function = app.step)",
    "create type app.n as (a int)", "create type app.n as enum ('a')", "create domain app.n as int check (value > 0)", "create schema n",
    'create collation app.n from "C"', "create foreign table app.n (id int) server remote", "create server s2 foreign data wrapper fdw",
    "create index on orders (total)", "create trigger t before insert on orders for each row execute function fires()",
    "create constraint trigger t after insert on orders from customers for each row execute function fires()",
    "create rule r as on insert to tree do also delete from base", "create policy p on orders using (exists (select 1 from customers c where c.id = customer_id))",
    "create statistics app.n on id, name from customers",
    # what is changed
    "alter table tree add x int", "alter table base add x int", "alter table only base alter note set default 'x'", "alter table base rename note to m",
    "alter table tree add foreign key (id) references customers", "alter table events attach partition part default",
    "alter table events detach partition events_2026", "alter table tree set schema other", "alter table tree rename to x",
    "alter view open_orders rename to x", "alter sequence numbers restart", "alter function f(int) immutable", "alter type pair rename to x",
    "alter type mood add value 'so'", "alter domain positive drop not null", "alter index orders_pkey rename to x",
    "alter server remote version '2'", "alter large object 4711 owner to bounded", "comment on table tree is 'x'", "comment on column tree.id is 'x'",
    "comment on function f(int) is 'x'", "grant select on tree to another", "grant execute on function f(int) to another",
    "grant usage on sequence numbers to another", "refresh materialized view fresh", "reindex table tree", "cluster orders using orders_pkey",
    # what is dropped
    "drop table lone", "drop table events", "drop table base cascade", "drop table orders cascade", "drop view careful cascade", "drop index by_total", "drop server lonely",
    "drop function g(int, int, text)", "drop domain positive",
    "drop materialized view fresh", "drop trigger t0 on orders", "drop schema other cascade", "drop procedure work", "drop aggregate my_sum(int)",
    # roles and settings
    "set local session_replication_role = replica", "select set_config('session_replication_role', 'replica', true)",
)  # fmt: skip


def _given(access: Access) -> list[sql.Composed]:
    """What gives one access; nothing where PostgreSQL asks for nothing."""
    name = access.object
    if name.schema == "pg_catalog" or access.kind is Kind.OPAQUE:
        return []
    give = _GIVE.get(access.kind)
    return [] if give is None else give(access)


def _identifier(access: Access) -> sql.Identifier:
    name = access.object
    return sql.Identifier(name.name) if name.schema is None else sql.Identifier(name.schema, name.name)


def _in_schema(access: Access) -> sql.Composed:
    return sql.SQL("grant create on schema {} to bounded").format(sql.Identifier(access.object.schema or "app"))


def _relation(access: Access) -> list[sql.Composed]:
    name = _identifier(access)
    if access.privilege is _P.CREATE:
        return [_in_schema(access)]
    if access.privilege in _OWNS:
        return [sql.SQL("do {}").format(sql.Literal(_OWNED.format(name.as_string(None))))]
    if access.privilege is _P.LOCK:
        return [sql.SQL("grant update on {} to bounded").format(name)]
    word = sql.SQL("sequence " if access.kind is Kind.SEQUENCE else "")
    verb = sql.SQL(access.privilege.value)
    if access.columns is None or access.kind is Kind.SEQUENCE:
        return [sql.SQL("grant {} on {}{} to bounded").format(verb, word, name)]
    columns = access.columns or access.candidates[:1]
    return [sql.SQL("grant {} ({}) on {} to bounded").format(verb, sql.Identifier(c), name) for c in columns]


_OWNED = """
begin
  execute (select format('alter %s %s owner to bounded',
    case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'f' then 'foreign table' else 'table' end,
    c.oid::regclass) from pg_class c where c.oid = '{0}'::regclass);
end
"""


def _function(access: Access) -> list[sql.Composed]:
    if access.privilege is _P.CREATE:
        return [_in_schema(access)]
    arguments = sql.SQL(", ".join(access.object.arguments or ()))
    name = _identifier(access)
    if access.privilege is _P.EXECUTE:
        return [sql.SQL("grant execute on routine {}({}) to bounded").format(name, arguments)]
    return [sql.SQL("alter routine {}({}) owner to bounded").format(name, arguments)]


def _plain(word: str, create: str) -> Callable[[Access], list[sql.Composed]]:
    def give(access: Access) -> list[sql.Composed]:
        if access.privilege is _P.CREATE:
            return [sql.SQL(create).format()] if create else []
        if access.privilege in {_P.USAGE, _P.RUN, _P.TEMP}:
            verb = "usage" if access.privilege is _P.RUN else access.privilege.value
            return [sql.SQL(f"grant {verb} on {word} {{}} to bounded").format(_identifier(access))]
        return [sql.SQL(f"alter {word} {{}} owner to bounded").format(_identifier(access))]

    return give


def _server(access: Access) -> list[sql.Composed]:
    word = "foreign server" if access.privilege is _P.USAGE else "server"
    return _plain(word, "")(access)


def _type(access: Access) -> list[sql.Composed]:
    if access.privilege is _P.CREATE:
        return [_in_schema(access)]
    return [sql.SQL("alter type {} owner to bounded").format(_identifier(access))]


def _large_object(access: Access) -> list[sql.Composed]:
    number = sql.SQL(access.object.name)
    if access.privilege in _OWNS:
        return [sql.SQL("alter large object {} owner to bounded").format(number)]
    verb = sql.SQL("select" if access.privilege is _P.READ else "update")
    return [sql.SQL("grant {} on large object {} to bounded").format(verb, number)]


_FILE_ROLES = {
    _P.READ_FILE: "pg_read_server_files", _P.WRITE_FILE: "pg_write_server_files",
    _P.RUN_PROGRAM: "pg_execute_server_program",
}  # fmt: skip


def _role(access: Access) -> list[sql.Composed]:
    role = _FILE_ROLES.get(access.privilege, access.object.name)
    return [sql.SQL("grant {} to bounded").format(sql.Identifier(role))]


def _setting(access: Access) -> list[sql.Composed]:
    return [sql.SQL("grant set on parameter {} to bounded").format(_identifier(access))]


def _creates(access: Access) -> list[sql.Composed]:
    return [_in_schema(access)] if access.privilege is _P.CREATE else []


_GIVE: dict[Kind, Callable[[Access], list[sql.Composed]]] = {
    Kind.TABLE: _relation, Kind.SEQUENCE: _relation, Kind.FUNCTION: _function, Kind.TYPE: _type, Kind.ROLE: _role,
    Kind.SERVER: _role, Kind.SETTING: _setting, Kind.LARGE_OBJECT: _large_object, Kind.OPERATOR: _creates,
    Kind.COLLATION: _creates, Kind.SCHEMA: _plain("schema", "grant create on database privileges to bounded"),
    Kind.LANGUAGE: _plain("language", ""), Kind.FOREIGN_DATA_WRAPPER: _plain("foreign data wrapper", ""),
    Kind.FOREIGN_SERVER: _server, Kind.DATABASE: _plain("database", ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(postgres: Postgres) -> Iterator[tuple[psycopg.Connection, Catalog]]:
    postgres.run("create database privileges")
    postgres.run_file(_SQL / "schema.sql", "privileges")
    with psycopg.connect(postgres.dsn("privileges"), autocommit=True) as connection:
        connection.execute(SETUP)
        connection.execute("set search_path = app, public")
        yield connection, asyncio.run(catalog_of(postgres.dsn("privileges")))


def _runs(connection: psycopg.Connection, statement: str, given: list[sql.Composed]) -> bool:
    """Whether the role has the privileges for it: an error of another kind comes behind the checks."""
    with connection.transaction(force_rollback=True):
        for one in given:
            connection.execute(one)
        connection.execute("set local role bounded")
        try:
            connection.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return False
        except (
            psycopg.OperationalError,
            psycopg.IntegrityError,
            psycopg.errors.UndefinedFile,
            psycopg.errors.ObjectNotInPrerequisiteState,
        ):
            return True
        return True


@pytest.mark.parametrize("statement", STATEMENTS)
def test_exactly_the_accesses_suffice(statement: str, prepared: tuple[psycopg.Connection, Catalog]) -> None:
    connection, catalog = prepared
    found = analyze(statement, catalog, Settings(PATH, "bounded", "bounded"))
    assert isinstance(found, Script), found
    (facts,) = found.statements
    assert facts.opaque is None, facts.opaque
    given = list({one.as_string(connection): one for access in facts.accesses for one in _given(access)}.values())
    beside = [sql.SQL(one).format() for one in BESIDE.get(statement, ())]
    assert _runs(connection, statement, given + beside), [g.as_string(connection) for g in given]
    for left_out in given if statement not in MORE else ():
        rest = [one for one in given if one is not left_out]
        assert not _runs(connection, statement, rest + beside), left_out.as_string(connection)


_CREATES = ("grant create on schema app to bounded",)
BESIDE = {
    "create index on orders (total)": _CREATES,  # an index is a part of its table (rules reference)
    "create statistics app.n on id, name from customers": _CREATES,
    "refresh materialized view fresh": ("grant select on app.orders to bounded",),  # its owner reads it
}
"""What PostgreSQL asks for beside the accesses."""

MORE = frozenset({
    # what a security_invoker view reads is accessed whole
    "update careful set name = 'x'", "insert into careful (name, card) values ('x', 'y')", "delete from careful where card = 'x'",
    "update deep set number = 'x' where one = 1",
    # what runs later with rights of the owner is judged as it is made
    "create view app.n as select id from customers", "create rule r as on insert to tree do also delete from base",
    "create policy p on orders using (exists (select 1 from customers c where c.id = customer_id))",
    # whoever owns the table may drop what hangs on it, and what is a part of it
    "alter table events detach partition events_2026", "drop table events", "drop table base cascade",
    "drop table orders cascade", "drop view careful cascade", "drop schema other cascade",
    # the new name of a type is judged as the making of one
    "alter type pair rename to x",
})  # fmt: skip
"""Where the analysis asks for more than PostgreSQL."""


def test_what_is_excepted_is_among_the_statements() -> None:
    assert not (MORE | BESIDE.keys()) - set(STATEMENTS)
