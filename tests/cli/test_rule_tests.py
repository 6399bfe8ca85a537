"""`pgguard test`: the tests of rules, passing, failing, and written wrongly."""

import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import Result

Pgguard = Callable[..., Result]
RULES = Path(__file__).parents[2] / "rules"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shop's rules, with tests to be written."""
    copy = tmp_path / "rules"
    shutil.copytree(RULES, copy, ignore=shutil.ignore_patterns("*.test.yaml"))
    return copy


def _write(folder: Path, *tests: str, catalog: str = "catalog: shop.catalog.json\n") -> None:
    (folder / "own.test.yaml").write_text(f"{catalog}tests:\n" + "".join(f"  - {test}\n" for test in tests))


def test_the_rules_of_the_shop_do_what_their_tests_say_and_each_decides_in_one(pgguard: Pgguard):
    result = pgguard("test", RULES)
    assert result.exit_code == 0, result.output
    assert "13 of 13 rules decide in a test" in result.output
    assert ", 0 failed" in result.output


def test_another_decision_fails_with_what_nearly_allowed_it(pgguard: Pgguard, folder: Path):
    _write(
        folder, "{name: too much, as: {user: alice, groups: [analysts]}, sql: select email from sales.customers, expect: allow}"
    )  # fmt: skip
    result = pgguard("test", folder)
    assert result.exit_code == 1
    assert f"FAILED {folder}/own.test.yaml:3:5: too much" in result.output
    assert "select email from sales.customers: deny by no rule, expected allow" in result.output
    assert "near: analysts-read-customers" in result.output
    assert "0 passed, 1 failed" in result.output


def test_other_rules_than_expected_fail(pgguard: Pgguard, folder: Path):
    _write(folder, "{name: which, as: {user: eve}, sql: select name from hr.employees, expect: allow, rules: [other]}")
    result = pgguard("test", folder)
    assert result.exit_code == 1
    assert "decided by everyone-sees-colleagues, expected by other" in result.output


def test_each_of_several_statements_must_give_the_decision(pgguard: Pgguard, folder: Path):
    _write(
        folder,
        "{name: both, as: {user: eve}, sql: [select 1, select name from hr.employees, drop table hr.employees], expect: allow}",
    )
    result = pgguard("test", folder)
    assert result.exit_code == 1
    assert "drop table hr.employees: deny" in result.output
    assert "select 1:" not in result.output


def test_a_statement_that_postgresql_would_refuse_fails_whatever_is_expected(pgguard: Pgguard, folder: Path):
    """A deny that comes from a misspelt column would prove nothing about the rules."""
    _write(folder, "{name: typo, as: {user: eve}, sql: select nme from hr.employees, expect: deny}")
    result = pgguard("test", folder)
    assert result.exit_code == 1
    assert 'PostgreSQL would refuse it: column "nme" does not exist' in result.output


def test_junit_for_ci(pgguard: Pgguard, folder: Path, tmp_path: Path):
    _write(
        folder,
        "{name: good, as: {user: eve}, sql: select name from hr.employees, expect: allow}",
        "{name: bad, as: {user: eve}, sql: select name from hr.employees, expect: deny}",
    )
    assert pgguard("test", folder, "--junit", tmp_path / "out.xml").exit_code == 1
    suite = ET.parse(tmp_path / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["bad"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "{nme: x, as: {user: a}, sql: select 1, expect: allow}",
            ':3:6: unknown key "nme" in a test; did you mean "name"?',
        ),
        ("{name: x, as: {user: a}, sql: select 1}", ':3:5: a test has no "expect"'),
        ("{name: x, as: {user: a}, sql: select 1, expect: alow}", 'unknown decision "alow"'),
        ("{name: x, as: {usr: a}, sql: select 1, expect: allow}", '"as": Object'),
        (
            "{name: x, as: {user: a, ticket: {age: long}}, sql: select 1, expect: allow}",
            'ticket.age: "long" is no duration',
        ),
        ("{name: x, as: {user: a}, sql: 1, expect: allow}", 'sql "1" is read as a number; quote it'),
        ("{name: x, as: {user: a}, sql: [], expect: allow}", "sql is empty"),
    ],
)
def test_a_test_that_is_written_wrongly_is_told_with_its_place(
    pgguard: Pgguard, folder: Path, text: str, complaint: str
):
    _write(folder, text)
    result = pgguard("test", folder)
    assert result.exit_code == 1
    assert complaint in result.output


def test_without_tests_or_catalog_it_says_what_to_do(pgguard: Pgguard, folder: Path):
    assert "write one that ends in .test.yaml" in pgguard("test", folder).output
    _write(folder, "{name: x, as: {user: a}, sql: select 1, expect: allow}", catalog="")
    assert "names no catalog" in pgguard("test", folder).output
    assert pgguard("test", folder, "--catalog", folder / "shop.catalog.json").exit_code == 0
    _write(folder, "{name: x, as: {user: a}, sql: select 1, expect: allow}", catalog="catalog: gone.json\n")
    assert "there is no catalog" in pgguard("test", folder).output
