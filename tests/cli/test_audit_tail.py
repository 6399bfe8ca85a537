"""`pgguard audit tail` on a log that is written, rotated and damaged meanwhile."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from pgguard.audit.files import closed_name, compress
from pgguard.audit.log import AuditLog
from pgguard.audit.records import DecisionMade
from pgguard.audit.settings import AuditSettings
from pgguard.cli.main import main
from pgguard.model.context import Context
from pgguard.model.decision import Effect

NOW = "2026-03-02T10:00:00Z"


def decision(number: int, user: str = "alice", effect: Effect = Effect.ALLOW) -> DecisionMade:
    context = Context(user, f"{user}@EXAMPLE.COM", "shop", 0.0)
    return DecisionMade(NOW, f"s-{number}", "s", "query", f"select {number}", effect, context)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    opened = AuditLog(AuditSettings(path=tmp_path / "audit.jsonl"), NOW)
    yield opened
    opened.close()


@contextmanager
def _tail(log: AuditLog, *options: str) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "pgguard", "audit", "tail", str(log.path), *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _rotate(log: AuditLog, day: int) -> Path:
    closed = closed_name(log.path, datetime(2026, 3, day, tzinfo=UTC))
    log.rotate(closed, NOW)
    return closed


def test_it_goes_on_live_over_rotations_and_past_broken_lines_until_it_is_interrupted(log: AuditLog):
    for number in range(5):
        log.append(decision(number))
    with _tail(log, "-n", "2") as tail:
        assert "select 3" in tail.stdout.readline()
        assert "select 4" in tail.stdout.readline()
        log.append(decision(5))
        assert "select 5" in tail.stdout.readline()
        compress(_rotate(log, 2))
        assert "continues audit.jsonl.20260302" in tail.stdout.readline()
        with log.path.open("ab") as file:
            file.write(b"this is no record\n")
        log.append(decision(6))
        assert "select 6" in tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        assert tail.wait(10) == 0
        assert tail.stderr.read() == "no record of this version: this is no record\n"


def test_filters_hold_for_what_was_and_what_comes(log: AuditLog):
    for number in range(50):
        log.append(decision(number, user=("alice", "bob")[number % 2]))
    with _tail(log, "-n", "1", "--user", "bob", "--json") as tail:
        assert json.loads(tail.stdout.readline())["text"] == "select 49"
        log.append(decision(50, user="alice"))
        log.append(decision(51, user="bob"))
        line = tail.stdout.readline()
        assert json.loads(line)["text"] == "select 51"
        assert line in log.path.read_text()


def test_it_begins_at_the_end_and_never_opens_what_is_packed(log: AuditLog):
    for number in range(3):
        log.append(decision(number))
    packed = compress(_rotate(log, 2))
    packed.write_bytes(b"no gzip at all")
    log.append(decision(3))
    shown = CliRunner().invoke(main, ["audit", "tail", str(log.path), "-n", "100", "--no-follow"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("\n") == 2
    assert "select 3" in shown.stdout


def test_effects_have_colours_on_a_terminal(log: AuditLog):
    for number, effect in enumerate(Effect):
        log.append(decision(number, effect=effect))
    shown = CliRunner().invoke(main, ["audit", "tail", str(log.path), "--no-follow"], color=True)
    colours = {"allow": "32", "deny": "31", "hold": "33"}
    for effect, line in zip(Effect, shown.stdout.splitlines(), strict=True):
        assert f"\x1b[{colours[effect]}m{effect:5}\x1b[0m" in line
