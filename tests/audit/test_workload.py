"""Running an audit's statements again on a real server."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner

from pgguard.audit.log import AuditLog
from pgguard.audit.records import DecisionMade, StatementEnded
from pgguard.audit.redact import Redactor
from pgguard.audit.rerun import run
from pgguard.audit.settings import AuditSettings
from pgguard.audit.workload import workload_of
from pgguard.cli.main import main
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.control import CopyIn
from pgguard.model.decision import Effect, Redaction
from pgguard.model.facts import Facts
from pgguard.policy.load import load
from pgguard.runtime.rulebook import read_baseline
from pgguard.sql.shape import shape_of_text

NOW = "2026-03-02T10:00:00+00:00"
HARMLESS = load([], read_baseline(None), shape_of_text)


@asynccontextmanager
async def made_database(postgres, *statements):
    """A database of the test's own, with what these statements make; its DSN."""
    administrator = await asyncpg.connect(postgres.dsn())
    await administrator.execute("create database rerun")
    inside = postgres.dsn("rerun")
    connection = await asyncpg.connect(inside)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
    yield inside
    await administrator.execute("drop database rerun with (force)")
    await administrator.close()


def made(number, text, *, session="s", moment="query", effect=Effect.ALLOW, values=(), binary=(), at=0.0, reads=True):
    """`at`: seconds after all began; decided at the beginning, as one that repeats another within its second."""
    context = Context("alice", "alice@EXAMPLE.COM", "postgres", 1772445600.0)
    facts = (Facts("SELECT", reads_only=reads),)
    recorded = (datetime.fromisoformat(NOW) + timedelta(seconds=at)).isoformat()
    return DecisionMade(
        recorded, f"{session}-{number}", session, moment, text, effect, context, facts, values=values, binary=binary
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
    measured = await run(workload_of(RECORDS, harmless=None), postgres.dsn(), None, read_only=False)
    assert (len(measured.seconds), measured.left_out.total(), measured.differences) == (7, 0, [])


async def test_their_rhythm_is_kept(postgres):
    sessions = workload_of([RECORDS[0], RECORDS[5], RECORDS[8]], harmless=None)
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
    measured = await run(workload_of(steps, harmless=None), postgres.dsn(), None, read_only=False)
    assert (measured.differences, dict(measured.left_out), len(measured.seconds)) == ([], {}, 6)


_ARRAY = "\\x" + "00000001 00000000 00000017 00000002 00000001 00000004 00000007 00000004 00000000".replace(" ", "")
"""{7,0} as an int[] goes over the wire: dimensions, nulls, element's type, length, lower bound, elements."""
_ROW = "\\x" + "00000002 00000017 00000004 00000007 00000019 00000001 61".replace(" ", "")
"""(7, 'a') as a composite goes over the wire."""


async def test_arrays_rows_and_both_forms_in_one_statement_go_as_they_were_bound(postgres):
    async with made_database(postgres, "create type pair as (a int, b text)") as dsn:
        steps = [
            made(1, "select 1 / ($1::int[])[2]", moment="bind", values=(_ARRAY,), binary=(0,)),
            StatementEnded(NOW, "s-1", "s", sqlstate="22012"),
            made(2, "select 1 / ($1::int[])[2]", moment="bind", values=("{7,0}",)),
            StatementEnded(NOW, "s-2", "s", sqlstate="22012"),
            made(3, "select 1 / (($1::pair).a - 7)", moment="bind", values=(_ROW,), binary=(0,)),
            StatementEnded(NOW, "s-3", "s", sqlstate="22012"),
            made(4, "select 1 / ($1::int + $2::int)", moment="bind", values=("\\x00000001", "-1"), binary=(0,)),
            StatementEnded(NOW, "s-4", "s", sqlstate="22012"),
        ]
        measured = await run(workload_of(steps, harmless=None), dsn, None, read_only=False)
    assert (len(measured.seconds), measured.differences, dict(measured.left_out)) == (4, [], {})


async def test_types_that_a_client_declared_are_declared_again(postgres):
    """Without them the server has nothing to choose an operator by; those that users made have other OIDs elsewhere."""
    asked = "select 1 / ($1 + $2)"
    one, two = (made(n, asked, moment="bind", values=("1", "-1")) for n in (1, 2))
    own = made(3, "select $1::text", moment="bind", values=("a",))
    steps = [
        msgspec.structs.replace(one, types=(23, 23)),
        StatementEnded(NOW, "s-1", "s", sqlstate="22012"),
        two,
        StatementEnded(NOW, "s-2", "s", sqlstate="42725"),
        msgspec.structs.replace(own, types=(987654,)),
    ]
    measured = await run(workload_of(steps, harmless=None), postgres.dsn(), None, read_only=False)
    assert measured.differences == []


async def test_large_values_and_results_and_copies_pass(postgres):
    large = "x" * (8 << 20)
    steps = [
        made(1, "select length($1), $1", moment="bind", values=(large,)),
        made(2, f"select '{large}'"),
        made(3, "select 1; copy (select generate_series(1, 100000)) to stdout; select 1 / 0; select 2"),
        StatementEnded(NOW, "s-3", "s", sqlstate="22012"),
        made(4, "select 1"),
    ]
    measured = await run(workload_of(steps, harmless=None), postgres.dsn(), None, read_only=False)
    assert (len(measured.seconds), measured.differences) == (4, [])


async def test_a_transaction_that_was_left_open_is_not_committed(postgres):
    """Its client went away in the middle, and what it did was rolled back."""
    async with made_database(postgres, "create table there as select 1 as a") as dsn:
        steps = [made(1, "begin"), made(2, "insert into there values (2)")]
        await run(workload_of(steps, harmless=None), dsn, None, read_only=False)
        connection = await asyncpg.connect(dsn)
        assert await connection.fetch("select a from there") == [(1,)]
        await connection.close()


async def test_a_session_that_the_target_ends_is_told_and_the_others_go_on(postgres):
    steps = [
        made(1, "select pg_terminate_backend(pg_backend_pid())"),
        made(2, "select 1"),
        made(1, "select 1", session="t"),
    ]
    measured = await run(workload_of(steps, harmless=None), postgres.dsn(), None, read_only=False)
    assert [(d.id, d.now) for d in measured.differences] == [("s-1", "57P01")]
    assert dict(measured.left_out) == {"the target ended the session before": 1}
    assert len(measured.seconds) == 2


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
    workload = workload_of(steps, harmless=HARMLESS)
    assert workload.statements == 1
    assert {reason.split(":")[0]: count for reason, count in workload.left_out.items()} == {
        "denied, or held": 1,
        "function calls of the old protocol": 1,
        "changes something, or may": 1,
        "COPY FROM STDIN": 1,
        "redacted": 1,
    }


@pytest.mark.parametrize(
    ("settings", "text", "values", "runs"),
    [
        ({}, "alter role r password 'geheim'", (), False),
        ({"literals": "drop"}, "update t set a = 5", (), False),
        ({"literals": "hash"}, "update t set a = 'x'", (), False),
        ({"literals": "drop"}, "update t set a = b", (), True),
        ({"values": "drop"}, "update t set a = $1", ("5",), False),
        ({"values": "hash"}, "update t set a = $1", (None,), True),
    ],
)
def test_what_redaction_has_hidden_is_never_run(tmp_path, settings, text, values, runs):
    """By [audit] alone, too: the marks would have been run as constants."""
    redactor = Redactor(AuditSettings(path=tmp_path, **settings), None)
    record = redactor.record(made(1, text, moment="bind", values=values))
    assert workload_of([record], harmless=None).statements == runs


def test_sessions_are_side_by_side_as_they_were():
    steps = [made(n, "select 1", session=name, at=at) for n, (name, at) in enumerate([
        ("a", 0.0), ("a", 5.0), ("b", 1.0), ("b", 2.0), ("c", 3.0), ("c", 9.0), ("d", 10.0),
    ])]  # fmt: skip
    assert workload_of(steps, harmless=None).at_once == 2


def test_read_only_leaves_out_what_writes():
    steps = workload_of(RECORDS, harmless=HARMLESS).sessions["s"]
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


@pytest.mark.parametrize(
    "text",
    [
        "create table written_by_a_replay (a int)",
        "copy (select 1) to program 'touch {there}'",
        "copy (select 1) to '{there}'",
        "load 'plpgsql'",
        "select pg_reload_conf()",
        "select pg_catalog.pg_terminate_backend(0)",
        "select 1 where exists (select from dblink_exec('', ''))",
        "with w as (insert into t values (1)) select 1",
        "select * into t from u",
        "select 1 from t for update",
        "select 1; commit",
        "explain analyze select 1",
        "listen c",
        "no sql at all",
    ],
)
def test_a_read_only_run_believes_no_record(postgres, tmp_path, text):
    """The log of somebody else may claim that COPY TO PROGRAM is a SELECT; a read-only transaction runs the program."""
    path, there = tmp_path / "a.jsonl", postgres.data / "there"
    log = AuditLog(AuditSettings(path=path), NOW)
    log.append(made(1, text.format(there=there)))
    log.append(made(2, "select lower(current_setting('work_mem')), now() from pg_class where relname = 'x'"))
    log.close()
    result = replay(str(path), "--to", postgres.dsn(), "--read-only", "--speed", "max")
    assert not there.exists(), result.output
    assert "1 statements of 1 sessions can be run" in result.output
    assert result.exit_code == 0, result.output


_WRITES = (
    "create table written (a int)",
    "insert into there values (2)",
    "with w as (insert into there values (2) returning a) select a from w",
    "select nextval('numbers')",
    "select lo_create(4711)",
    "call writes()",
    "do $$ begin insert into there values (2); end $$",
    "select * from there for update",
)
_WAYS_OUT = (
    "set transaction_read_only = off",
    "set transaction read write",
    "set session characteristics as transaction read write",
    "set default_transaction_read_only = off",
    "select set_config('transaction_read_only', 'off', false)",
    "select set_config('default_transaction_read_only', 'off', false)",
    "reset all",
    "commit",
    "rollback",
    "begin read write",
    "savepoint s",
    "prepare transaction 'p'",
    "commit; create table written (a int)",
    "end; begin; insert into there values (2); commit",
    "call leaves()",
    "do $$ begin commit; insert into there values (2); end $$",
    "select writes_as_it_likes()",
)


async def test_no_statement_gets_out_of_a_read_only_run(postgres):
    """Whatever the log claims: a record may have been forged, and a function may do what its record does not tell."""
    async with made_database(
        postgres,
        "create table there as select 1 as a",
        "create sequence numbers",
        "create procedure writes() language sql as 'insert into there values (2)'",
        "create procedure leaves() language plpgsql as 'begin commit; insert into there values (2); end'",
        """create function writes_as_it_likes() returns void language plpgsql as $$ begin
            perform set_config('transaction_read_only', 'off', false); insert into there values (2); end $$""",
    ) as dsn:
        texts = [text for way_out in _WAYS_OUT for text in (way_out, *_WRITES)]
        steps = [made(n, text, moment=moment) for n, text in enumerate(texts) for moment in ("query", "bind")]
        measured = await run(workload_of(steps, harmless=None), dsn, None, read_only=True)
        assert len(measured.seconds) == len(steps)
        connection = await asyncpg.connect(dsn)
        assert await connection.fetch("select a from there") == [(1,)]
        assert await connection.fetchval("select is_called from numbers") is False
        assert await connection.fetchval("select count(*) from pg_largeobject_metadata") == 0
        assert await connection.fetchval("select count(*) from pg_prepared_xacts") == 0
        assert await connection.fetchval("select to_regclass('written')") is None
        await connection.close()
    failed = {d.text for d in measured.differences}
    assert failed >= {text for text in _WRITES if "lo_create" not in text}  # rolled back; refused only from 16 on


async def test_what_a_read_only_run_leaves_behind_is_nothing(postgres):
    """A setting that one statement left would decide how the next are read."""
    steps = [made(1, "select set_config('search_path', 'nowhere', false)"), made(2, "select a from there")]
    async with made_database(postgres, "create table there as select 1 as a") as dsn:
        measured = await run(workload_of(steps, harmless=None), dsn, None, read_only=True)
    assert measured.differences == []


@pytest.mark.parametrize(
    ("access", "runs"),
    [
        (Access(Privilege.SELECT, Kind.TABLE, ObjectName("orders", "sales"), ("id",)), True),
        (Access(Privilege.EXECUTE, Kind.FUNCTION, ObjectName("lower", "pg_catalog", ("text",))), True),
        (Access(Privilege.SHOW, Kind.SETTING, ObjectName("work_mem")), True),
        (Access(Privilege.EXECUTE, Kind.FUNCTION, ObjectName("dblink_exec", "public", ("text", "text"))), False),
        (Access(Privilege.EXECUTE, Kind.FUNCTION, ObjectName("pg_advisory_lock", "pg_catalog", ("bigint",))), False),
        (Access(Privilege.EXECUTE, Kind.FUNCTION, ObjectName("pg_stat_reset", "pg_catalog", ())), False),
        (Access(Privilege.USAGE, Kind.SEQUENCE, ObjectName("orders_id_seq", "sales")), False),
        (Access(Privilege.INSERT, Kind.TABLE, ObjectName("orders", "sales"), ("id",)), False),
        (Access(Privilege.UPDATE, Kind.TABLE, ObjectName("orders", "sales"), ("id",)), False),
        (Access(Privilege.SET, Kind.SETTING, ObjectName("default_transaction_read_only")), False),
        (Access(Privilege.NOTIFY, Kind.CHANNEL, ObjectName("c")), False),
        (Access(Privilege.SIGNAL, Kind.SERVER, ObjectName("*")), False),
        (Access(Privilege.WRITE_FILE, Kind.SERVER, ObjectName("/tmp/x")), False),
        (Access(Privilege.WRITE, Kind.LARGE_OBJECT, ObjectName("*")), False),
        (Access(Privilege.REPLICATE, Kind.SERVER, ObjectName("*")), False),
    ],
    ids=lambda value: f"{value.privilege}-{value.object.name}" if isinstance(value, Access) else "",
)
def test_read_only_runs_what_plainly_reads(access, runs):
    """A read-only transaction does not keep a function from other servers, files, sessions and locks."""
    record = msgspec.structs.replace(made(1, "select …"), facts=(Facts("SELECT", (access,), reads_only=True),))
    workload = workload_of([record], harmless=HARMLESS)
    assert workload.statements == runs
    assert runs or list(workload.left_out) == [
        f"may change something: {access.privilege} on {access.kind} {access.object}"
    ]


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
