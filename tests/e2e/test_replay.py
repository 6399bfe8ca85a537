"""What real clients did through pgguard, decided again and run again."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from pgguard.lab.lab import Lab
from tests.e2e.conftest import connected, run_psql

OwnLab = Callable[..., Lab]


def _replay(lab: Lab, log: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgguard", "replay", str(log), *options],
        env={**os.environ, **lab.environment("alice")},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


async def _work(lab: Lab) -> None:
    """What an application does: binary values, transactions, errors, refusals, prepared statements, COPY."""
    async with connected(lab, "alice") as connection:
        for number in range(5):
            await connection.fetch("select id, total from sales.orders where id = $1", number)
        await connection.fetch("select id from sales.orders where id = any($1::int[])", [1, 2, 3])
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        await connection.fetch("select count(*) from sales.orders where created_at > $1 and status <> $2", moment, "x")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("select card_number from sales.customers")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetch("select 1 / (id - id) from sales.orders")
        async with connection.transaction():
            await connection.execute("declare c cursor for select id from sales.orders")
            await connection.execute("fetch 2 from c")
    run_psql(
        lab,
        "alice",
        "prepare p(int) as select id from sales.orders where id = $1",
        "execute p(1)",
        "begin; select 1 / 0; commit",
        "\\copy (select id from sales.orders) to '/dev/null'",
        "selct",
    )


@pytest.fixture
def log(lab: Lab, as_user: Callable[[str], None], tmp_path: Path) -> Path:
    """The audit of this work alone: the lab's log belongs to all tests."""
    import asyncio  # noqa: PLC0415  # a fixture of its own loop

    before = lab.audit.stat().st_size
    as_user("alice")
    asyncio.run(_work(lab))
    part = tmp_path / "audit.jsonl"
    part.write_bytes(lab.audit.read_bytes()[before:])
    return part


def test_the_same_rules_reproduce_what_real_clients_got(lab: Lab, log: Path):
    done = _replay(lab, log, "--rules", str(lab.rules), "--strict", "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["decided"] == told["same_rules"] > 15
    assert (told["not_reproduced"], told["flips"]) == ([], [])
    assert told["undecided"] >= 1


def test_a_loosened_rule_is_told_from_what_was_really_asked(lab: Lab, log: Path, tmp_path: Path):
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "open.yaml").write_text("rules: [{name: open, who: {user: alice}, allow: [read, write], on: sales.*}]")
    done = _replay(lab, log, "--rules", str(rules))
    assert done.returncode == 1
    assert "deny -> allow: 1 times" in done.stdout
    assert "card_number" in done.stdout


def test_it_runs_again_directly_and_through_pgguard_as_it_did(lab: Lab, log: Path):
    direct = f"postgresql://alice@localhost:{lab.postgres.port}/{lab.plan.database}"
    through = f"postgresql://alice@localhost:{lab.proxy.port}/{lab.plan.database}"
    done = _replay(lab, log, "--to", direct, "--to", through, "--speed", "max", "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    for target in told["targets"]:
        assert target["statements"] >= 16  # asyncpg has questions of its own
        assert target["differences"] == []
        assert target["left_out"] == {}
    assert told["sessions"] == 2


def test_read_only_runs_what_plainly_reads_directly_and_through_pgguard(lab: Lab, log: Path):
    direct = f"postgresql://alice@localhost:{lab.postgres.port}/{lab.plan.database}"
    through = f"postgresql://alice@localhost:{lab.proxy.port}/{lab.plan.database}"
    done = _replay(lab, log, "--to", direct, "--to", through, "--speed", "max", "--format", "json", "--read-only")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["left_out"]["changes something, or may"] > 5
    for target in told["targets"]:
        assert target["statements"] >= 8
        assert (target["differences"], target["left_out"]) == ([], {})
