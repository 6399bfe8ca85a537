"""`pgguard check`: a rule that loads and yet matches nothing, or has ended, is a warning, and with --strict an error."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pgguard.cli.main import main
from pgguard.lab.proxy import to_toml
from pgguard.lab.slapd import Slapd

_RULES = Path(__file__).parents[2] / "rules"
_CATALOG = str(_RULES / "shop.catalog.json")


def _check(folder: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["check", str(folder), *more])


def test_the_rules_of_the_demo_give_no_warning() -> None:
    ran = _check(_RULES, "--catalog", _CATALOG, "--strict")
    assert (ran.exit_code, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("rules", "warning"),
    [
        (
            "rules: [{name: a, who: everyone, allow: select, on: sales.odrers}]",
            ':1:9: warning: rule "a": pattern "sales.odrers" matches no table of the catalog; did you mean "sales.orders"?',
        ),
        (
            "rules: [{name: a, who: everyone, allow: select, on: sales.*, columns: [id, emial]}]",
            'column "emial" is in none of its tables; did you mean "email"?',
        ),
        (
            "labels: {pii: sales.orders.iban}\nrules: [{name: a, who: everyone, allow: select, on: sales.*, columns: {label: pii}}]",
            'label "pii" matches no column of the catalog',
        ),
        (
            'rules: [{name: a, who: everyone, allow: select, on: sales.*, until: "2020-01-31"}]',
            'rule "a" ended on 2020-01-31',
        ),
    ],
)
def test_what_is_hardly_meant_is_a_warning(tmp_path: Path, rules: str, warning: str) -> None:
    (tmp_path / "a.yaml").write_text(rules)
    ran = _check(tmp_path, "--catalog", _CATALOG)
    assert ran.exit_code == 0
    assert warning in ran.stderr
    assert _check(tmp_path, "--catalog", _CATALOG, "--strict").exit_code == 1


def test_a_rule_for_another_database_is_not_measured_by_this_catalog(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rules: [{name: a, who: everyone, allow: select, on: crm.leads, database: other}]")
    assert _check(tmp_path, "--catalog", _CATALOG, "--strict").exit_code == 0


def test_labels_without_any_rule_are_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("labels: {pii: sales.orders.iban}\nrules: []\n")
    assert _check(tmp_path, "--catalog", _CATALOG, "--strict").exit_code == 0


def test_an_error_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rules: [{name: a, who: everyone, allow: selct, on: sales.orders}]")
    ran = _check(tmp_path)
    assert ran.exit_code == 1
    assert 'a.yaml:1:41: unknown privilege "selct"; did you mean "select"?' in ran.stderr


_TAKEN_BACK = """
rules:
  - {name: read, who: {group: [a, b]}, allow: select, on: s.t, columns: [id, total]}
  - {name: no-a, who: {group: a}, deny: select, on: s.*, columns: {except: [note]}}
  - {name: no-b, who: {group: b}, deny: read, on: s.t}
"""
_ALREADY = """
rules:
  - {name: wide, who: {group: a}, allow: [select, insert], on: s.*, columns: {except: [ssn]}}
  - {name: narrow, who: {group: a, user: bob}, allow: insert, on: [s.t, s.u], columns: [id], max_rows: 9}
  - {name: other, who: {group: b}, allow: insert, on: s.t, columns: [id]}
"""


@pytest.mark.parametrize(
    ("rules", "warnings"),
    [
        (_TAKEN_BACK, [':3:5: warning: rule "read" allows nothing: "no-a" with "no-b" takes it back']),
        (_TAKEN_BACK.replace("{except: [note]}", "{except: [id]}"), []),
        (_TAKEN_BACK.replace("deny: read, on: s.t", "deny: read, on: s.t, mode: observe"), []),
        (_TAKEN_BACK.replace("deny: read, on: s.t", "deny: read, on: s.t, when: {days: sat}"), []),
        (_ALREADY, [':4:5: warning: rule "narrow" adds nothing: "wide" allows it already']),
        (_ALREADY.replace("[ssn]}", "[ssn, id]}"), []),
        (_ALREADY.replace("[ssn]}", "[ssn]}, max_rows: 5"), []),
        (_ALREADY.replace("max_rows: 9", "redact: drop"), []),
        (
            "rules: [{name: a, who: everyone, allow: select, on: s.t}, {name: b, who: everyone, allow: select, on: s.t}]",
            [':1:59: warning: rule "b" adds nothing: "a" allows it already'],
        ),
        (
            "rules: [{name: a, who: {user: x}, allow: select, on: pg_catalog.pg_class}]",
            [':1:9: warning: rule "a" adds nothing: "baseline/catalogs" allows it already'],
        ),
    ],
)
def test_a_rule_that_allows_nothing_more_is_a_warning(tmp_path: Path, rules: str, warnings: list[str]) -> None:
    (tmp_path / "a.yaml").write_text(rules)
    assert [line.partition("a.yaml")[2] for line in _check(tmp_path).stderr.splitlines()] == warnings


_PEOPLE = "users: {alice: {groups: [analysts]}}\ngroups: {analysts: {groups: [staff]}}\n"
_STRANGERS = """
rules:
  - {name: known, who: {group: [Analysts, st*], user: [alice, "x*"]}, allow: select, on: s.t}
  - {name: group, who: {group: anlysts}, allow: select, on: s.t}
  - {name: user, who: {user: [alice, bob], not: {group: "z*"}}, allow: select, on: s.u}
  - {name: ask, who: everyone, hold: select, on: s.t, approvers: {group: dba, alone: {user: carol}}}
"""
_TOLD = [
    ':4:5: warning: rule "group": the directory knows no group "anlysts"; did you mean "analysts"?',
    ':5:5: warning: rule "user": the directory knows no group "z*"',
    ':5:5: warning: rule "user": the directory knows no user "bob"',
    ':6:5: warning: rule "ask": the directory knows no group "dba"',
    ':6:5: warning: rule "ask": the directory knows no user "carol"',
]


def _config(folder: Path, **directory: object) -> str:
    path = folder / "pgguard.toml"
    sections = {
        "kerberos": {"keytab": "keytab"}, "database": {"host": "localhost"}, "rules": {"path": "rules"},
        "audit": {"path": "audit.jsonl"}, "directory": directory,
    }  # fmt: skip
    path.write_text(to_toml(sections))
    return str(path)


def test_people_whom_the_directory_does_not_know_are_warnings(tmp_path: Path) -> None:
    (tmp_path / "people").write_text(_PEOPLE)
    (tmp_path / "a.yaml").write_text(_STRANGERS)
    config = _config(tmp_path, kind="static", path=str(tmp_path / "people"))
    ran = _check(tmp_path, "--directory", config)
    assert ran.exit_code == 0
    assert [line.partition("a.yaml")[2] for line in ran.stderr.splitlines()] == _TOLD
    assert _check(tmp_path, "--directory", config, "--strict").exit_code == 1


def test_people_whom_ldap_does_not_know_are_warnings(tmp_path: Path, slapd: Slapd) -> None:
    slapd.add_user("checked")
    slapd.add_group("checked-analysts", users=["checked"])
    text = _STRANGERS.replace("alice", "checked").replace("Analysts, st*", "Checked-Analysts, checked*")
    (tmp_path / "a.yaml").write_text(text.replace("anlysts", "checked-anlysts"))
    ldap = {"uri": slapd.uri, "base": slapd.base, "bind_dn": slapd.admin_dn, "bind_password": slapd.admin_password}
    ran = _check(tmp_path, "--directory", _config(tmp_path, kind="ldap", **ldap))
    assert 'the directory knows no group "checked-anlysts"; did you mean "checked-analysts"?' in ran.stderr
    assert 'the directory knows no user "bob"' in ran.stderr
    assert '"checked"' not in ran.stderr
    refused = _check(tmp_path, "--directory", _config(tmp_path, kind="ldap", **{**ldap, "bind_password": "wrong-one"}))
    assert refused.exit_code == 1
    assert "the directory cannot be asked" in refused.stderr
    assert "wrong-one" not in refused.stderr
