"""Held statements: bob asks, dora and eve decide in the console, all by real psql and real tickets."""

import asyncio
import os
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from pgguard.lab.lab import Lab
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


@pytest.mark.slow
def test_a_statement_that_waits_on_one_node_is_approved_on_another(own_lab: Callable[..., Lab], tmp_path: Path):
    rules = _rules(tmp_path)
    lab = own_lab(rules=rules)
    lab.postgres.run("create database holds")
    lab.proxy.stop()
    shared = f'\n[holds]\nstore = "postgres"\ndsn = "{lab.postgres.dsn("holds")}"\n'
    lab.config.write_text(lab.config.read_text() + shared)
    lab.proxy.start()
    port = free_port()
    config = tmp_path / "second.toml"
    settings = lab.config.read_text().replace(f"port = {lab.proxy.port}", f"port = {port}")
    config.write_text(settings.replace(str(lab.audit), str(tmp_path / "second.jsonl")))
    second = Proxy(config, port, lab.realm.environment(), tied=True)
    second.start()
    try:
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(run_psql, lab, "bob", _DELETE)
            number = _number(lab)
            for who, answer in (("dora", "needs more"), ("eve", "goes on")):
                done = run_psql(lab, who, f"approve {number}", PGDATABASE="pgguard", PGPORT=str(port))
                assert answer in done.stderr
            assert asking.result().stdout == "DELETE 0\n"
    finally:
        second.stop()
    assert '"by":"eve@PGGUARD.TEST"' in (tmp_path / "second.jsonl").read_text()
