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


def test_a_line_beyond_its_bound_is_one_line_and_one_error(pgguard: Pgguard):
    """It was cut in pieces, each with an answer of its own, and all later answers were for the wrong line."""
    good = json.dumps({"as": {"user": "alice"}, "sql": "select 1"})
    result = pgguard(*COMMON, "--jsonl", stdin="x" * (20 << 20) + "\n\n" + good)
    answers = [json.loads(line) for line in result.output.splitlines()]
    assert [list(answer) for answer in answers] == [["error"], ["error"], ["decision", "rules", "accesses"]]


def test_texts_that_differ_in_constants_share_an_analysis_and_nothing_else(pgguard: Pgguard):
    """A text with the marks of a skeleton is none."""
    alice = {"user": "alice", "groups": ["analysts"]}
    texts = ["select id from sales.orders where id = 1", "select id from sales.orders where id = \0i"]
    texts += ["select id from sales.orders where id = 22", "select set_config('a.b', '1', true)"]
    texts += ["select set_config('role', '1', true)", "select id from sales.orders where id = '1'::text"]
    lines = [json.dumps({"as": alice, "sql": text}) for text in texts]
    result = pgguard(*COMMON, "--jsonl", stdin="\n".join(lines))
    answers = [json.loads(line) for line in result.output.splitlines()]
    assert [a["decision"] for a in answers] == ["allow", "deny", "allow", "deny", "deny", "allow"]
    assert [a["accesses"][0]["object"] for a in answers[3:5]] == ["a.b", "role"]


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
