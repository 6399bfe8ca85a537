"""`pgguard lab` as scripts use it: lab.json, env.sh, and nothing left behind."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgguard.lab.lab import Lab, Plan


def _pgguard(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgguard", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """As `mktemp -d` makes it: private to its owner, where the servers' accounts do not get in."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        _pgguard("lab", "down", "--dir", name)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _command_line(process: Path) -> str:
    """Of a process below /proc; empty where it has just ended. A small machine has no ps."""
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.slow
def test_up_tells_how_to_reach_everything_and_down_ends_it(folder: Path, tmp_path: Path):
    sql = tmp_path / "schema.sql"
    sql.write_text("create table t (a int); insert into t values (7);\n")
    people = tmp_path / "people.yaml"
    people.write_text(
        "users: {ann: {password: pw, groups: [staff]}, ben: {groups: []}}\ngroups: {staff: {groups: [all]}}\n"
    )
    up = _pgguard(
        "lab", "up", "--dir", folder, "--database", "mine", "--sql", sql, "--directory", people,
        "--db-role", "worker", "--set", "audit.sync=always", "--no-proxy",
    )  # fmt: skip
    assert up.returncode == 0, up.stderr
    state = json.loads((folder / "lab.json").read_text())
    assert state["proxy"]["host"] == "localhost"
    assert set(state["pids"]) == {"kdc", "slapd", "postgres"}
    assert all(_alive(pid) for pid in state["pids"].values())
    assert set(state["ccaches"]) == {"ann", "ben"}
    assert all(Path(path).exists() for path in state["ccaches"].values())
    assert 'sync = "always"' in Path(state["config"]).read_text()
    assert 'user = "worker"' in Path(state["config"]).read_text()

    database = state["database"]
    where = ["-h", database["host"], "-p", str(database["port"]), "-d", database["name"]]
    query = "select a, (select rolsuper from pg_roles where rolname = 'worker') from t"
    got = subprocess.run(
        ["psql", *where, "-U", database["superuser"], "-AtXc", query], capture_output=True, text=True, check=True
    )
    assert got.stdout == "7|t\n"

    variables = subprocess.run(
        ["sh", "-c", '. "$1"; echo "$PGHOST $PGPORT $PGDATABASE $KRB5_CONFIG"', "-", str(folder / "env.sh")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert variables == f"localhost {state['proxy']['port']} mine {state['krb5_config']}\n"

    second = _pgguard("lab", "up", "--dir", folder, "--no-proxy")
    assert second.returncode == 1
    assert "already running" in second.stderr

    shell = _pgguard("lab", "shell", "--dir", folder, "ann", "sh", "-c", "klist; echo $PGUSER")
    assert "Default principal: ann@" in shell.stdout
    assert shell.stdout.endswith("ann\n")
    unknown = _pgguard("lab", "shell", "--dir", folder, "zed", "true")
    assert (unknown.returncode, 'no user "zed"' in unknown.stderr) == (1, True)

    assert _pgguard("lab", "directory", "--dir", folder, "remove-from-group", "ann", "staff").returncode == 0
    again = _pgguard("lab", "directory", "--dir", folder, "remove-from-group", "ann", "staff")
    assert (again.returncode, "is no member" in again.stderr) == (1, True)
    assert _pgguard("lab", "directory", "--dir", folder, "add-to-group", "ann", "staff").returncode == 0

    down = _pgguard("lab", "down", "--dir", folder)
    assert down.returncode == 0
    assert not any(_alive(pid) for pid in state["pids"].values())
    assert not Path(state["servers"]).exists()
    assert "no lab" in _pgguard("lab", "down", "--dir", folder).stderr


def test_a_failing_sql_file_leaves_nothing_running(folder: Path, tmp_path: Path):
    sql = tmp_path / "broken.sql"
    sql.write_text("create table t (a int);\ncreate tabel u (a int);\n")
    up = _pgguard("lab", "up", "--dir", folder, "--sql", sql, "--no-proxy")
    assert up.returncode == 1
    assert "broken.sql:2" in up.stderr
    assert not (folder / "lab.json").exists()
    commands = [_command_line(process) for process in Path("/proc").glob("[0-9]*")]
    assert not [command for command in commands if str(folder) in command]


def test_a_proxy_that_does_not_start_says_why(folder: Path):
    """A rule file with an error: the lab passes on what the proxy says, and ends the rest."""
    rules = folder / "rules"
    rules.mkdir()
    (rules / "bad.yaml").write_text("rules:\n  - name: typo\n    who: everyone\n    allow: selct\n    on: a.b\n")
    up = _pgguard("lab", "up", "--dir", folder / "lab", "--rules", rules)
    assert up.returncode == 1
    assert "bad.yaml:4:12" in up.stderr
    assert 'did you mean "select"' in up.stderr


def test_the_demo_shop_is_the_default(servers: Path):
    with Lab(Plan(servers / "shop", proxy=False)) as lab:
        assert lab.postgres.run("select count(*) from sales.orders", "shop") == "6\n"
        assert lab.postgres.run("select rolsuper from pg_roles where rolname = 'alice'") == "f\n"
        assert (lab.rules / "sales.yaml").exists()
