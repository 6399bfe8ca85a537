"""`pgguard audit search`, `stats`, `verify` and `export` on a log of two people, three tables and a rotation."""

import csv
import gzip
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from pgguard.audit.files import closed_name, compress
from pgguard.audit.log import AuditLog
from pgguard.audit.records import DecisionMade, SessionStarted
from pgguard.audit.settings import AuditSettings
from pgguard.cli.main import main
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.decision import Effect
from pgguard.model.facts import Facts
from pgguard.policy.decide import decide
from tests.policy.asking import rules_of

RULES = """
rules:
  - {name: orders, who: everyone, allow: select, on: sales.orders}
  - {name: pay, who: everyone, deny: select, on: hr.pay}
  - {name: nobody-uses-this, who: everyone, allow: select, on: hr.staff}
"""
KEY = b"a key"


def _decision(number: int, user: str, table: str) -> DecisionMade:
    schema, name = table.split(".")
    rules = rules_of(RULES)
    facts = (Facts("SELECT", (Access(Privilege.SELECT, Kind.TABLE, ObjectName(name, schema), ("id",)),)),)
    context = Context(user, f"{user}@EXAMPLE.COM", "shop", 1.0, address="10.0.0.1")
    decision = decide(rules, facts, context)
    at = f"2026-03-02T10:{number:02}:00.000000Z"
    text = f"select \"{number}\", 'a,b' from {table}"
    return DecisionMade(
        at, f"{user}-{number}", user, "query", text, decision.effect, context, facts, decision, rules.identity
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Twelve decisions in two files, the closed one compressed, chained by a key."""
    path, key = tmp_path / "audit.jsonl", tmp_path / "key"
    key.write_bytes(KEY)
    opened = AuditLog(AuditSettings(path=path, key_file=key), "then")
    opened.append(SessionStarted("2026-03-02T09:59:00.000000Z", "alice", "alice", "alice@EXAMPLE.COM", "shop", "gss"))
    for number in range(12):
        table = ("sales.orders", "hr.pay", "elsewhere.t")[number % 3]
        opened.append(_decision(number, ("alice", "bob")[number % 2], table))
        if number == 5:
            closed = closed_name(path, datetime(2026, 3, 2, 10, 5, tzinfo=UTC))
            opened.rotate(closed, "2026-03-02T10:05:30.000000Z")
            compress(closed)
    opened.close()
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, words)])


def _rows(output: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(output.read_text(encoding="utf-8").splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (("--user", "alice", "--table", "sales.orders"), ["alice-0", "alice-6"]),
        (("--user", "bob@EXAMPLE.COM", "--effect", "allow"), ["bob-3", "bob-9"]),
        (("--effect", "deny", "--table", "hr.pay"), ["bob-1", "alice-4", "bob-7", "alice-10"]),
        (("--rule", "pay", "--since", "2026-03-02T10:05"), ["bob-7", "alice-10"]),
        (("--rule", "orders", "--until", "2026-03-02T10:03"), ["alice-0"]),
        (("--text", 'SELECT "5"'), ["bob-5"]),
        (("--session", "bob", "--rule", "orders"), ["bob-3", "bob-9"]),
        (("--rule", "nobody-uses-this"), []),
    ],
)
def test_search_finds_by_user_table_decision_rule_and_time_over_all_files(log: Path, wanted: tuple[str, ...], found):
    told = run("search", log, "--json", *wanted)
    assert [json.loads(line)["id"] for line in told.stdout.splitlines()] == found


def test_stats_tell_who_used_what_and_which_rules_nobody_needs(log: Path, tmp_path: Path):
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "rules.yaml").write_text(RULES)
    told = [line.strip() for line in run("stats", log, "--rules", rules).stdout.splitlines()]
    for line in (
        "4 allow",
        "8 deny",
        "2 alice used sales.orders",
        "2 bob used hr.pay",
        "4 by rule orders",
        "4 by rule pay",
    ):
        assert line in told
    assert [line for line in told if line.startswith("never")] == ["never by rule nobody-uses-this"]
    assert "1 alice used sales.orders" in run("stats", log, "--until", "2026-03-02T10:06").stdout


def test_verify_needs_the_key_and_finds_heads_that_were_noted_elsewhere(log: Path, tmp_path: Path):
    key = ("--key-file", tmp_path / "key")
    (noted,) = (note.read_text().strip() for note in tmp_path.glob("*.head"))
    whole = run("verify", log, *key, "--head", noted)
    assert whole.exit_code == 0, whole.output
    assert "14 records, unbroken" in whole.output
    assert run("verify", log).exit_code == 1
    stranger = run("verify", log, *key, "--head", "f" * 64)
    assert stranger.exit_code == 1
    assert "is in no record" in stranger.output


def test_a_file_that_was_removed_from_the_middle_is_missed(log: Path, tmp_path: Path):
    (packed,) = tmp_path.glob("*.gz")
    packed.rename(tmp_path / "hidden")
    (note,) = tmp_path.glob("*.head")
    note.unlink()
    told = run("verify", log, "--key-file", tmp_path / "key")
    assert told.exit_code == 1
    assert "it goes on from records that are not here" in told.output


def test_csv_has_every_decision_with_its_quotes_and_commas(log: Path, tmp_path: Path):
    output = tmp_path / "audit.csv"
    assert run("export", log, "-o", output, "--user", "alice").exit_code == 0
    rows = _rows(output)
    assert len(rows) == 6
    assert rows[0]["text"] == "select \"0\", 'a,b' from sales.orders"
    assert (rows[0]["effect"], rows[0]["rules"], rows[0]["tables"]) == ("allow", "orders", "sales.orders")
    assert (rows[0]["principal"], rows[0]["address"]) == ("alice@EXAMPLE.COM", "10.0.0.1")


def test_parquet_has_the_same(log: Path, tmp_path: Path):
    assert run("export", log, "-o", tmp_path / "a.parquet").exit_code == 0
    assert run("export", log, "-o", tmp_path / "a.csv").exit_code == 0
    rows = _rows(tmp_path / "a.csv")
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == rows


def test_without_pyarrow_it_is_said_what_to_do(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = run("export", log, "-o", tmp_path / "a.parquet")
    assert told.exit_code == 1
    assert "Parquet needs pyarrow: pip install 'pgguard[parquet]'; .csv does not" in told.output


@pytest.mark.parametrize(("name", "complaint"), [("a.xlsx", "let it end in .csv"), ("no/where.csv", "No such file")])
def test_what_cannot_be_exported_is_said(log: Path, tmp_path: Path, name: str, complaint: str):
    told = run("export", log, "-o", tmp_path / name)
    assert told.exit_code == 1
    assert complaint in told.output


@pytest.mark.parametrize("command", ["search", "stats", "export", "replay --rules", "replay --record", "rules learn"])
@pytest.mark.parametrize("damage", ["altered", "cut", "no record", "another version"])
def test_what_cannot_be_read_is_told_with_its_place(tmp_path: Path, command: str, damage: str):
    """And not by a traceback, nor by leaving it out."""
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(AuditSettings(path=path), "2026-03-02T10:00:00Z")
    for number in range(200):
        context = Context("alice", "alice@EXAMPLE.COM", "shop", float(number))
        audit.append(
            DecisionMade("2026-03-02T10:00:00Z", f"s-{number}", "s", "query", "select 1", Effect.ALLOW, context)
        )
    audit.close()
    content = path.read_bytes()
    if damage in {"altered", "cut"}:
        packed = bytearray(gzip.compress(content))
        if damage == "altered":
            packed[-4] ^= 1  # the length at its end
        path = tmp_path / "audit.jsonl.gz"
        path.write_bytes(packed if damage == "altered" else packed[:-20])
        complaint = f"{path}: cannot be decompressed"
    else:
        was, now = (b'"schema":1', b'"schema":9') if damage == "another version" else (b'"moment":', b'"moment"}')
        path.write_bytes(content.replace(was, now, 1))
        complaint = f"{path}:1: no record of this version"
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "rules.yaml").write_text("rules: []")
    more = {"export": ["-o", tmp_path / "out.csv"], "replay --rules": [tmp_path / "rules"]}.get(command, [])
    words = ["audit", command] if " " not in command else command.split()
    result = CliRunner().invoke(main, [*words, *map(str, more), str(path)])
    assert result.exit_code == 1, result.output
    assert f"Error: {complaint}" in result.output
