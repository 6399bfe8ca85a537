"""The guide to rules: each of its examples loads, and does what its heading says."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Pgguard = Callable[..., Result]
GUIDE = Path(__file__).parents[2] / "docs" / "rules.md"
CATALOG = Path(__file__).parents[2] / "rules" / "shop.catalog.json"

SECTION = GUIDE.read_text().partition("## Five examples")[2].partition("\n## ")[0]
EXAMPLES = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)

WEEKDAY = "2026-03-02T10:00:00+01:00"
SUNDAY = "2026-03-01T10:00:00+01:00"

CASES = [
    (0, "allow", "{user: a, groups: [analysts]}", "select name from sales.customers"),
    (0, "deny", "{user: a, groups: [analysts]}", "select card_number from sales.customers"),
    (0, "deny", "{user: a, groups: [others]}", "select name from sales.customers"),
    (1, "allow", "{user: intake}", "update sales.orders set status = 'paid' where id = 1"),
    (1, "deny", "{user: intake}", "update sales.orders set total = 1 where id = 1"),
    (1, "deny", "{user: Intake}", "insert into sales.orders (total) values (1)"),
    (2, "deny", "{user: a}", "delete from sales.orders"),
    (
        3,
        "allow",
        f'{{user: a, groups: [support], from: 10.1.2.3, at: "{WEEKDAY}"}}',
        "select name from sales.customers",
    ),
    (3, "deny", f'{{user: a, groups: [support], from: 10.1.2.3, at: "{SUNDAY}"}}', "select name from sales.customers"),
    (3, "deny", f'{{user: a, groups: [support], from: 11.1.2.3, at: "{WEEKDAY}"}}', "select name from sales.customers"),
    (4, "deny", "{user: a, state: {change_freeze: true}}", "delete from sales.orders where id = 1"),
    (4, "deny", "{user: a}", "delete from sales.orders where id = 1"),
]


def test_there_are_five():
    assert len(EXAMPLES) == 5


RULES_OF = {2: "[no-blind-writes]", 4: "[no-writes-in-a-freeze]"}
"""A deny that came of no rule at all would prove nothing."""


@pytest.mark.parametrize("case", CASES)
def test_an_example_does_what_its_heading_says(pgguard: Pgguard, tmp_path: Path, case: tuple[int, str, str, str]):
    example, expect, who, sql = case
    rules = f", rules: {RULES_OF[example]}" if example in RULES_OF else ""
    (tmp_path / "rules.yaml").write_text(EXAMPLES[example])
    (tmp_path / "case.test.yaml").write_text(
        f'tests:\n  - {{name: case, as: {who}, sql: "{sql}", expect: {expect}{rules}}}\n'
    )
    result = pgguard("test", tmp_path, "--catalog", CATALOG)
    assert result.exit_code == 0, result.output
