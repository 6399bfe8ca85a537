"""The oracle on newer servers: the regular statements, those of their own grammar, and made-up overloads."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psycopg
import pytest

from pgguard.lab.postgres import Postgres
from pgguard.sql.catalog import Catalog
from tests.clients.test_versions import installed  # noqa: F401  # a fixture
from tests.oracle.compare import catalog_of, compare
from tests.oracle.generate import Maker
from tests.oracle.overloads import PATHS, Calls, World
from tests.sql.postgres_tree import Oracle

pytestmark = pytest.mark.slow

_SQL = Path(__file__).parents[1] / "sql"
_PATH = ("pg_catalog", "app", "public")

NEWER = (
    (16, "select json_array(id, card returning jsonb), json_object('a': name absent on null) from customers"),
    (16, "select json_arrayagg(name order by card), json_objectagg(name: id returning text) from customers"),
    (16, "select json_array(select card from customers c where c.id = o.id) from orders o"),
    (16, "select status is json, status is not json object with unique keys from orders"),
    (16, "select system_user, s.x from (select id as x from customers)  s"),
    (16, "select * from (select id from customers)"),
    (17, "select json(status), json_scalar(id), json_serialize(data returning text) from orders"),
    (17, "select json_value(data, '$.a' returning int default f(1) on empty), json_exists(data, '$.b' passing id as x) from orders"),
    (17, "select json_query(data, '$.a' returning text with wrapper) from orders where made is not null"),
    (17, "select j.* from orders o, json_table(o.data, '$[*]' passing o.id as x columns (a int path '$.a', n for ordinality, nested path '$.b' columns (c text path '$'))) j"),
    (17, "merge into customers c using orders o on c.id = o.customer_id when matched then update set name = o.status when not matched by source then delete returning merge_action(), c.*, o.total"),
    (17, "merge into open_orders v using items i on v.id = i.order_id when matched then delete"),
    (17, "with m as (merge into customers c using items i on c.id = i.line when matched then do nothing returning c.id) select id from m"),
    (18, "update customers set name = 'x' where id = 1 returning old.name, new.card, old.id"),
    (18, "insert into customers (id) values (1) returning with (old as o, new as n) o.name, n.*"),
    (18, "delete from customers returning old.*, new.id"),
    (18, "merge into customers c using orders o on c.id = o.id when matched then delete returning old.name, merge_action()"),
)  # fmt: skip


@pytest.fixture(scope="module", params=(16, 17, 18))
def server(request: pytest.FixtureRequest, installed: Path, servers: Path) -> Iterator[Postgres]:  # noqa: F811
    binaries = installed / "node_modules" / f"postgres-{request.param}" / "native" / "bin"
    with Postgres(servers / f"oracle-{request.param}", binaries) as running:
        running.run("create database rich")
        running.run_file(_SQL / "schema.sql", "rich")
        yield running


@pytest.fixture(scope="module")
def held(server: Postgres) -> Iterator[tuple[Catalog, Oracle]]:
    oracle = Oracle(server.dsn("rich"))
    oracle.connection.execute("set search_path = app, public")
    yield asyncio.run(catalog_of(server.dsn("rich"))), oracle
    oracle.close()


def test_the_regular_statements(held: tuple[Catalog, Oracle]) -> None:
    catalog, oracle = held
    found = [(s, compare(s, catalog, oracle, _PATH)) for s in (_SQL / "statements.sql").read_text().splitlines()]
    assert [(s, d) for s, d in found if d.verdict not in {"exact", "invalid"}] == []
    assert sum(d.verdict == "exact" for _, d in found) > 400


def test_the_grammar_of_newer_servers(server: Postgres, held: tuple[Catalog, Oracle]) -> None:
    catalog, oracle = held
    found = [(s, compare(s, catalog, oracle, _PATH)) for since, s in NEWER if since <= server.version]
    for statement, difference in found:
        assert difference.verdict == "exact", (statement, difference)


def test_generated_statements(held: tuple[Catalog, Oracle]) -> None:
    catalog, oracle = held
    found = [(s, compare(s, catalog, oracle)) for s in (Maker(Random(f"new.{n}")).statement() for n in range(400))]
    assert [(s, d) for s, d in found if d.verdict not in {"exact", "invalid"}] == []


def test_made_overloads(server: Postgres) -> None:
    server.run("create database overloads")
    random = Random(server.version)
    with psycopg.connect(server.dsn("overloads"), autocommit=True) as connection:
        World(random, connection, (60, 40, 10))
    catalog, oracle = asyncio.run(catalog_of(server.dsn("overloads"))), Oracle(server.dsn("overloads"))
    found = []
    for path in PATHS:
        oracle.connection.execute(f"set search_path = {', '.join(path)}".encode())
        calls = Calls(random, path)
        found += [(path, s, compare(s, catalog, oracle, path)) for s in (calls.statement() for _ in range(150))]
    oracle.close()
    assert [(p, s, d) for p, s, d in found if d.verdict not in {"exact", "more", "invalid"}] == []
