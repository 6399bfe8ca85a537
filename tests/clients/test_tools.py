"""PostgreSQL's own programs, as they come, in every transport."""

import signal
import subprocess
from pathlib import Path

import pytest

from pgguard.lab.lab import Lab

from .conftest import Run


def test_what_psql_describes(run: Run):
    told = run("psql", "-X", "-c", r"\d items", "-c", r"\dt", "-c", r"\du", "-c", r"\df *.lower", "-c", r"\l").stdout
    assert "items_pkey" in told
    assert "pg_catalog | lower" in told


def test_copy_in_and_out(run: Run, tmp_path: Path):
    (tmp_path / "in.txt").write_text("".join(f"{n}\tname {n}\n" for n in range(3000)))
    run("psql", "-X", "-c", "create table if not exists copied (a int, b text)", "-c", "truncate copied")
    run("psql", "-X", "-c", r"\copy copied from in.txt", "-c", r"\copy copied to out.txt")
    assert (tmp_path / "out.txt").read_text() == (tmp_path / "in.txt").read_text()


def test_a_result_fetched_in_portions(run: Run):
    told = run("psql", "-XAtq", "-v", "FETCH_COUNT=7", "-c", "select generate_series(1, 100)").stdout
    assert told.split() == [str(n) for n in range(1, 101)]


def test_watch(run: Run):
    # watching ends with the statement's first failure: here at the fourth time
    repeated = "create temp sequence times;\nselect 'seen', 12 / (4 - nextval('times'))\n\\watch 0.05\n"
    told = run("psql", "-X", stdin=repeated)
    assert told.stdout.count("seen") == 3
    assert "division by zero" in told.stderr


def test_sigint_cancels_the_statement(client: dict[str, str], open_lab: Lab):
    with subprocess.Popen(
        ["psql", "-XAt"], env=client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as psql:
        assert psql.stdin is not None
        psql.stdin.write("select 'cancel me', pg_sleep(60);\n")
        psql.stdin.flush()
        running = "select exists (select from pg_stat_activity where state = 'active' and query ~ '^select .cancel me')"
        while open_lab.postgres.run(running).strip() != "t":
            assert psql.poll() is None
        psql.send_signal(signal.SIGINT)
        _, told = psql.communicate(timeout=20)
    assert "canceling statement due to user request" in told


@pytest.fixture(scope="module")
def accounts(open_lab: Lab) -> None:
    """pgbench's tables."""
    server = open_lab.postgres
    subprocess.run(
        ["pgbench", "-i", "-q", "-h", server.host, "-p", str(server.port), "-U", server.superuser, "shop"],
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench(run: Run, accounts: None, mode: str):
    told = run("pgbench", "-n", "-M", mode, "-c", "3", "-t", "20").stdout
    assert "number of transactions actually processed: 60/60" in told
    assert "number of failed transactions: 0" in told


def test_pgbench_in_a_pipeline(run: Run, accounts: None, tmp_path: Path):
    (tmp_path / "script").write_text(
        "\\startpipeline\n"
        + "select abalance from pgbench_accounts where aid = 7;\n" * 10
        + "update pgbench_tellers set tbalance = tbalance + 1 where tid = :client_id + 1;\n\\endpipeline\n"
    )
    told = run("pgbench", "-n", "-M", "extended", "-c", "2", "-t", "10", "-f", "script").stdout
    assert "number of transactions actually processed: 20/20" in told


def test_a_dump_restores_to_the_same(run: Run, open_lab: Lab, tmp_path: Path):
    """Dumped and restored through pgguard, and compared with what pg_dump says without it."""
    server = open_lab.postgres
    server.run(
        "drop table if exists kept; create table kept as select n, md5(n::text) t from generate_series(1, 5000) n"
    )
    server.run("drop schema if exists kept_in cascade", "shop")
    server.run(
        "create schema kept_in; create table kept_in.kept as select n, md5(n::text) t from generate_series(1, 5000) n;"
        "create view kept_in.few as select n from kept_in.kept where n < 5",
        "shop",
    )
    dump = ["pg_dump", "-n", "kept_in"]
    direct = subprocess.run(
        [*dump, "-h", server.host, "-p", str(server.port), "-U", server.superuser, "shop"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    run(*dump, "-Fc", "-f", "kept.dump")
    server.run("drop schema kept_in cascade", "shop")
    run("pg_restore", "--exit-on-error", "-d", "shop", "kept.dump")
    assert _comparable(run(*dump).stdout) == _comparable(direct)


def _comparable(dump: str) -> list[str]:
    """Without the random word of \\restrict, and the session's owner."""
    return [
        line for line in dump.splitlines() if not line.startswith("\\") and "Owner:" not in line and "OWNER" not in line
    ]
