"""`pgguard directory show`, against a real slapd and a file."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pgguard.cli.directory import directory
from pgguard.lab.proxy import to_toml
from pgguard.lab.slapd import Slapd


@pytest.fixture
def show(slapd: Slapd, tmp_path: Path):
    def call(user: str, *words: str, **changes: object) -> Result:
        section = {"kind": "ldap", "uri": slapd.uri, "base": slapd.base, "timeout": 2.0}
        section |= {"bind_dn": slapd.admin_dn, "bind_password": slapd.admin_password, **changes}
        config = tmp_path / "pgguard.toml"
        sections = {
            "kerberos": {"keytab": "keytab"}, "database": {"host": "localhost"}, "rules": {"path": "rules"},
            "audit": {"path": "audit.jsonl"}, "directory": section,
        }  # fmt: skip
        config.write_text(to_toml(sections))
        return CliRunner().invoke(directory, ["show", user, "--config", str(config), *words])

    return call


@pytest.fixture(scope="module", autouse=True)
def shown(slapd: Slapd) -> None:
    slapd.add_user("shown", employeeType=["locked"])
    slapd.add_group("shown-analysts", users=["shown"])
    slapd.add_group("shown-staff", groups=["shown-analysts"])
    slapd.add_group("shown-everybody", groups=["shown-staff"])
    slapd.nest("shown-everybody", "shown-analysts")  # a cycle


def test_it_tells_from_where_how_fresh_and_by_which_nesting(slapd: Slapd, show):
    told = show("shown")
    assert told.exit_code == 0, told.output
    lines = told.output.splitlines()
    assert lines[0] == "user    shown: in 3 groups"
    assert lines[1] == f"entry   {slapd.user_dn('shown')}"
    assert lines[2].startswith(f"from    {slapd.uri}, asked just now, answered in ")
    assert lines[3] == "fresh   open sessions follow it every 2 s, and at once where it offers syncrepl"
    assert lines[5:] == [
        "group   shown-analysts: a direct member",
        "group   shown-everybody: by shown-analysts > shown-staff > shown-everybody",
        "group   shown-staff: by shown-analysts > shown-staff",
    ]


def test_the_same_for_programs(slapd: Slapd, show):
    told = json.loads(show("shown", "--json").output)
    assert told["groups"]["shown-staff"] == ["shown-analysts", "shown-staff"]
    assert (told["found"], told["disabled"], told["from"]) == (True, False, slapd.uri)
    assert (told["refresh_seconds"], told["syncrepl"], told["max_stale_seconds"]) == (2.0, True, 300.0)


def test_a_disabled_account_is_told(show):
    told = show("shown", disabled_filter="(employeeType=locked)")
    assert "shown: disabled, so in no group and without sessions" in told.output
    assert "group  " not in told.output


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_who_is_not_known_is_told_and_a_failure(show, words: tuple[str, ...]):
    told = show("not-there", *words)
    assert told.exit_code == 1
    assert "not known, so in no group" in told.output or json.loads(told.output)["found"] is False


def test_a_directory_that_cannot_be_asked_is_told_without_its_password(show):
    told = show("shown", bind_password="wrong-one")
    assert told.exit_code == 1
    assert "Invalid credentials" in told.output
    assert "wrong-one" not in told.output


def test_a_file_is_shown_as_well(show, tmp_path: Path):
    people = tmp_path / "people.yaml"
    people.write_text("users: {ann: {groups: [a]}}\ngroups: {a: {groups: [b]}}\n")
    told = show("ann", kind="static", path=str(people))
    assert told.exit_code == 0, told.output
    assert f"from    {people}" in told.output
    assert "syncrepl" not in told.output
    assert "group   b: by a > b" in told.output
