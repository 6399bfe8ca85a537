"""`pgguard holds`: list, show, approve, refuse and watch, each with the user's own ticket."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from pgguard.lab.lab import Lab, Plan
from tests.e2e.psql import run_psql

_RULES = """
rules:
  - {name: a-dba, who: {group: writers}, hold: delete, on: sales.orders, approvers: {group: dba}}
"""
_DELETE = "delete from sales.orders where id = -1"


@pytest.fixture(scope="module")
def lab(servers: Path) -> Iterator[Lab]:
    rules = servers / "holds-rules"
    shutil.copytree("rules", rules)
    (rules / "holds.yaml").write_text(_RULES)
    with Lab(Plan(servers / "holds", rules=rules)) as running:
        yield running


@pytest.fixture
def ask(lab: Lab) -> Iterator[Callable[[], "Future[subprocess.CompletedProcess[str]]"]]:
    with ThreadPoolExecutor() as pool:
        yield lambda: pool.submit(run_psql, lab, "bob", _DELETE)


def _holds(lab: Lab, user: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **lab.environment(user), "COLUMNS": "200"}
    command = [sys.executable, "-m", "pgguard", "holds", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def _number(lab: Lab) -> str:
    """The number of the one hold that waits."""
    for _ in range(60):
        rows = json.loads(_holds(lab, "dora", "list", "--json").stdout)
        if rows:
            return str(rows[0]["hold"])
    raise AssertionError("nothing is held")


def test_what_waits_is_listed_shown_and_approved(
    lab: Lab, ask: Callable[[], "Future[subprocess.CompletedProcess[str]]"]
):
    asking = ask()
    number = _number(lab)
    assert re.search(rf"{number} +\d+ +bob +a-dba +1 of group dba +delete from", _holds(lab, "dora", "list").stdout)
    assert "1 of group dba" in _holds(lab, "dora", "show", number).stdout
    assert ["does", "delete on table sales.orders"] in json.loads(_holds(lab, "dora", "show", number, "--json").stdout)
    assert "of their own" in _holds(lab, "bob", "approve", number).stderr
    approved = _holds(lab, "dora", "approve", number, "it's fine")
    assert approved.stdout == f"hold #{number} is approved, and goes on\n"
    assert asking.result().stdout == "DELETE 0\n"
    gone = _holds(lab, "dora", "refuse", number, "too late")
    assert (gone.returncode, gone.stderr) == (1, f"Error: no hold #{number} waits for you\n")


def test_whoever_cannot_get_in_is_told_why(lab: Lab):
    nobody = {**os.environ, **lab.environment("dora"), "KRB5CCNAME": "FILE:/nonexistent"}
    command = [sys.executable, "-m", "pgguard", "holds", "list"]
    done = subprocess.run(command, env=nobody, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: no Kerberos ticket can be used: ")
    assert "get one with kinit" in done.stderr
    assert "see --host and --port" in _holds(lab, "dora", "list", "--port", "1").stderr
    assert "needs a terminal; use --json" in _holds(lab, "dora", "watch").stderr


def test_the_page_follows_what_waits_and_takes_keys(
    lab: Lab, ask: Callable[[], "Future[subprocess.CompletedProcess[str]]"]
):
    screen, far = pty.openpty()
    environment = {**os.environ, **lab.environment("dora"), "TERM": "xterm", "COLUMNS": "150", "LINES": "40"}
    command = [sys.executable, "-m", "pgguard", "holds", "watch"]
    page = subprocess.Popen(command, stdin=far, stdout=far, stderr=far, env=environment, start_new_session=True)
    os.close(far)
    try:
        _until(screen, "nothing waits for you")
        asking = ask()
        _until(screen, "delete from sales.orders")
        os.write(screen, b"\r")
        _until(screen, "sales.orders where id = -1", "rows estimated")
        os.write(screen, b"rnot tody\x7f\x7fday\r")
        _until(screen, "is refused")
        assert re.search(r"dora refused hold #\d+: not today", asking.result().stderr)
        os.write(screen, b"q")
        _until(screen, "\x1b[?1049l")
        assert page.wait(20) == 0
    finally:
        page.kill()
        page.wait()
        os.close(screen)


def _until(screen: int, *wanted: str) -> None:
    """Read the terminal until all of it has appeared."""
    shown, deadline = "", time.monotonic() + 30
    while not all(text in shown for text in wanted):
        assert select.select([screen], [], [], max(0.0, deadline - time.monotonic()))[0], shown
        shown += os.read(screen, 65536).decode(errors="replace")
