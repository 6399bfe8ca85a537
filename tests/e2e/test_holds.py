"""Held statements: bob asks, dora and eve decide in the console, all by real psql and real tickets."""

import asyncio
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.ports import free_port
from pgguard.lab.proxy import Proxy
from tests.e2e.conftest import connected
from tests.e2e.psql import run_psql

_RULES = """
rules:
  - {name: two-dbas, who: {group: writers}, hold: delete, on: sales.orders, approvers: {group: dba, count: 2}}
"""
_DELETE = "delete from sales.orders where id = -1"


def _console(lab: Lab, user: str, *commands: str) -> tuple[str, str]:
    done = run_psql(lab, user, *commands, PGDATABASE="pgguard")
    return done.stdout, done.stderr


def _number(lab: Lab) -> str:
    """The number of the one hold that waits."""
    pause = threading.Event()
    for _ in range(60):
        if shown := _console(lab, "dora", "show holds")[0]:
            return shown.split("|")[0]
        pause.wait(0.05)
    raise AssertionError("nothing is held")


@pytest.fixture
def held(own_lab: Callable[..., Lab], tmp_path: Path) -> Lab:
    return own_lab(rules=_rules(tmp_path))


def _rules(tmp_path: Path) -> Path:
    rules = tmp_path / "rules"
    shutil.copytree("rules", rules)
    (rules / "holds.yaml").write_text(_RULES)
    return rules


async def test_a_statement_waits_for_two_people_and_goes_on(held: Lab, monkeypatch: pytest.MonkeyPatch):
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(run_psql, held, "bob", _DELETE)
        number = _number(held)
        assert "of their own" in _console(held, "bob", f"approve {number}")[1]
        assert "no hold" in _console(held, "alice", f"approve {number}")[1]
        assert "needs more" in _console(held, "dora", f"approve {number}")[1]
        assert "already" in _console(held, "dora", f"approve {number}")[1]
        assert "sales.orders" in _console(held, "eve", f"show hold {number}")[0]
        assert "goes on" in _console(held, "eve", f"approve {number} 'it''s fine'")[1]
        answer = asking.result()
        assert answer.stdout == "DELETE 0\n"
        assert "by rule two-dbas: needs 2 of group dba; waiting up to 15 min" in answer.stderr

        asking = pool.submit(run_psql, held, "bob", "begin", _DELETE, "rollback")
        _console(held, "dora", f"refuse {_number(held)} 'not today'")
        answer = asking.result()
        assert "42501: dora refused hold #2: not today" in answer.stderr
        assert answer.stdout == "BEGIN\nROLLBACK\n"

    for name, value in held.environment("bob").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)
    async with connected(held, "bob") as session:
        asked = asyncio.create_task(session.execute("delete from sales.orders where id = $1", -1))
        number = await asyncio.to_thread(_number, held)
        assert "value $1" in (await asyncio.to_thread(_console, held, "eve", f"show hold {number}"))[0]
        for who in ("dora", "eve"):
            await asyncio.to_thread(_console, held, who, f"approve {number}")
        assert await asyncio.wait_for(asked, 20) == "DELETE 0"
        with pytest.raises(TimeoutError):  # asyncpg cancels what it does not wait for
            await session.execute(_DELETE, timeout=1)
        assert await session.fetchval("select 1") == 1
        assert not (await asyncio.to_thread(_console, held, "dora", "show holds"))[0]
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await asyncio.wait_for(_lost(held), 20)
    audit = held.audit.read_text()
    assert '"event":"withdrawn"' in audit


async def _lost(lab: Lab) -> None:
    """A client that goes away leaves no hold behind."""
    async with connected(lab, "bob") as session:
        asked = asyncio.create_task(session.execute(_DELETE))
        await asyncio.to_thread(_number, lab)
        session.terminate()
        await asked


@pytest.mark.slow
def test_a_hold_ends_with_a_process_that_is_killed_and_is_told_of_at_the_next_start(held: Lab):
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(run_psql, held, "bob", _DELETE)
        assert _number(held) == "1"
        os.kill(held.proxy.pid, signal.SIGKILL)
        assert asking.result().stdout == ""
        held.proxy.stop()
        held.proxy.start()
        assert not _console(held, "dora", "show holds")[0]
        assert '"hold":"1","event":"lost"' in held.audit.read_text()
        asking = pool.submit(run_psql, held, "bob", _DELETE)
        assert _number(held) == "2"
        for who in ("dora", "eve"):
            _console(held, who, "approve 2")
        assert asking.result().stdout == "DELETE 0\n"


class Nodes:
    """Two nodes on one PostgreSQL store; bob asks on the first."""

    def __init__(self, lab: Lab, second: Proxy, audit: Path) -> None:
        self.lab = lab
        self.second = second
        self.audit = audit

    def on_second(self, user: str, command: str) -> str:
        done = run_psql(self.lab, user, command, PGDATABASE="pgguard", PGPORT=str(self.second.port))
        return done.stdout + done.stderr

    def on_first(self, user: str, command: str) -> str:
        return "".join(_console(self.lab, user, command))

    def postgres(self, statement: str) -> None:
        self.lab.postgres.run(statement)


@pytest.fixture(scope="module")
def nodes(servers: Path) -> Iterator[Nodes]:
    folder = servers / "nodes"
    folder.mkdir()
    with Lab(Plan(folder / "lab", rules=_rules(folder), proxy=False)) as lab:
        lab.postgres.run("create database holds")
        port = free_port()
        second, audit = folder / "second.toml", folder / "second.jsonl"
        shared = f'\n[holds]\nstore = "postgres"\ndsn = "{lab.postgres.dsn("holds")}"\n'
        settings = lab.config.read_text() + shared
        lab.config.write_text(settings)
        second.write_text(
            settings.replace(f"port = {lab.proxy.port}", f"port = {port}").replace(str(lab.audit), str(audit))
        )
        lab.proxy.start()
        other = Proxy(second, port, lab.realm.environment(), tied=True)
        other.start()
        yield Nodes(lab, other, audit)
        other.stop()
        lab.proxy.stop()


@pytest.mark.slow
def test_a_statement_that_waits_on_one_node_is_approved_on_another(nodes: Nodes):
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(run_psql, nodes.lab, "bob", _DELETE)
        number = _number(nodes.lab)
        assert "needs more" in nodes.on_second("dora", f"approve {number}")
        assert "goes on" in nodes.on_second("eve", f"approve {number}")
        assert asking.result().stdout == "DELETE 0\n"
    assert '"by":"eve@PGGUARD.TEST"' in nodes.audit.read_text()


@pytest.mark.slow
def test_approvals_that_race_over_two_nodes_count_once_each(nodes: Nodes):
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(run_psql, nodes.lab, "bob", _DELETE)
        number = _number(nodes.lab)
        for who, counted in (("dora", "needs more"), ("eve", "goes on")):
            ways = (nodes.on_first, nodes.on_second, nodes.on_first, nodes.on_second)
            answers = sorted(one.result() for one in [pool.submit(way, who, f"approve {number}") for way in ways])
            assert sum(counted in answer for answer in answers) == 1, answers
            refused = [answer for answer in answers if counted not in answer]
            assert all("already" in answer or "no hold" in answer for answer in refused), answers
        assert asking.result().stdout == "DELETE 0\n"
    records = nodes.lab.audit.read_text() + nodes.audit.read_text()
    assert records.count(f'"hold":"{number}","event":"approved"') == 2


def _until_it_answers(node: Callable[[str, str], str], user: str, command: str) -> str:
    """Each node finds by itself that the store is back."""
    for _ in range(60):
        answer = node(user, command)
        if "nothing was changed" not in answer:
            break
    return answer


@pytest.mark.slow
def test_the_store_going_away_refuses_what_is_new_and_loses_none(nodes: Nodes):
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(run_psql, nodes.lab, "bob", _DELETE)
        number = _number(nodes.lab)
        nodes.postgres("alter database holds allow_connections false")
        nodes.postgres("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'holds'")
        answer = run_psql(nodes.lab, "bob", _DELETE, "select 1")
        assert "57P03: the statement could not be held, and was refused" in answer.stderr
        assert answer.stdout == "1\n", "what needs nobody goes on"
        assert "nothing was changed" in nodes.on_second("dora", f"approve {number}")
        nodes.postgres("alter database holds allow_connections true")
        assert "needs more" in _until_it_answers(nodes.on_second, "dora", f"approve {number}")
        assert "goes on" in _until_it_answers(nodes.on_first, "eve", f"approve {number}")
        assert asking.result().stdout == "DELETE 0\n"


@pytest.mark.slow
def test_a_node_that_is_killed_leaves_holds_that_its_next_start_closes(nodes: Nodes):
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(run_psql, nodes.lab, "bob", _DELETE)
        number = _number(nodes.lab)
        os.kill(nodes.lab.proxy.pid, signal.SIGKILL)
        asking.result()
        nodes.lab.proxy.stop()
        assert "needs more" in nodes.on_second("dora", f"approve {number}"), "nobody has told the other node yet"
        nodes.lab.proxy.start()
        for _ in range(60):
            if not nodes.on_second("dora", "show holds"):
                break
        assert "no hold" in nodes.on_second("eve", f"approve {number}")
    assert f'"hold":"{number}","event":"lost"' in nodes.lab.audit.read_text()
