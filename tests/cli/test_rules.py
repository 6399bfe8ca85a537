"""`pgguard rules`: the schema, the rules in words, what changes, and rules learnt from an audit."""

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Pgguard = Callable[..., Result]


def test_the_schema_is_printed_as_json(pgguard: Pgguard):
    result = pgguard("rules", "schema")
    assert result.exit_code == 0
    assert json.loads(result.output)["properties"]["rules"]["type"] == "array"


def _folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "rules.yaml").write_text(text)
    return path


def test_what_changes_is_told_in_words_and_by_the_exit_code(pgguard: Pgguard, tmp_path: Path):
    old = _folder(tmp_path / "old", "rules: [{name: a, who: {group: x}, allow: [select, insert], on: s.t}]")
    new = _folder(tmp_path / "new", "rules: [{name: a, who: {group: x}, allow: select, on: s.t, when: {days: sat}}]")
    told = pgguard("rules", "diff", old, new)
    assert (told.exit_code, told.output.splitlines()) == (
        1,
        [
            "lost:",
            "  group x: select, insert on s.t",
            f'      rule "a", {old}/rules.yaml:1:9',
            '      still: group x: select on s.t, sat UTC (rule "a")',
        ],
    )
    same = pgguard("rules", "diff", old, old)
    assert (same.exit_code, same.output) == (0, "every statement is decided as before\n")


def test_a_difference_is_told_as_json(pgguard: Pgguard, tmp_path: Path):
    old = _folder(tmp_path / "old", "rules: []")
    new = _folder(
        tmp_path / "new",
        "rules: [{name: a, who: everyone, hold: delete, on: s.t, approvers: {group: dba}, message: ask}]",
    )
    told = json.loads(pgguard("rules", "diff", "--json", old, new).output)
    assert told["differs"] is True
    assert told["changes"] == [
        {
            "change": "held",
            "rule": "a",
            "place": f"{new}/rules.yaml:1:9",
            "effect": "hold",
            "who": "everyone",
            "on": [{"kind": "table", "privileges": ["delete"], "patterns": ["s.t"]}],
            "approval": "until 1 of group dba approve it, within 15m",
            "message": "ask",
            "before": [],
        }
    ]


def test_rules_that_do_not_load_are_no_difference(pgguard: Pgguard, tmp_path: Path):
    old = _folder(tmp_path / "old", "rules: []")
    new = _folder(tmp_path / "new", "rules: [{name: a, who: everyone, allow: selct, on: s.t}]")
    told = pgguard("rules", "diff", old, new)
    assert told.exit_code == 2
    assert 'did you mean "select"?' in told.stderr
