"""Running an audit's statements again on a real server."""

import asyncio
import json

import msgspec
import pytest
from click.testing import CliRunner

from pgguard.audit.log import AuditLog
from pgguard.audit.records import DecisionMade, StatementEnded
from pgguard.audit.rerun import run
from pgguard.audit.settings import AuditSettings
from pgguard.audit.workload import workload_of
from pgguard.cli.main import main
from pgguard.model.context import Context
from pgguard.model.control import CopyIn
from pgguard.model.decision import Effect, Redaction
from pgguard.model.facts import Facts

NOW = "2026-03-02T10:00:00+00:00"


def made(number, text, *, session="s", moment="query", effect=Effect.ALLOW, values=(), binary=(), at=0.0, reads=True):
    context = Context("alice", "alice@EXAMPLE.COM", "postgres", 1000.0 + at)
    facts = (Facts("SELECT", reads_only=reads),)
    return DecisionMade(
        NOW, f"{session}-{number}", session, moment, text, effect, context, facts, values=values, binary=binary
    )


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
    measured = await run(workload_of(RECORDS, read_only=False), postgres.dsn(), None, read_only=False)
    assert (len(measured.seconds), measured.left_out.total(), measured.differences) == (7, 0, [])


async def test_their_rhythm_is_kept(postgres):
    sessions = workload_of([RECORDS[0], RECORDS[5], RECORDS[8]], read_only=False)
    began = asyncio.get_running_loop().time()
    await run(sessions, postgres.dsn(), 2.0, read_only=False)
    assert asyncio.get_running_loop().time() - began >= 0.15


async def test_values_are_bound_as_they_were_text_or_binary(postgres):
    """An int of -7 and a timestamp as they go over the wire; beside them the same types as text."""
    steps = [
        made(1, "select 1 / ($1::int + 7)", moment="bind", values=("\\xfffffff9",), binary=(0,)),
        StatementEnded(NOW, "s-1", "s", sqlstate="22012"),
        made(2, "select 1 / ($1::int + 7)", moment="bind", values=("-7",)),
        StatementEnded(NOW, "s-2", "s", sqlstate="22012"),
        made(3, "select 1 / ($1::int + $2::int4)", moment="bind", values=("\\x00000001", "\\x00000001"), binary=(0, 1)),
        made(4, "select $1::timestamptz, $2::text", moment="bind", values=("\\x0002f1f1a2c00000", "ä"), binary=(0,)),
        made(5, "select $1::bytea", moment="bind", values=("\\x61",)),
        made(6, "select $1::int + $2::int", moment="bind", values=("\\x00000001", None), binary=(0,)),
    ]
    measured = await run(workload_of(steps, read_only=False), postgres.dsn(), None, read_only=False)
    assert (measured.differences, dict(measured.left_out), len(measured.seconds)) == ([], {}, 6)


async def test_values_that_cannot_be_passed_on_are_said(postgres):
    steps = [
        made(1, "select $1::int[]", moment="bind", values=("\\x00",), binary=(0,)),
        made(2, "select $1::int + $2::int", moment="bind", values=("\\x00000001", "1"), binary=(0,)),
        made(3, "select 1"),
    ]
    measured = await run(workload_of(steps, read_only=False), postgres.dsn(), None, read_only=False)
    assert len(measured.seconds) == 1
    assert dict(measured.left_out) == {
        "values of type int4[], which this client cannot pass on": 1,
        "values of type int4 in both forms in one statement": 1,
    }


def test_what_cannot_or_shall_not_be_run_is_left_out_with_its_reason():
    steps = [
        made(1, "select 1"),
        made(2, "drop table t", effect=Effect.DENY),
        made(3, "", moment="function_call"),
        made(4, "insert into t values (1)", reads=False),
        made(5, "select 2", moment="parse"),
        msgspec.structs.replace(made(6, "copy t from stdin"), facts=(Facts("COPY", control=CopyIn()),)),
        msgspec.structs.replace(made(7, "select '?'"), redact=Redaction.DROP),
    ]
    workload = workload_of(steps, read_only=True)
    assert workload.statements == 1
    assert {reason.split(":")[0]: count for reason, count in workload.left_out.items()} == {
        "denied, or held": 1,
        "function calls of the old protocol": 1,
        "changes something, or may": 1,
        "COPY FROM STDIN": 1,
        "redacted": 1,
    }


def test_sessions_are_side_by_side_as_they_were():
    steps = [made(n, "select 1", session=name, at=at) for n, (name, at) in enumerate([
        ("a", 0.0), ("a", 5.0), ("b", 1.0), ("b", 2.0), ("c", 3.0), ("c", 9.0), ("d", 10.0),
    ])]  # fmt: skip
    assert workload_of(steps, read_only=False).at_once == 2


def test_read_only_leaves_out_what_writes():
    steps = workload_of(RECORDS, read_only=True).sessions["s"]
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
    assert "2 statements of 1 sessions can be run" in result.output


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "a.jsonl"
    log = AuditLog(AuditSettings(path=path), NOW)
    for record in RECORDS:
        log.append(record)
    log.append(msgspec.structs.replace(made(9, "copy t from stdin"), facts=(Facts("COPY", control=CopyIn()),)))
    log.close()
    return str(path)


def replay(*arguments):
    return CliRunner().invoke(main, ["replay", *arguments])


def test_two_targets_as_json(postgres, recorded):
    result = replay(recorded, "--to", postgres.dsn(), "--to", postgres.dsn(), "--speed", "max", "--format", "json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["sessions"], told["at_once"]) == (2, 1)
    assert told["left_out"] == {"denied, or held": 1, "COPY FROM STDIN: its data is not in the log": 1}
    one, two = told["targets"]
    assert one["statements"] == two["statements"] == 7
    assert set(one["ratios"].values()) == {1.0}
    assert two["ratios"]["p50"] == pytest.approx(two["p50"] / one["p50"])
    assert one["differences"] == []


def test_a_read_only_run_cannot_write(postgres, tmp_path):
    """Also where the record claims that it only reads."""
    path = tmp_path / "a.jsonl"
    log = AuditLog(AuditSettings(path=path), NOW)
    log.append(made(1, "create table written_by_a_replay (a int)"))
    log.close()
    result = replay(str(path), "--to", postgres.dsn(), "--read-only", "--speed", "max")
    assert result.exit_code == 1
    assert "success then, 25006 now" in result.output


def test_what_to_record_is_said_and_how_much_of_a_log_can_be_run(recorded):
    advice = replay("--record")
    assert advice.exit_code == 0
    assert 'literals = "keep"' in advice.output
    counted = replay("--record", recorded)
    assert counted.output == (
        "7 statements of 2 sessions can be run\n"
        "left out: 1 denied, or held\n"
        "left out: 1 COPY FROM STDIN: its data is not in the log\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "say either --rules"),
        (("--to", "postgresql://h/d", "--record"), "say either --rules"),
        (("--to", "postgresql://h/d", "--speed", "fast"), '"fast" is no speed'),
        (("--to", "postgresql://h/d", "--speed", "0x"), '"0x" is no speed'),
        (("--to", "postgresql://h/d", "--format", "junit"), "--format junit is for --rules"),
        (("--to", "postgresql://u:geheim@localhost:1/d"), "target 1 lets no session in"),
    ],
)
def test_what_cannot_be_done_is_said(recorded, arguments, complaint):
    result = replay(recorded, *arguments)
    assert result.exit_code != 0
    assert complaint in result.output
    assert "geheim" not in result.output


def test_without_a_log_there_is_nothing_to_run():
    assert "name the audit's files" in replay("--to", "postgresql://h/d").output
