"""`pgguard check`: a rule that loads and yet matches nothing, or has ended, is a warning, and with --strict an error."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pgguard.cli.main import main

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
