"""The console by psql, asyncpg and psycopg: who may see and do what, and what of it is on record."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import psycopg
import pytest

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.terminal import PSQL, Terminal
from tests.e2e.conftest import WITH_OR_WITHOUT_CONNECTION, connected
from tests.e2e.psql import run_psql

_RULES = """
rules:
  - {name: two-dbas, who: {group: writers}, hold: delete, on: sales.orders, approvers: {group: dba, count: 2}}
"""


@pytest.fixture(scope="module")
def lab(servers: Path) -> Iterator[Lab]:
    rules = servers / "console-rules"
    shutil.copytree("rules", rules)
    (rules / "holds.yaml").write_text(_RULES)
    with Lab(
        Plan(servers / "console", rules=rules, settings=('console.admin_groups=["dba"]', "limits.sessions_per_user=4"))
    ) as running:
        yield running


def _console(lab: Lab, user: str, *commands: str) -> subprocess.CompletedProcess[str]:
    return run_psql(lab, user, *commands, PGDATABASE="pgguard")


def _lines(lab: Lab, user: str, command: str) -> list[list[str]]:
    return [line.split("|") for line in _console(lab, user, command).stdout.splitlines()]


def test_administrators_see_what_is_in_force(lab: Lab):
    assert ["two-dbas", "hold", "enforce", "group writers"] in [row[:4] for row in _lines(lab, "dora", "show rules")]
    assert ["writers", "writers"] in _lines(lab, "dora", "show groups of bob")
    assert "console_sessions||1" in _console(lab, "dora", "show stats").stdout
    assert 'does not know "nobody"' in _console(lab, "dora", "show groups of nobody").stderr


@pytest.mark.parametrize("command", ["show rules", "show stats", "reload", "show groups of dora"])
def test_others_do_not(lab: Lab, command: str):
    answer = _console(lab, "alice", command)
    assert "42501: permission denied: it is for members of [console] admin_groups" in answer.stderr
    assert not answer.stdout


def test_everybody_sees_their_own(lab: Lab):
    assert ["analysts", "analysts"] in _lines(lab, "alice", "show groups of alice")
    listed = _console(lab, "alice", "help").stdout
    assert "APPROVE n" in listed
    assert "RELOAD" not in listed


def test_a_reload_tells_what_is_wrong_and_what_is_in_force(lab: Lab):
    broken = lab.rules / "broken.yaml"
    broken.write_text("rules: [{name: x}]")
    try:
        assert "those in force stay: " in _console(lab, "dora", "reload").stderr
    finally:
        broken.unlink()
    assert "rules in force: " in _console(lab, "dora", "reload").stderr


async def test_sessions_are_listed_and_ended_by_whoever_may(lab: Lab, as_user: Callable[[str], None]):
    as_user("alice")
    async with connected(lab, "alice") as session:
        await session.execute("begin")
        (row,) = await asyncio.to_thread(_lines, lab, "alice", "show sessions")
        assert [row[1], row[3], row[6]] == ["alice", "shop", "idle in transaction"]
        assert await asyncio.to_thread(_lines, lab, "bob", "show sessions") == []
        answer = await asyncio.to_thread(_console, lab, "bob", f"terminate {row[0]}")
        assert f'no session "{row[0]}" for you' in answer.stderr
        await asyncio.to_thread(_console, lab, "dora", f"terminate {row[0]}")
        with pytest.raises((asyncpg.AdminShutdownError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
            await session.execute("commit")


def test_psql_watches_what_waits(lab: Lab):
    with Terminal([*PSQL, "pgguard"], lab.environment("dora")) as console:
        console.until_prompt()
        console.write_line("show holds \\watch 0.2")
        for _ in range(3):
            assert "(every 0.2s)" in console.until(r"hold \| waits_s")


def test_console_sessions_count_in_the_limits(lab: Lab, as_user: Callable[[str], None]):
    as_user("carol")
    where = f"host=localhost port={lab.proxy.port} user=carol gssencmode=prefer dbname="
    with ExitStack() as stack:
        for database in ("pgguard", "shop", "pgguard", "shop"):
            stack.enter_context(psycopg.connect(where + database))
        for database in ("pgguard", "shop"):
            with pytest.raises(psycopg.OperationalError, match='too many sessions: user "carol" has 4 of 4 allowed'):
                psycopg.connect(where + database)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("approve 999", "no hold #999 waits for you"),
        ("show hold 999", "no hold #999 waits for you"),
        ("refuse 999", "REFUSE needs a reason: REFUSE 999 'why'"),
        ("terminate nobody", 'no session "nobody" for you; SHOW SESSIONS lists them'),
    ],
)
def test_what_is_refused_while_it_is_carried_out_is_on_record_as_such(lab: Lab, command: str, error: str):
    """It stood there as if it had been carried out."""
    assert error in _console(lab, "alice", command).stderr
    records = [json.loads(line) for line in lab.audit.read_text().splitlines()]
    mine = [r.get("error") for r in records if r["type"] == "console" and r["command"] == command]
    assert mine == [None, error]


def test_each_command_is_on_record_with_what_was_refused(lab: Lab):
    _console(lab, "alice", "show holds", "reload", "select 1")
    records = [json.loads(line) for line in lab.audit.read_text().splitlines()]
    mine = [(r["command"], r.get("error", "")[:10]) for r in records if r["type"] == "console" and r["user"] == "alice"]
    assert mine[-3:] == [("show holds", ""), ("reload", "permission"), ("select 1", "unknown co")]


async def test_asyncpg_prepares_fetches_and_hears_of_events(lab: Lab, as_user: Callable[[str], None]):
    as_user("dora")
    async with connected(lab, "dora", database="pgguard") as console:
        heard: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        await console.add_listener("holds", lambda *told: heard.put_nowait(json.loads(told[3])))
        asking = asyncio.create_task(asyncio.to_thread(run_psql, lab, "bob", "delete from sales.orders where id = -1"))
        held = await asyncio.wait_for(heard.get(), 20)
        assert held["event"] == "held"
        (row,) = await console.fetch("show holds")
        assert (row["hold"], row["user"]) == (str(held["hold"]), "bob")
        assert (await console.fetchrow(f"show hold {row['hold']}"))["is"] == "bob", "the first row of many"
        await console.execute(f"approve {row['hold']}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="already"):
            await console.fetch(f"approve {row['hold']}")
        await console.execute(f"refuse {row['hold']} 'no'")
        assert [(await asyncio.wait_for(heard.get(), 20))["event"] for _ in range(3)] == [
            "approved",
            "refused",
            "ended",
        ]
        assert "dora refused hold" in (await asking).stderr
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await console.fetch("select 1")
        assert await console.fetch("show holds") == []


def test_psycopg_works_with_its_transactions(lab: Lab, as_user: Callable[[str], None]):
    as_user("dora")
    where = f"host=localhost port={lab.proxy.port} user=dora dbname=pgguard gssencmode=prefer"
    with psycopg.connect(where) as console:
        assert console.execute("show rules", prepare=True).fetchall()
        assert [column.name for column in console.execute("show holds").description or ()][:2] == ["hold", "waits_s"]
        with pytest.raises(psycopg.errors.SyntaxError):
            console.execute("show hold %s", [1])
        with console.pipeline():
            first, second = console.execute("show stats"), console.execute("help")
            assert first.fetchall()
            assert second.fetchall()


def test_a_console_ends_with_its_ticket_also_while_nothing_is_asked(lab: Lab, tmp_path: Path):
    """One that only listens was left open until its next command."""
    short = lab.realm.kinit("alice", tmp_path / "short", lifetime="3s")
    environment = {**lab.environment("alice"), "KRB5CCNAME": f"FILE:{short}", "PGDATABASE": "pgguard"}
    with Terminal(PSQL, environment, prompt=WITH_OR_WITHOUT_CONNECTION) as terminal:
        terminal.until_prompt()
        assert "LISTEN" in terminal.enter("listen holds;")
        _until_alone(lab)
        assert 'FATAL:  the Kerberos ticket of "alice@PGGUARD.TEST" has ended' in terminal.enter("show holds;")


def _until_alone(lab: Lab) -> None:
    deadline = time.monotonic() + 20
    while "console_sessions||1" not in _console(lab, "dora", "show stats").stdout:  # dora's own
        assert time.monotonic() < deadline, "the console stays"
