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


SHOWN = """
rules:
  - {name: all-read, who: everyone, allow: select, on: s.*}
  - {name: not-dba, who: {group: analysts, not: {group: dba}}, deny: [update, delete], on: [s.t, h.u], message: no}
  - {name: ask, who: {user: bob}, hold: delete, on: s.t, when: {days: sat}, approvers: {group: dba}}
  - {name: roles, who: {group: dba}, allow: become, on: {role: "*"}}
"""


def _shown(pgguard: Pgguard, tmp_path: Path, *options: str) -> list[str]:
    folder = tmp_path / "rules"
    if not folder.exists():
        _folder(folder, SHOWN)
    listed = pgguard("rules", "show", folder, *options)
    assert listed.exit_code == 0, listed.output
    return listed.output.splitlines()


def test_rules_are_listed_a_line_each(pgguard: Pgguard, tmp_path: Path):
    heading, *lines = _shown(pgguard, tmp_path)
    assert heading.split() == ["who", "effect", "what", "when", "and", "how", "rule"]
    assert [" ".join(line.split()) for line in lines] == [
        "everyone allow select on s.* all-read",
        "group analysts and not group dba deny update, delete on s.t, h.u not-dba",
        "group dba allow become on role * roles",
        "user bob hold delete on s.t sat UTC, until 1 of group dba approve it, within 15m ask",
    ]


def test_rules_are_listed_by_table_and_by_whom_they_are_about(pgguard: Pgguard, tmp_path: Path):
    def names(*options: str) -> list[str]:
        return [line.split()[-1] for line in _shown(pgguard, tmp_path, *options)[1:]]

    assert names("--table", "s.t") == ["all-read", "not-dba", "ask"]
    assert names("--table", "h.u") == ["not-dba"]
    assert names("--user", "bob") == ["all-read", "ask"]
    assert names("--group", "Analysts") == ["all-read", "not-dba"]
    assert names("--group", "analysts", "--group", "dba") == ["all-read", "roles"]
    assert names("--table", "h.u", "--user", "bob") == []


def test_of_a_table_only_what_is_about_it_is_listed_and_the_baseline_too(pgguard: Pgguard, tmp_path: Path):
    assert "update, delete on h.u  " in _shown(pgguard, tmp_path, "--table", "h.u")[1]
    listed = json.loads("\n".join(_shown(pgguard, tmp_path, "--table", "pg_catalog.pg_class", "--json")))
    assert [(rule["rule"], rule["on"][0]["patterns"]) for rule in listed] == [
        ("baseline/catalogs", ["pg_catalog.pg_class"])
    ]


def test_a_table_without_its_schema_is_an_error(pgguard: Pgguard, tmp_path: Path):
    listed = pgguard("rules", "show", _folder(tmp_path / "rules", SHOWN), "--table", "t")
    assert listed.exit_code == 2
    assert '"t" is no table; write it as schema.table' in listed.stderr


def test_the_baseline_is_printed_as_it_can_be_used_again(pgguard: Pgguard, tmp_path: Path):
    printed = pgguard("rules", "baseline").output
    assert "Functions left out" in printed
    (tmp_path / "baseline.yaml").write_text(printed)
    folder = _folder(tmp_path / "rules", SHOWN)
    plain, own = pgguard("check", folder), pgguard("check", folder, "--baseline", tmp_path / "baseline.yaml")
    assert own.exit_code == 0
    assert own.output == plain.output
