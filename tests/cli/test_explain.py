"""`pgguard explain`: for a person, for a script, and thousands of lines of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Pgguard = Callable[..., Result]
RULES = Path(__file__).parents[2] / "rules"
COMMON = ("explain", "--rules", RULES, "--catalog", RULES / "shop.catalog.json")
ALICE = ("--as", "alice", "--group", "analysts")


def test_an_allowed_statement_names_the_rule(pgguard: Pgguard):
    result = pgguard(*COMMON, *ALICE, "select name from sales.customers")
    assert result.exit_code == 0
    assert result.output.startswith("ALLOW\n")
    assert "by analysts-read-customers" in result.output


def test_the_offending_part_is_underlined_and_the_nearest_rule_told(pgguard: Pgguard):
    result = pgguard(*COMMON, *ALICE, "select name, email from sales.customers")
    lines = result.output.splitlines()
    assert lines[0] == "DENY"
    at = lines[1].index("email")
    assert lines[2] == " " * at + "^^^^^"
    assert "near: analysts-read-customers: column email not among its columns" in result.output


def test_what_postgresql_itself_would_refuse_is_told_with_its_place(pgguard: Pgguard):
    result = pgguard(*COMMON, *ALICE, "select nme from sales.customers")
    assert 'PostgreSQL would refuse it: 42703 column "nme" does not exist' in result.output


def test_json_holds_the_refusal_that_psql_would_show(pgguard: Pgguard):
    result = pgguard(*COMMON, *ALICE, "--json", "select card_number from sales.customers")
    answer = json.loads(result.output)
    assert (answer["decision"], answer["rules"]) == ("deny", ["card-numbers-stay-here"])
    assert answer["refusal"]["sqlstate"] == "42501"
    (access,) = answer["accesses"]
    assert access["privilege"] == "select"
    assert access["columns"] == ["card_number"]


def test_a_reason_and_a_group_make_the_difference(pgguard: Pgguard):
    sql = "select amount from hr.salaries"
    dora = ("--as", "dora", "--group", "operators", "--json")
    assert json.loads(pgguard(*COMMON, *dora, sql).output)["decision"] == "deny"
    assert json.loads(pgguard(*COMMON, *dora, "--reason", "INC-7", sql).output)["decision"] == "allow"


def test_each_line_is_answered_by_one_line_whatever_it_holds(pgguard: Pgguard):
    alice = {"user": "alice", "groups": ["analysts"]}
    lines = [
        json.dumps({"as": alice, "sql": "select id from sales.orders"}),
        json.dumps({"as": alice, "sql": "select email from sales.customers"}),
        json.dumps({"as": alice, "sql": "selec"}),
        "no json",
        json.dumps({"as": {"usr": "alice"}, "sql": "select 1"}),
        json.dumps({"as": {**alice, "at": "yesterday"}, "sql": "select 1"}),
        json.dumps({"as": alice, "sql": "select 1"}),
    ]
    result = pgguard(*COMMON, "--jsonl", stdin="\n".join(lines) + "\n")
    answers = [json.loads(line) for line in result.output.splitlines()]
    assert len(answers) == len(lines)
    assert answers[0]["decision"] == "allow"
    assert answers[0]["rules"] == ["analysts-read-orders"]
    assert answers[1]["decision"] == "deny"
    assert answers[2] == {"decision": "deny", "rules": [], "accesses": []}
    assert "error" in answers[3]
    assert "usr" in answers[4]["error"]
    assert "yesterday" in answers[5]["error"]
    assert answers[6] == {"decision": "allow", "rules": [], "accesses": []}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("select 1",), "say who asks, and what"),
        (ALICE, "say who asks, and what"),
        ((*ALICE, "--from", "nowhere", "select 1"), 'from: "nowhere" is no address'),
        ((*ALICE, "--at", "noon", "select 1"), 'at: "noon" is no time'),
    ],
)
def test_what_is_missing_or_does_not_fit_is_told(pgguard: Pgguard, words: tuple[str, ...], complaint: str):
    result = pgguard(*COMMON, *words)
    assert result.exit_code == 2
    assert complaint in result.output


def test_a_file_that_is_no_catalog_is_told(pgguard: Pgguard, tmp_path: Path):
    (tmp_path / "broken.json").write_text('{"database": 7}')
    result = pgguard("explain", "--rules", RULES, "--catalog", tmp_path / "broken.json", *ALICE, "select 1")
    assert result.exit_code == 1
    assert "is no saved catalog" in result.output
