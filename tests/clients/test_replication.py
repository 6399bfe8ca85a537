"""Replication connections: who may have one, what is judged on it, PostgreSQL's own receivers, and how streams end."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import pq

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.postgres import newest_binaries

from .conftest import TRANSPORTS

RULES = """
rules:
  - {name: dba-replicates, who: {group: dba}, allow: replicate, on: {server: "*"}}
  - name: support-takes-no-copies
    who: {user: carol}
    deny: replicate
    on: {server: "*"}
    when: {statement: {kind: BASE_BACKUP}}
    message: no base backups for support
  - {name: support-replicates, who: {user: carol}, allow: replicate, on: {server: "*"}}
  - {name: dba-reads-items, who: {group: dba}, allow: select, on: public.items, columns: [id]}
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def replicating(servers: Path) -> Iterator[Lab]:
    folder = servers / "replicating"
    folder.mkdir()
    (folder / "rules").mkdir()
    (folder / "rules" / "replication.yaml").write_text(RULES)
    schema = folder / "schema.sql"
    schema.write_text("create table items (id int primary key, secret text); create publication items for table items;")
    plan = Plan(
        folder,
        sql=(schema,),
        rules=folder / "rules",
        settings=("directory.refresh=0.2",),
        postgres_settings={"wal_level": "logical"},
    )
    with Lab(plan) as running:
        yield running


@pytest.fixture
def run(replicating: Lab, tmp_path: Path) -> Run:
    """One of PostgreSQL's programs as a user, to its end."""

    def call(user: str, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **replicating.environment(user), "PGCONNECT_TIMEOUT": "20"}
        command = [str(newest_binaries() / program), *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
        )

    return call


@pytest.fixture
def connect(replicating: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., psycopg.Connection]]:
    made: list[psycopg.Connection] = []

    def call(user: str, replication: str = "database", **options: object) -> psycopg.Connection:
        with monkeypatch.context() as patched:
            for name, value in {**replicating.environment(user), **TRANSPORTS["gss"]}.items():
                patched.setenv(name, value)
            made.append(psycopg.connect("", autocommit=True, replication=replication, **options))
        return made[-1]

    yield call
    for connection in made:
        connection.close()


def records(lab: Lab, kind: str) -> list[dict[str, object]]:
    return [record for line in lab.audit.read_text().splitlines() if (record := json.loads(line))["type"] == kind]


def lsn(lab: Lab) -> str:
    return lab.postgres.run("select pg_current_wal_insert_lsn()", "shop").strip()


def wait_for(lab: Lab, query: str, wanted: str, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while lab.postgres.run(query, "shop").strip() != wanted:
        assert time.monotonic() < end, f"{query} is not {wanted}"


def told(result: pq.abc.PGresult) -> str:
    return result.error_message.decode()


def test_each_command_is_judged_and_recorded(run: Run, replicating: Lab):
    done = run("dora", "psql", "-XAt", "dbname=shop replication=database", "-c", "IDENTIFY_SYSTEM")
    assert re.fullmatch(r"\d+\|1\|[0-9A-F]+/[0-9A-F]+\|shop\n", done.stdout), done.stderr
    started = [record for record in records(replicating, "session-start") if record["user"] == "dora"]
    assert started[-1]["replication"] == "database"
    decided = [record for record in records(replicating, "decision") if record["text"] == "IDENTIFY_SYSTEM"]
    assert decided[-1]["decision"]["rules"] == ["dba-replicates"]
    ended = [record for record in records(replicating, "outcome") if record["id"] == decided[-1]["id"]]
    assert ended[0]["tag"] == "IDENTIFY_SYSTEM"


@pytest.mark.parametrize("replication", ["database", "true"])
def test_without_a_rule_nobody_replicates(run: Run, replication: str):
    done = run("alice", "psql", "-XAt", f"dbname=shop replication={replication}", "-c", "IDENTIFY_SYSTEM")
    assert done.returncode == 2
    assert re.search(r"FATAL:  permission denied for server.*allows replicate on it", done.stderr, re.DOTALL), (
        done.stderr
    )


def test_sql_on_a_replication_connection_is_judged_like_any_other(connect: Callable[..., psycopg.Connection]):
    """It goes by simple queries alone, pgguard's own questions too: an unqualified name needs the search_path."""
    pgconn = connect("dora").pgconn
    assert pgconn.exec_(b"select id from items").status == pq.ExecStatus.TUPLES_OK
    assert "secret" in told(pgconn.exec_(b"select secret from items"))
    assert "syntax error" in told(pgconn.exec_(b"SHOW work_mem; select secret from items"))
    assert pgconn.exec_(b"begin; create temp table x ()").error_field(pq.DiagnosticField.SQLSTATE) == b"42501"
    assert pgconn.exec_(b"SHOW wal_segment_size").get_value(0, 0) == b"16MB"


def test_what_a_replication_connection_cannot_do_is_an_error_as_ever(connect: Callable[..., psycopg.Connection]):
    pgconn = connect("dora").pgconn
    done = pgconn.exec_params(b"select $1::int", [b"1"])
    assert "extended query protocol not supported in a replication connection" in told(done)
    physical = connect("dora", "true").pgconn
    assert "cannot execute SQL commands in WAL sender for physical replication" in told(physical.exec_(b"select 1"))
    assert "syntax error" in told(physical.exec_(b"IDENTIFY_SYSTEM; select 1"))
    assert physical.exec_(b"IDENTIFY_SYSTEM").ntuples == 1
    assert pgconn.exec_(b"IDENTIFY_SYSTEM").ntuples == 1


def test_pg_recvlogical(run: Run, replicating: Lab):
    slot = ("--dbname=shop", "--slot=received")
    made = run("dora", "pg_recvlogical", *slot, "--create-slot", "--plugin=test_decoding")
    assert made.returncode == 0, made.stderr
    replicating.postgres.run("insert into items select n, repeat('x', 1000) from generate_series(1, 2000) n", "shop")
    end = lsn(replicating)
    done = run("dora", "pg_recvlogical", *slot, "--start", f"--endpos={end}", "--file=-", "--no-loop")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("table public.items: INSERT") == 2000
    dropped = run("dora", "pg_recvlogical", *slot, "--drop-slot")
    assert dropped.returncode == 0, dropped.stderr


@pytest.mark.slow
def test_pg_receivewal(run: Run, replicating: Lab, tmp_path: Path):
    (tmp_path / "wal").mkdir()
    start = lsn(replicating)
    replicating.postgres.run(
        "select pg_switch_wal(); create table if not exists more (); select pg_switch_wal()", "shop"
    )
    done = run("dora", "pg_receivewal", "-D", "wal", f"--endpos={lsn(replicating)}", "--no-loop", "-v")
    assert done.returncode == 0, (start, done.stderr)
    received = sorted(path.name for path in (tmp_path / "wal").iterdir())
    segment = replicating.postgres.run(f"select pg_walfile_name('{start}')", "shop").strip()
    assert any(name.removesuffix(".partial") >= segment for name in received), received


def test_a_base_backup_where_the_rules_let_it(run: Run, tmp_path: Path):
    refused = run("carol", "pg_basebackup", "-D", "backup", "-c", "fast", "--no-sync")
    assert "no base backups for support" in refused.stderr
    done = run("dora", "pg_basebackup", "-D", "backup", "-c", "fast", "--no-sync")
    assert done.returncode == 0, done.stderr
    verified = run("dora", "pg_verifybackup", "backup")
    assert "backup successfully verified" in verified.stdout, verified.stderr


def stream(connection: psycopg.Connection, slot: str) -> pq.abc.PGconn:
    pgconn = connection.pgconn
    made = pgconn.exec_(f"CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput".encode())
    assert made.status == pq.ExecStatus.TUPLES_OK, told(made)
    options = "(proto_version '1', publication_names 'items')"
    started = pgconn.exec_(f"START_REPLICATION SLOT {slot} LOGICAL 0/0 {options}".encode())
    assert started.status == pq.ExecStatus.COPY_BOTH, told(started)
    return pgconn


def until_it_ends(pgconn: pq.abc.PGconn) -> str:
    """Read a stream; what is said at its end."""
    while True:
        try:
            length, _ = pgconn.get_copy_data(0)
        except psycopg.Error as error:
            return str(error)
        if length < 0:
            return told(pgconn.get_result())


def test_a_stream_ends_when_the_client_wants_it_to(connect: Callable[..., psycopg.Connection], replicating: Lab):
    pgconn = stream(connect("dora"), "ends")
    replicating.postgres.run("insert into items values (100001, 'streamed')", "shop")
    kinds = b""
    while b"I" not in kinds:  # the insert, between begin and commit; w is what carries each of them
        _, data = pgconn.get_copy_data(0)
        if bytes(data[:1]) == b"w":
            kinds += bytes(data[25:26])
    pgconn.put_copy_end()
    while pgconn.get_copy_data(0)[0] > 0:
        pass
    while (result := pgconn.get_result()) is not None:
        assert result.status == pq.ExecStatus.COMMAND_OK, told(result)
    assert pgconn.exec_(b"IDENTIFY_SYSTEM").ntuples == 1


def test_a_stream_ends_with_the_right_to_it(connect: Callable[..., psycopg.Connection], replicating: Lab):
    """A stream has no next statement at which its user could be refused: it would have gone on for ever."""
    replicating.add_user("rita", groups=["dba"])
    replicating.postgres.run("create role rita login superuser")
    pgconn = stream(connect("rita"), "revoked")
    replicating.slapd.remove_from_group("rita", "dba")
    assert "canceling statement due to user request" in until_it_ends(pgconn)


def test_a_stream_ends_with_the_rule_that_allowed_it(connect: Callable[..., psycopg.Connection], replicating: Lab):
    rules = replicating.rules / "replication.yaml"
    pgconn, other = stream(connect("carol"), "unruled"), stream(connect("dora"), "ruled")
    try:
        rules.write_text(
            RULES.replace("{name: support-replicates, who: {user: carol}", "{name: x, who: {user: nobody}")
        )
        assert "canceling statement due to user request" in until_it_ends(pgconn)
        replicating.postgres.run("insert into items values (100002, 'streamed')", "shop")
        assert other.get_copy_data(0)[0] > 0
    finally:
        rules.write_text(RULES)


def test_a_client_that_vanishes_ends_its_stream(connect: Callable[..., psycopg.Connection], replicating: Lab):
    connection = connect("dora")
    stream(connection, "vanishes")
    connection.close()
    wait_for(replicating, "select count(*) from pg_replication_slots where slot_name = 'vanishes'", "0")
