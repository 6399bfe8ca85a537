"""Deciding an audit again: the same rules reproduce it, other rules flip what they change, and the exit code tells."""

import contextlib
import json
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pgguard.audit.files import compress
from pgguard.audit.log import AuditLog
from pgguard.audit.records import DecisionMade, SessionStarted
from pgguard.audit.redecide import Batch, Redeciding
from pgguard.audit.settings import AuditSettings
from pgguard.cli.main import main
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.facts import Facts
from pgguard.policy.decide import decide
from pgguard.policy.load import RuleFile, load
from pgguard.sql.shape import shape_of_text

NOW = "2026-03-02T10:00:00+00:00"
RULES = "rules: [{name: orders, who: {user: alice}, allow: select, on: sales.orders}]"
LOOSER = "rules: [{name: everything, who: {user: alice}, allow: select, on: sales.*}]"
STRICTER = "rules: [{name: orders, who: {user: bob}, allow: select, on: sales.orders}]"


def rule_set(text):
    return load([RuleFile("rules.yaml", text.encode())], [], shape_of_text)


@pytest.fixture
def recorded(tmp_path):
    rules = rule_set(RULES)
    log = AuditLog(AuditSettings(path=tmp_path / "audit.jsonl"), NOW)
    log.append(SessionStarted(NOW, "s", "alice", "alice@EXAMPLE.COM", "shop", "gss"))
    context = Context("alice", "alice@EXAMPLE.COM", "shop", 1772445600.0)
    for number in range(20):
        table = ("orders", "customers")[number % 2]
        access = Access(Privilege.SELECT, Kind.TABLE, ObjectName(table, "sales"), columns=("id",))
        facts = (Facts("SELECT", (access,), shape=table),)
        decision = decide(rules, facts, context)
        text = f"select id from sales.{table} where id = {number}"
        log.append(
            DecisionMade(
                NOW, f"s-{number}", "s", "query", text, decision.effect, context, facts, decision, rules.identity
            )
        )
    log.append(DecisionMade(NOW, "s-99", "s", "query", "selct", decision.effect, context, error="42601 syntax error"))
    log.close()
    (tmp_path / "baseline.yaml").write_text("rules: []")
    return tmp_path


def replay(folder, rules, *options):
    rules_folder = folder / "rules"
    rules_folder.mkdir(exist_ok=True)
    (rules_folder / "rules.yaml").write_text(rules)
    arguments = ["replay", folder / "audit.jsonl", "--rules", rules_folder, "--baseline", folder / "baseline.yaml"]
    return CliRunner().invoke(main, [str(a) for a in arguments] + ["--workers", "1", *options])


def run(*arguments):
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def test_the_same_rules_reproduce_every_decision(recorded):
    result = replay(recorded, RULES, "--strict")
    assert result.exit_code == 0, result.output
    assert "20 were made by these same rules; 0 come out otherwise" in result.output


def test_a_loosening_is_told_with_its_count_and_fails(recorded):
    result = replay(recorded, LOOSER, "--format", "json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["decided"], told["undecided"]) == (20, 1)
    (flip,) = told["flips"]
    assert (flip["before"], flip["after"], flip["count"], flip["shape"]) == ("deny", "allow", 10, "customers")


def test_a_tightening_fails_only_where_asked(recorded):
    assert replay(recorded, STRICTER).exit_code == 0
    assert replay(recorded, STRICTER, "--strict").exit_code == 1


def test_a_decision_that_was_written_otherwise_is_found(recorded):
    log = recorded / "audit.jsonl"
    log.write_text(log.read_text().replace('"effect":"deny"', '"effect":"allow"'))
    result = replay(recorded, RULES)
    assert result.exit_code == 1
    assert "not reproduced: s-1" in result.output


def test_junit(recorded):
    assert 'failures="1"' in replay(recorded, LOOSER, "--format", "junit").stdout


def test_junit_fails_what_the_command_fails_by(recorded):
    tightened = replay(recorded, STRICTER, "--format", "junit")
    assert 'tests="1" failures="0"' in tightened.stdout
    assert 'failures="1"' in replay(recorded, STRICTER, "--strict", "--format", "junit").stdout
    same = replay(recorded, RULES, "--format", "junit")
    assert '<testcase name="20 decisions stay as they are" />' in same.stdout


def test_a_terminal_shows_how_far_it_is_and_a_pipe_nothing(recorded):
    rules = recorded / "rules"
    rules.mkdir()
    (rules / "rules.yaml").write_text(RULES)
    log = recorded / "audit.jsonl"
    compress(log)
    command = [sys.executable, "-m", "pgguard", "replay", str(log) + ".gz", "--rules", str(rules)]
    ours, theirs = pty.openpty()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, check=False)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO is the end of a terminal nobody holds any more
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert b"deciding again" in shown
    assert b"100%" in shown
    assert "decisions made again" in done.stdout
    piped = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (piped.stderr, piped.stdout) == ("", done.stdout)


def test_several_processes_find_the_same(recorded):
    one, two = (replay(recorded, LOOSER, "--format", "json", "--workers", w).stdout for w in "12")
    assert one == two


def test_alike_statements_are_told_apart_by_who_asked_and_what_was_decided(recorded):
    """What is the same in many records is decided once: the same means every byte of it."""
    first, second = (recorded / "audit.jsonl").read_bytes().splitlines()[1:3]
    others = [first.replace(b"alice", b"carol"), first.replace(b'"database":"shop"', b'"database":"till"'), second]
    redeciding = Redeciding(rule_set(STRICTER.replace("bob", "carol")))
    outcomes = [redeciding.batch(Batch(line)) for line in [first, *others, first]]
    assert [[flip.after for flip in outcome.flips] for outcome in outcomes] == [["deny"], [], ["deny"], [], ["deny"]]


def test_a_record_of_another_schema_is_not_guessed_at(recorded):
    log = recorded / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"schema":1,', b'"schema":2,'))
    result = replay(recorded, RULES)
    assert result.exit_code == 1
    assert f"{log}:2: no record of this version: its schema is not 1" in result.output


def test_verify_search_stats_export(recorded):
    log = recorded / "audit.jsonl"
    assert "22 records, unbroken" in run("verify", log).output
    assert run("search", log, "--effect", "deny", "--table", "sales.customers").output.count("\n") == 10
    assert run("search", log, "--rule", "orders").output.count("\n") == 10
    assert run("search", log, "--user", "bob").output == ""
    assert "10 alice used sales.orders" in run("stats", log).output
    assert run("tail", log, "-n", 3, "--no-follow").output.count("\n") == 3
    assert run("export", log, "-o", recorded / "a.csv").exit_code == 0
    assert (recorded / "a.csv").read_text().count("\n") == 22
    log.write_text(log.read_text().replace("where id = 7", "where id = 8"))
    found = run("verify", log)
    assert found.exit_code == 1
    assert "audit.jsonl:9: its content was altered" in found.output
