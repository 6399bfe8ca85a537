"""Running an audit's statements again on a real server."""

import asyncio

from click.testing import CliRunner

from pgguard.audit.log import AuditLog
from pgguard.audit.records import DecisionMade, StatementEnded
from pgguard.audit.settings import AuditSettings
from pgguard.audit.workload import run, sessions_of
from pgguard.cli.main import main
from pgguard.model.context import Context
from pgguard.model.decision import Effect
from pgguard.model.facts import Facts

NOW = "2026-03-02T10:00:00+00:00"


def made(number, text, *, session="s", moment="query", effect=Effect.ALLOW, values=(), at=0.0, reads=True):
    context = Context("alice", "alice@EXAMPLE.COM", "postgres", 1000.0 + at)
    facts = (Facts("SELECT", reads_only=reads),)
    return DecisionMade(NOW, f"{session}-{number}", session, moment, text, effect, context, facts, values=values)


RECORDS = [
    made(1, "begin"),
    made(2, "create temp table workload_t (a int, b text, c timestamptz)", reads=False),
    made(3, "insert into workload_t values ($1, $2, $3)", moment="bind", values=("7", "x", "2026-03-02"), reads=False),
    made(4, "select 1 / (a - 7) from workload_t"),
    StatementEnded(NOW, "s-4", "s", sqlstate="22012"),
    made(5, "rollback"),
    made(6, "select 1 where $1::int is null", moment="bind", values=(None,)),
    made(7, "drop table nobody_allowed_this", effect=Effect.DENY),
    made(8, "select pg_sleep(0)", session="t", at=0.3),
]


async def test_statements_run_again_as_they_did(postgres):
    measured = await run(sessions_of(RECORDS, read_only=False), postgres.dsn(), None, read_only=False)
    assert (len(measured.seconds), measured.skipped, measured.differences) == (7, 0, [])


async def test_their_rhythm_is_kept(postgres):
    sessions = sessions_of([RECORDS[0], RECORDS[5], RECORDS[8]], read_only=False)
    began = asyncio.get_running_loop().time()
    await run(sessions, postgres.dsn(), 2.0, read_only=False)
    assert asyncio.get_running_loop().time() - began >= 0.15


def test_read_only_leaves_out_what_writes():
    steps = sessions_of(RECORDS, read_only=True)["s"]
    assert not any("workload_t (" in step.text or "insert" in step.text for step in steps)


def test_a_different_failure_is_told(postgres, tmp_path):
    path = tmp_path / "a.jsonl"
    log = AuditLog(AuditSettings(path=path), NOW)
    log.append(made(1, "select 1"))
    log.append(made(2, "select * from nowhere"))
    log.close()
    result = CliRunner().invoke(
        main, ["replay", str(path), "--to", postgres.dsn(), "--to", postgres.dsn(), "--speed", "max"]
    )
    assert result.exit_code == 1, result.output
    assert "s-2: success then, 42P01 now" in result.output
    assert "times target 1" in result.output
