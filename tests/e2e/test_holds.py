"""Held statements: bob asks, dora and eve decide in the console, all by real psql and real tickets."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from pgguard.lab.lab import Lab
from tests.e2e.conftest import connected, run_psql

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
    rules = tmp_path / "rules"
    shutil.copytree("rules", rules)
    (rules / "holds.yaml").write_text(_RULES)
    return own_lab(rules=rules)


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
