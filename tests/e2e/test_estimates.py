"""Rules that look at the planner's estimate, the whole way: asked in the session just before the statement would run."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psycopg
import pytest

from pgguard.lab.lab import Lab, Plan

from .conftest import connected, run_psql

_RULES = Path(__file__).parents[2] / "rules"
_ONE_AT_A_TIME = """
rules:
  - name: few-analysts-rows
    who: {group: analysts}
    deny: select
    on: sales.orders
    when: {estimated_rows: "> 1000000"}
  - name: dora-works-on-orders
    who: {user: dora}
    allow: [select, update, delete]
    on: sales.orders
  - name: dora-peeks
    who: {user: dora}
    allow: execute
    on: {function: sales.peek}
  - name: peeking-waits
    who: {user: dora}
    hold: execute
    on: {function: sales.peek}
    approvers: {group: dba}
    timeout: 200ms
  - name: one-at-a-time
    who: {user: dora}
    deny: [select, update, delete]
    on: sales.orders
    when: {estimated_rows: "> 1"}
"""


@pytest.fixture(scope="module")
def estimated(servers: Path) -> Iterator[Lab]:
    folder = servers / "estimated"
    shutil.copytree(_RULES, folder / "rules")
    (folder / "rules" / "estimates.yaml").write_text(_ONE_AT_A_TIME)
    with Lab(Plan(folder)) as lab:
        yield lab


@pytest.mark.parametrize(
    ("few", "many"),
    [
        ("select total from sales.orders where id = 1", "select total from sales.orders where id > 1"),
        ("update sales.orders set total = 1 where id = 1", "update sales.orders set total = 1 where id > 1"),
        (
            "COPY /* so */ (select total from sales.orders where id = (1)) TO stdout",
            "copy(select ')' from sales.orders where id > 1) to stdout",
        ),
        ("copy sales.products to stdout", "copy sales.orders (id) to stdout"),
        ("delete from sales.orders where id = 7", "delete from sales.orders where id > 7"),
        (
            "with d as (delete from sales.orders where id = 7) select 1",
            "with d as (delete from sales.orders where id > 7) select 1",
        ),
        (
            "with d as (select 7) update sales.orders set total = 1 where id = 8",
            "with d as (delete from sales.orders where id > 7) update sales.orders set total = 1 where id = 8",
        ),
    ],
)
def test_the_estimate_is_that_of_the_rows_read_or_touched(estimated: Lab, few: str, many: str):
    assert run_psql(estimated, "dora", few).stderr == ""
    refused = run_psql(estimated, "dora", many)
    assert '"one-at-a-time"' in refused.stderr
    assert "42501" in refused.stderr


@pytest.fixture
def as_dora(estimated: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in estimated.environment("dora").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)


@pytest.fixture
def psycopg_of_dora(estimated: Lab, as_dora: None) -> Iterator[psycopg.Connection]:
    proxy = estimated.proxy
    with psycopg.connect(
        host=proxy.host,
        port=proxy.port,
        user="dora",
        dbname="shop",
        krbsrvname="postgres",
        gssencmode="prefer",
        autocommit=True,
    ) as connection:
        yield connection


async def test_it_is_for_the_values_that_asyncpg_binds(estimated: Lab, as_dora: None):
    """asyncpg sends no Sync between a Parse and its Bind: inside that segment the estimate was unknown."""
    async with connected(estimated, "dora") as connection:
        prepared = await connection.prepare("select id from sales.orders where id = any($1::int[])")
        for _ in range(7):  # beyond five, the server itself would plan without the values
            assert [row["id"] for row in await prepared.fetch([1])] == [1]
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"sales\.orders"):
                await prepared.fetch([1, 2, 3])
        async with connection.transaction():
            assert await connection.fetchval("select id from sales.orders where id = $1", 1) == 1
            assert await connection.execute("update sales.orders set total = $1 where id = $2", 1, 1) == "UPDATE 1"
        async with connection.transaction():
            (row,) = [row async for row in connection.cursor("select id from sales.orders where id = $1", 1)]
            assert row["id"] == 1


def test_it_is_for_the_values_that_psycopg_binds(psycopg_of_dora: psycopg.Connection):
    few, many = "select id from sales.orders where id = %s", "select id from sales.orders where id > %s"
    for prepare in (False, True):
        assert psycopg_of_dora.execute(few, (1,), prepare=prepare).fetchall() == [(1,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="orders"):
            psycopg_of_dora.execute(many, (0,), prepare=prepare)
    with psycopg_of_dora.transaction(), psycopg_of_dora.cursor("few") as cursor:
        cursor.execute(few, (1,))
        assert cursor.fetchall() == [(1,)]
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="orders"),
        psycopg_of_dora.transaction(),
        psycopg_of_dora.cursor("many") as cursor,
    ):
        cursor.execute(many, (0,))


def test_what_the_planner_finds_wrong_is_the_statements_own_error(estimated: Lab, psycopg_of_dora: psycopg.Connection):
    """The question that failed kept its name in the database, so that every later one of the session failed, too."""
    done = run_psql(
        estimated, "dora", "select id from sales.orders where id = 1/0", "select id from sales.orders where id = 1"
    )
    assert ("22012" in done.stderr, done.stdout) == (True, "1\n")
    with pytest.raises(psycopg.errors.DivisionByZero):
        psycopg_of_dora.execute("select id from sales.orders where id = 1 / %s::int", (0,))
    assert psycopg_of_dora.execute("select id from sales.orders where id = %s", (1,)).fetchall() == [(1,)]
    # an SQLSTATE that pgguard itself never speaks of: the estimate was unknown, and a rule on it refused
    with pytest.raises(psycopg.errors.InvalidArgumentForPowerFunction):
        psycopg_of_dora.execute("select id from sales.orders where id = sqrt(%s::float8)", (-1,))
    assert psycopg_of_dora.execute("select id from sales.orders where id = %s", (1,)).fetchall() == [(1,)]


def test_behind_another_statement_of_a_pipeline_it_cannot_be_asked_for(
    estimated: Lab, psycopg_of_dora: psycopg.Connection
):
    one = "select id from sales.orders where id = %s"
    with psycopg_of_dora.pipeline() as pipeline:
        first = psycopg_of_dora.execute(one, (1,))
        pipeline.sync()
        second = psycopg_of_dora.execute(one, (2,))
        pipeline.sync()
    assert [first.fetchall(), second.fetchall()] == [[(1,)], [(2,)]]
    with (  # noqa: PT012  # the pipeline is the test
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="orders"),
        psycopg_of_dora.pipeline(),
    ):
        psycopg_of_dora.execute("select 1")
        psycopg_of_dora.execute(one, (1,))
    assert "the planner's estimate could not be asked for" in estimated.audit.read_text()


def test_a_cursor_is_read_on_by_the_estimate_of_its_query(estimated: Lab):
    few = "declare c cursor for select id from sales.orders where id = 1"
    done = run_psql(estimated, "dora", "begin", few, "fetch all from c", "commit")
    assert (done.stderr, done.stdout.split()) == ("", ["BEGIN", "DECLARE", "CURSOR", "1", "COMMIT"])
    done = run_psql(estimated, "dora", "begin", few.replace("=", ">"), "rollback")
    assert '"one-at-a-time"' in done.stderr


def test_no_function_in_the_arguments_of_an_execute_runs_for_it(estimated: Lab):
    """EXPLAIN EXECUTE evaluates them: the estimate is unknown, and the rule on it holds."""
    prepare = "prepare p(int) as select id from sales.orders where id = $1"
    done = run_psql(estimated, "dora", prepare, "execute p(1)")
    assert '"one-at-a-time"' in done.stderr
    assert "42501" in done.stderr


async def test_a_group_that_is_lost_while_the_planner_waits_for_a_lock_counts_no_more(
    estimated: Lab, monkeypatch: pytest.MonkeyPatch
):
    """EXPLAIN waits as long as somebody locks the table; the groups were those from before it."""
    for name, value in estimated.environment("alice").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)
    waiting = "select count(*) from pg_stat_activity where usename = 'alice' and wait_event_type = 'Lock'"
    async with connected(estimated, "alice") as connection:
        assert await connection.fetchval("select count(*) from sales.orders") == 6
        with psycopg.connect(estimated.postgres.dsn("shop")) as locking:
            locking.execute("lock table sales.orders")
            asked = asyncio.create_task(connection.execute("select total from sales.orders where id = 1"))
            async with asyncio.timeout(20):
                while estimated.postgres.run(waiting) != "1\n":  # noqa: ASYNC110  # the database tells no event of ours
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(estimated.slapd.remove_from_group, "alice", "analysts")
            # a login asks the directory at once
            login = await asyncio.to_thread(run_psql, estimated, "alice", "select city from sales.customers")
            assert "42501" in login.stderr
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="orders"):
            await asked
    await asyncio.to_thread(estimated.slapd.add_to_group, "alice", "analysts")


def test_in_a_failed_transaction_the_database_says_so(estimated: Lab):
    done = run_psql(estimated, "dora", "begin", "select 1/0", "select total from sales.orders where id = 1", "rollback")
    assert done.stdout == "BEGIN\nROLLBACK\n"
    assert "25P02" in done.stderr


def test_a_call_that_waits_for_people_runs_in_no_plan_either(estimated: Lab):
    """The planner calls what is not volatile: EXPLAIN ran the function before anybody had approved it."""
    estimated.postgres.run(
        "create sequence sales.peeks; grant usage on sequence sales.peeks to public;"
        " create function sales.peek() returns int stable language plpgsql as"
        " $$ begin perform nextval('sales.peeks'); return 1; end $$",
        "shop",
    )
    done = run_psql(estimated, "dora", "select total from sales.orders where id = sales.peek()")
    assert "42501" in done.stderr
    assert estimated.postgres.run("select is_called from sales.peeks", "shop") == "f\n"


def test_a_condition_that_the_planner_takes_for_rare_makes_the_estimate_low(estimated: Lab):
    """A limit that docs/security.md tells: it is a guess, and whoever writes the statement may know how it is made."""
    done = run_psql(estimated, "dora", "select id from sales.orders where abs(id) = id and id + 0 = id and id - 0 = id")
    assert (len(done.stdout.split()), done.stderr) == (6, "")


def test_of_a_long_copy_it_is_unknown(estimated: Lab):
    """Its query was looked for on the event loop: nested comments of a megabyte took a quarter of an hour."""
    copied = "copy (select total from sales.orders where id = 1 {}) to stdout"
    assert run_psql(estimated, "dora", copied.format("/* short */")).stderr == ""
    assert '"one-at-a-time"' in run_psql(estimated, "dora", copied.format("/*" * 4000 + "*/" * 4000)).stderr
