"""Rules that change and rules that look at live state, in sessions that stay open: psql and asyncpg, the whole way."""

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner

from pgguard.cli.rules import rules
from pgguard.lab.lab import Lab, Plan
from pgguard.lab.terminal import PSQL, Terminal

from .conftest import connected, run_psql

AsUser = Callable[[str], None]

_RULES = Path(__file__).parents[2] / "rules"

_LIVE = """
probes:
  maintenance: {{file: {folder}/maintenance, every: 400ms}}
  open_orders: {{sql: "select count(*) from sales.orders where status = 'new'", database: shop, every: 500ms}}
rules:
  - name: not-during-maintenance
    who: everyone
    deny: select
    on: sales.products
    when: {{state: {{maintenance: true}}}}
    message: maintenance is under way
  - name: emails-while-orders-are-open
    who: {{group: analysts}}
    allow: select
    on: sales.customers
    columns: [email]
    when: {{state: {{open_orders: "> 0"}}}}
  - name: support-sees-a-few
    who: {{group: support}}
    allow: select
    on: sales.revenue_by_city
    columns: [city]
    max_rows: 1
  - name: orders-shall-be-private
    who: {{group: support}}
    deny: select
    on: sales.orders
    mode: observe
  - name: analysts-change-the-table-of-customers
    who: {{group: analysts}}
    allow: alter
    on: sales.customers
  - name: writers-hear-news
    who: {{group: writers}}
    allow: listen
    on: {{channel: news}}
  - name: writers-look-at-cities-while-they-cannot-write
    who: {{group: writers}}
    allow: select
    on: sales.customers
    columns: [id, city]
    when: {{transaction: {{read_only: true}}}}
"""


class Live:
    """A lab whose rules tests may change: `write` changes a file and waits until the change is in force."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def told(self, words: str) -> int:
        return self.lab.proxy.log.read_text().count(words)

    def write(self, name: str, text: str | None, told: str = "rules reloaded") -> None:
        before = self.told(told)
        path = self.lab.rules / name
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        self.until(lambda: self.told(told) > before)

    @staticmethod
    def until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.02)

    def decisions(self, words: str) -> list[dict[str, Any]]:
        lines = self.lab.audit.read_text().splitlines()
        return [json.loads(line) for line in lines if words in line and '"decision"' in line]


@pytest.fixture(scope="module")
def live(servers: Path) -> Iterator[Live]:
    folder = servers / "live"
    shutil.copytree(_RULES, folder / "rules")
    (folder / "rules" / "live.yaml").write_text(_LIVE.format(folder=folder))
    with Lab(Plan(folder, settings=("directory.refresh=0.2", "rules.hide_unknown=true"))) as lab:
        yield Live(lab)


@pytest.fixture
def as_user(live: Live, monkeypatch: pytest.MonkeyPatch) -> AsUser:
    def switch(user: str) -> None:
        for name, value in live.lab.environment(user).items():
            if name.startswith("KRB5"):
                monkeypatch.setenv(name, value)

    return switch


_FREEZE = "rules: [{name: frozen, who: everyone, deny: select, on: sales.products}]"


def test_a_maintenance_flag_stops_the_next_statement_of_an_open_session(live: Live):
    flag = live.lab.folder / "maintenance"
    question = "select name from sales.products where id = 3;"
    with Terminal(PSQL, live.lab.environment("alice")) as terminal:
        terminal.until_prompt()
        assert "desk lamp" in terminal.enter(question)
        flag.touch()
        live.until(lambda: "maintenance is under way" in terminal.enter(question))
        flag.unlink()
        live.until(lambda: "desk lamp" in terminal.enter(question))


def test_a_start_waits_for_the_probes_and_the_audit_keeps_their_values(live: Live):
    done = run_psql(live.lab, "alice", "select email from sales.customers where id = 1")
    assert done.stdout == "ada@example.com\n"
    (decision,) = live.decisions("select email from sales.customers where id = 1")
    assert decision["context"]["state"] == {"maintenance": False, "open_orders": 2}


async def test_new_rules_reach_open_sessions_prepared_statements_and_open_cursors(live: Live, as_user: AsUser):
    as_user("alice")
    async with connected(live.lab, "alice") as connection:
        prepared = await connection.prepare("select name from sales.products where id = $1")
        assert await prepared.fetchval(1) == "field notebook"
        async with connection.transaction():
            await connection.execute("declare c cursor for select name from sales.products order by id")
            assert await connection.fetchval("fetch 1 from c") == "field notebook"
            cursor = await connection.cursor("select name from sales.products order by id")
            assert [row["name"] for row in await cursor.fetch(1)] == ["field notebook"]
            await asyncio.to_thread(live.write, "frozen.yaml", _FREEZE)
            for refused in (lambda: connection.fetch("fetch 1 from c"), lambda: cursor.fetch(1)):
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"sales\.products"):
                    async with connection.transaction():
                        await refused()
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as refusal:
            await prepared.fetchval(1)
        assert "frozen" in refusal.value.detail
        await asyncio.to_thread(live.write, "frozen.yaml", None)
        assert await prepared.fetchval(1) == "field notebook"


_TEMPORARY = "rules: [{name: temporary, who: {user: alice}, allow: temp, on: {database: '*'}}]"


async def test_a_prepared_statement_is_judged_by_all_it_may_still_mean(live: Live, as_user: AsUser):
    """The database goes on reading a table that a temporary one shadows since: it was judged as the temporary one."""
    as_user("alice")
    await asyncio.to_thread(live.write, "temporary.yaml", _TEMPORARY)
    async with connected(live.lab, "alice", server_settings={"search_path": "sales"}) as connection:
        await connection.execute("create temp table another (id int)")
        by_protocol = await connection.prepare("select count(*) from products")
        await connection.execute("prepare by_sql as select count(*) from products")
        assert await by_protocol.fetchval() == await connection.fetchval("execute by_sql") == 3
        await connection.execute("create temp table products (id int)")
        assert await by_protocol.fetchval() == await connection.fetchval("execute by_sql") == 3
        await asyncio.to_thread(live.write, "frozen.yaml", _FREEZE)
        for refused in (by_protocol.fetchval, lambda: connection.fetchval("execute by_sql")):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"sales\.products"):
                await refused()
        assert await connection.fetchval("select count(*) from products") == 0
        with pytest.raises(asyncpg.FeatureNotSupportedError, match="it follows SET in the same string"):
            await connection.execute("set search_path = hr; execute by_sql")
        await asyncio.to_thread(live.write, "frozen.yaml", None)
        assert await connection.fetchval("execute by_sql") == 3


def test_rules_that_do_not_load_change_nothing_and_are_told(live: Live):
    live.write("frozen.yaml", _FREEZE.replace("deny", "denny"), told="rules were not reloaded")
    assert live.told('frozen.yaml:1:39: unknown key "denny" in rule; did you mean "deny"?') == 1
    assert run_psql(live.lab, "alice", "select count(*) from sales.products").stdout == "3\n"
    os.kill(live.lab.proxy.pid, signal.SIGHUP)
    live.until(lambda: live.told("rules were not reloaded") == 2)
    (live.lab.rules / "frozen.yaml").unlink()


@pytest.mark.parametrize(
    "question",
    ["select city from sales.revenue_by_city", "copy (select city from sales.revenue_by_city) to stdout"],
    ids=["select", "copy"],
)
def test_a_result_over_max_rows_ends_in_an_error_and_the_session_goes_on(live: Live, question: str):
    done = run_psql(live.lab, "carol", question, "select 'alive'")
    assert "ERROR:  53400" in done.stderr
    assert done.stdout.endswith("alive\n")
    assert len(done.stdout.splitlines()) <= 2


def test_max_rows_counts_each_query_by_itself(live: Live):
    """The rows of a simple query counted on to the next one of the session: a short result was cut off."""
    question = "select city from sales.revenue_by_city where city = 'Berlin'"
    done = run_psql(live.lab, "carol", question, question, question)
    assert (done.stdout, done.stderr) == ("Berlin\n" * 3, "")


async def test_max_rows_in_the_extended_protocol_and_by_cursor(live: Live, as_user: AsUser):
    as_user("carol")
    async with connected(live.lab, "carol") as connection:
        with pytest.raises(asyncpg.ConfigurationLimitExceededError):
            await connection.fetch("select city from sales.revenue_by_city where city > $1", "")
        assert await connection.fetchval("select city from sales.revenue_by_city where city = $1", "Berlin") == "Berlin"
        with pytest.raises(asyncpg.ConfigurationLimitExceededError):  # noqa: PT012
            async with connection.transaction():
                await connection.execute("declare c cursor for select city from sales.revenue_by_city")
                await connection.fetch("fetch all from c")
        assert await connection.fetchval("select 7") == 7


def test_an_observed_rule_blocks_nothing_and_the_audit_tells_what_it_would_have_done(live: Live):
    done = run_psql(live.lab, "carol", "select 'observed', count(*) from sales.orders")
    assert (done.stdout, done.stderr) == ("observed|6\n", "")
    (decision,) = live.decisions("select 'observed', count(*)")
    assert decision["effect"] == "allow"
    assert decision["decision"]["observed"] == "deny"
    assert decision["decision"]["observed_rules"] == ["orders-shall-be-private"]


def test_a_reason_opens_what_asks_for_one(live: Live):
    question = "select count(*) from hr.salaries"
    done = run_psql(
        live.lab, "dora", question, "set pgguard.reason = 'INC-7 payroll'", question, "reset pgguard.reason", question
    )
    assert done.stdout == "SET\n2\nRESET\n"
    assert done.stderr.count("42501") == 2


def test_whoever_may_alter_a_table_reads_it_by_its_errors(live: Live):
    """A limit that docs/security.md tells: alter is the right of an owner, whom PostgreSQL asks for no other."""
    live.lab.postgres.run("alter table sales.customers owner to alice; grant create on schema sales to alice", "shop")
    assert "42501" in run_psql(live.lab, "alice", "select card_number from sales.customers").stderr
    told = run_psql(live.lab, "alice", "alter table sales.customers alter card_number type int using card_number::int")
    assert 'invalid input syntax for type integer: "4111-1111-1111-1111"' in told.stderr


async def test_a_notification_reaches_whoever_may_listen_now(live: Live, as_user: AsUser):
    """A LISTEN was judged once: who had lost the right to it went on to hear what others notified."""
    as_user("bob")
    heard: asyncio.Queue[object] = asyncio.Queue()

    async def notified(connection: asyncpg.Connection, what: str) -> None:
        await asyncio.to_thread(live.lab.postgres.run, f"notify news, '{what}'", "shop")
        await connection.fetchval("select 1")  # behind it all that was told before has come

    async def until(connection: asyncpg.Connection, *, allowed: bool) -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    await connection.fetchval("select count(*) from sales.orders")
                except asyncpg.InsufficientPrivilegeError:
                    if not allowed:
                        return
                else:
                    if allowed:
                        return

    async with connected(live.lab, "bob") as connection:
        await connection.add_listener("news", lambda *said: heard.put_nowait(said[-1]))
        await notified(connection, "one")
        await asyncio.to_thread(live.lab.slapd.remove_from_group, "bob", "writers")
        await until(connection, allowed=False)
        await notified(connection, "two")
        await asyncio.to_thread(live.lab.slapd.add_to_group, "bob", "writers")
        await until(connection, allowed=True)
        await notified(connection, "three")
        assert [await asyncio.wait_for(heard.get(), 20) for _ in range(2)] == ["one", "three"]


def test_a_reason_that_was_taken_back_opens_nothing(live: Live):
    """The question has neither operators nor names to look up: the database was not asked, and the old reason counted."""
    question = "select amount from hr.salaries"
    done = run_psql(live.lab, "dora", "set pgguard.reason = 'INC-7'", question, "reset pgguard.reason", question)
    assert done.stdout == "SET\n41000.00\n58000.00\nRESET\n"
    assert done.stderr.count("42501") == 1


def test_a_read_only_transaction_that_is_over_allows_nothing(live: Live):
    """What BEGIN and COMMIT make of it was not asked again while the settings were known."""
    question = "select city from sales.customers where id = 1"
    over = ("begin read only", question, "commit", question)
    in_a_string = ("start transaction read only", question, f"commit; {question}", "rollback")
    unclear = ("begin read only; select 1", f"savepoint s; {question}", "rollback")
    done = run_psql(live.lab, "bob", *over, *in_a_string, *unclear)
    answered = "BEGIN Berlin COMMIT START TRANSACTION Berlin ROLLBACK BEGIN 1 ROLLBACK"
    assert done.stdout.split() == answered.split()
    assert done.stderr.count("42501") == 3


@pytest.mark.parametrize(
    "statement",
    [
        "set pgguard.principal = 'dora'",
        'set "PGGUARD"."Principal" = \'dora\'',
        "select set_config('pgguard.principal', 'dora', false)",
        "select set_config('pgguard.' || 'principal', 'dora', false)",
        "reset pgguard.principal",
        "reset all",
        "discard all",
    ],
)
def test_the_principal_in_the_database_cannot_be_changed(live: Live, statement: str):
    done = run_psql(live.lab, "alice", statement, "show pgguard.principal")
    assert done.stdout.splitlines()[-1].startswith("alice@")


def test_what_is_hidden_and_what_does_not_exist_get_the_same_answer(live: Live):
    answers = {
        run_psql(live.lab, "alice", f"select * from {name}").stderr.partition("DETAIL")[0]
        for name in ("pg_catalog.pg_authid", "sales.nothing", "nowhere.nothing", "pg_catalog.pg_statistic")
    }
    assert answers == {"ERROR:  42501: permission denied, or a name in the statement does not exist\n"}


@pytest.mark.parametrize("setting", ["rules.observe_databases=['shop']", "rules.mode=observe"])
def test_observing_blocks_nothing_records_what_it_would_have_and_can_be_learnt_from(
    own_lab: Callable[..., Lab], setting: str
):
    lab = own_lab(setting)
    done = run_psql(lab, "alice", "select count(*) from hr.salaries", "delete from sales.orders where id = 1")
    assert (done.stdout, done.stderr) == ("2\nDELETE 1\n", "")
    (decision,) = Live(lab).decisions("select count(*) from hr.salaries")
    assert decision["effect"] == "allow"
    assert decision["decision"]["effect"] == "deny"
    assert decision["decision"]["rules"] == ["salaries-are-private"]
    learnt = CliRunner().invoke(rules, ["learn", str(lab.audit)])
    assert learnt.exit_code == 0, learnt.output
    assert "on: hr.salaries\n    columns: [employee_id]\n" in learnt.output
    assert "allow: delete\n    on: sales.orders\n" in learnt.output


def test_sighup_brings_new_rules_and_a_new_audit_file_and_keeps_the_sessions(own_lab: Callable[..., Lab]):
    """Where no file is watched, as on a network's file system, and as logrotate does it."""
    live = Live(own_lab("rules.watch=false"))
    question = "select name from sales.products where id = 3;"
    with Terminal(PSQL, live.lab.environment("alice")) as terminal:
        terminal.until_prompt()
        assert "desk lamp" in terminal.enter(question)
        (live.lab.rules / "frozen.yaml").write_text(_FREEZE)
        assert "desk lamp" in terminal.enter(question)
        live.lab.audit.rename(live.lab.audit.with_name("moved"))
        os.kill(live.lab.proxy.pid, signal.SIGHUP)
        live.until(lambda: live.told("rules reloaded") == 1)
        assert "permission denied for table sales.products" in terminal.enter(question)
    (refused,) = live.decisions(question.removesuffix(";"))
    assert refused["decision"]["rules"] == ["frozen"]
    changes = [json.loads(line) for line in live.lab.audit.read_text().splitlines() if '"type":"change"' in line]
    assert ("rules", refused["rules"]) in [(change["what"], change["detail"]) for change in changes]
