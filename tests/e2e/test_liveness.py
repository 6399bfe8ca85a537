"""Who may ask is looked at all the time: tickets that end, groups and accounts that are lost, keys that change."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import ldap
import pytest

from pgguard.lab.lab import Lab
from pgguard.lab.terminal import PSQL, Terminal
from tests.e2e.conftest import WITH_OR_WITHOUT_CONNECTION, connected
from tests.e2e.psql import psql_with, run_psql

OwnLab = Callable[..., Lab]

_SLEEPERS = """
rules:
  - name: sleepers-sleep
    who: {group: sleepers}
    allow: execute
    on: {function: pg_catalog.pg_sleep}
"""


def test_a_session_ends_with_its_ticket_also_while_nothing_is_asked(own_lab: OwnLab, tmp_path: Path):
    """It is told why, not just cut off."""
    lab = own_lab()
    short = lab.realm.kinit("alice", tmp_path / "short", lifetime="5s")
    environment = {**lab.environment("alice"), "KRB5CCNAME": f"FILE:{short}"}
    with Terminal(PSQL, environment, prompt=WITH_OR_WITHOUT_CONNECTION) as terminal:
        terminal.until_prompt()
        assert "(1 row)" in terminal.enter("select 1;")
        _wait(lambda: '"type":"session-end"' in lab.audit.read_text(), "the session does not end")
        assert "FATAL:  the Kerberos ticket of" in terminal.enter("select 1;")


@pytest.fixture
def sleepers(own_lab: OwnLab, tmp_path: Path) -> Callable[[str], Lab]:
    """A lab where alice may sleep as long as she is in a group."""

    def make(on_revoke: str) -> Lab:
        rules = tmp_path / "rules"
        shutil.copytree("rules", rules)
        (rules / "sleepers.yaml").write_text(_SLEEPERS)
        lab = own_lab("directory.refresh=0.1", f"directory.on_revoke={on_revoke}", rules=rules)
        lab.slapd.add_group("sleepers", users=["alice"])
        return lab

    return make


async def _while_asleep(lab: Lab, act: Callable[[], None]) -> asyncpg.PostgresError | asyncpg.InterfaceError:
    """What alice's running statement ends with, when something happens while it runs."""
    async with connected(lab, "alice") as session:
        asleep = asyncio.create_task(session.execute("select pg_sleep(60)"))
        await asyncio.to_thread(_wait_for_sleeper, lab)
        await asyncio.to_thread(act)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as ended:
            await asyncio.wait_for(asleep, 20)
        return ended.value


def _wait_for_sleeper(lab: Lab) -> None:
    sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
    _wait(lambda: lab.postgres.run(sleeping).strip() == "1", "nobody sleeps")


def _wait(condition: Callable[[], bool], complaint: str) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError(complaint)


def _as_alice(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in lab.environment("alice").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)


async def test_the_running_statement_is_cancelled_when_its_right_is_lost(sleepers, monkeypatch: pytest.MonkeyPatch):
    lab = sleepers("cancel")
    _as_alice(lab, monkeypatch)
    ended = await _while_asleep(lab, lambda: lab.slapd.remove_from_group("alice", "sleepers"))
    assert isinstance(ended, asyncpg.QueryCanceledError)


async def test_the_session_ends_when_the_right_to_what_runs_is_lost(sleepers, monkeypatch: pytest.MonkeyPatch):
    lab = sleepers("terminate")
    _as_alice(lab, monkeypatch)
    ended = await _while_asleep(lab, lambda: lab.slapd.remove_from_group("alice", "sleepers"))
    assert isinstance(ended, asyncpg.QueryCanceledError | asyncpg.AdminShutdownError | asyncpg.InterfaceError)
    assert lab.postgres.run("select count(*) from pg_stat_activity where usename = 'alice'").strip() == "0"


@pytest.mark.slow
async def test_unless_told_otherwise_what_runs_may_end_and_the_next_is_refused(
    sleepers, monkeypatch: pytest.MonkeyPatch
):
    lab = sleepers("refuse")
    _as_alice(lab, monkeypatch)
    async with connected(lab, "alice") as session:
        asleep = asyncio.create_task(session.execute("select pg_sleep(2)"))
        await asyncio.to_thread(_wait_for_sleeper, lab)
        await asyncio.to_thread(lab.slapd.remove_from_group, "alice", "sleepers")
        assert await asyncio.wait_for(asleep, 20) == "SELECT 1"
        async with asyncio.timeout(10):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"function pg_catalog\.pg_sleep"):  # noqa: PT012
                while True:  # one may still pass while the directory is being asked
                    await session.execute("select pg_sleep(0.1)")


@pytest.mark.slow
async def test_a_group_that_nothing_needs_may_go_while_a_statement_runs(sleepers, monkeypatch: pytest.MonkeyPatch):
    lab = sleepers("terminate")
    _as_alice(lab, monkeypatch)
    async with connected(lab, "alice") as session:
        asleep = asyncio.create_task(session.execute("select pg_sleep(1)"))
        await asyncio.to_thread(_wait_for_sleeper, lab)
        await asyncio.to_thread(lab.slapd.remove_from_group, "alice", "analysts")
        assert await asyncio.wait_for(asleep, 20) == "SELECT 1"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await session.fetch("select count(*) from sales.orders")


@pytest.fixture
def pushed(own_lab: OwnLab) -> Lab:
    """A lab that does not poll while the test runs, and whose proxy is told of changes."""
    lab = own_lab("directory.refresh=3600")
    _wait(lambda: "tells of changes at once" in lab.proxy.log.read_text(), "nobody tells of changes")
    return lab


async def test_a_lost_group_is_told_of_and_stops_the_next_statement(pushed: Lab, monkeypatch: pytest.MonkeyPatch):
    """The bound is a second; the pause before the statement is what its user gets to type it in."""
    _as_alice(pushed, monkeypatch)
    async with connected(pushed, "alice") as session:
        prepared = await session.prepare("select count(*) from sales.orders")
        assert await prepared.fetchval() == 6
        await asyncio.to_thread(pushed.slapd.remove_from_group, "alice", "analysts")
        await asyncio.sleep(1)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await prepared.fetchval()
        await asyncio.to_thread(pushed.slapd.add_to_group, "alice", "analysts")
        await asyncio.sleep(1)
        assert await prepared.fetchval() == 6


def test_a_lost_group_stops_the_next_statement_in_psql_too(pushed: Lab):
    with Terminal(PSQL, pushed.environment("alice")) as terminal:
        terminal.until_prompt()
        assert "(1 row)" in terminal.enter("select count(*) from sales.orders;")
        pushed.slapd.remove_from_group("alice", "analysts")
        removed = time.monotonic()
        while "permission denied" not in terminal.enter("select count(*) from sales.orders;"):
            assert time.monotonic() < removed + 1


def test_a_disabled_account_loses_its_open_session(own_lab: OwnLab):
    lab = own_lab("directory.refresh=0.1", "directory.disabled_filter=(employeeType=locked)")
    with Terminal(PSQL, lab.environment("alice"), prompt=WITH_OR_WITHOUT_CONNECTION) as terminal:
        terminal.until_prompt()
        assert "(1 row)" in terminal.enter("select 1;")
        lab.slapd.modify(lab.slapd.user_dn("alice"), [(ldap.MOD_REPLACE, "employeeType", ["locked"])])
        while "is disabled in the directory" not in (shown := terminal.enter("select 1;")):
            assert "(1 row)" in shown
        assert "FATAL" in shown
    assert "is disabled in the directory" in run_psql(lab, "alice", "select 1").stderr


def test_a_file_of_groups_that_changes_reaches_an_open_session(own_lab: OwnLab, tmp_path: Path):
    people = tmp_path / "people.yaml"
    people.write_text("users: {alice: {groups: [interns]}}\ngroups: {interns: {groups: [analysts]}}\n")
    lab = own_lab("directory.kind=static", f"directory.path={people}", "directory.refresh=0.1")
    orders = "select count(*) from sales.orders;"
    with Terminal(PSQL, lab.environment("alice"), prompt=WITH_OR_WITHOUT_CONNECTION) as terminal:
        terminal.until_prompt()
        assert "alice@PGGUARD.TEST" in terminal.enter("show pgguard.principal;")
        assert "(1 row)" in terminal.enter(orders)
        people.write_text("users: {alice: {groups: [interns]}}\n")
        while "permission denied" not in (shown := terminal.enter(orders)):
            assert "(1 row)" in shown
        people.write_text("users: {alice\n")  # half written: what was read last serves
        assert "permission denied" in terminal.enter(orders)
        _wait(lambda: "is not valid YAML" in lab.proxy.log.read_text(), "nobody tells of the file")
        assert "(1 row)" in terminal.enter("select 1;")
        people.write_text("users: {alice: {disabled: true}}\n")
        while "is disabled in the directory" not in (shown := terminal.enter("select 1;")):
            assert "(1 row)" in shown


@pytest.mark.slow
def test_while_nobody_can_tell_who_is_disabled_nothing_runs_and_sessions_stay(own_lab: OwnLab):
    """An account locked a moment before the directory went away could otherwise go on by the rules for everyone."""
    lab = own_lab("directory.refresh=0.1", "directory.max_stale=1", "directory.disabled_filter=(employeeType=locked)")
    bob = lab.environment("bob")
    in_doubt = 'the directory cannot tell whether the account "alice" is disabled'
    with Terminal(PSQL, lab.environment("alice")) as terminal:
        terminal.until_prompt()
        assert "BEGIN" in terminal.enter("begin;")
        lab.slapd.stop()
        while in_doubt not in (shown := terminal.enter("select 1;")):
            assert "(1 row)" in shown
        assert "ROLLBACK" in terminal.enter("rollback;")
        assert in_doubt in terminal.enter("select 1;")
        login = psql_with(bob, "select 1")
        assert (login.returncode, login.stdout) == (2, "")
        assert 'the directory cannot tell whether the account "bob" is disabled' in login.stderr
        lab.slapd.start()
        while "(1 row)" not in (shown := terminal.enter("select 1;")):
            assert in_doubt in shown
    assert psql_with(bob, "select 1").stdout == "1\n"


def test_a_new_key_works_without_a_restart_and_old_tickets_stay_good(own_lab: OwnLab):
    lab = own_lab()
    assert run_psql(lab, "alice", "select 1").stdout == "1\n"  # has a service ticket of the old key
    lab.realm.rotate_key(lab.keytab, "postgres/localhost")
    assert run_psql(lab, "alice", "select 2").stdout == "2\n"
    assert run_psql(lab, "bob", "select 3").stdout == "3\n"  # gets one of the new key
