"""The page for operators names the metrics that there are, and no others."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_MADE = re.compile(r'\b(?:gauge|counter|Family)\(\s*"([a-z_]+)"')
_NAMED = re.compile(r"`([a-z_]+)(?:\{[a-z_,]+\})?`")


def test_every_metric_stands_in_the_table():
    sources = (ROOT / "pgguard").rglob("*.py")
    made = {name for source in sources for name in _MADE.findall(source.read_text())}
    assert "statements_total" in made
    page = (ROOT / "docs" / "operations.md").read_text()
    table = page.partition("| metric (`pgguard_…`) |")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines() for name in _NAMED.findall(line.split("|")[1] if "|" in line else "")}
    assert made - named == set(), "metrics without a line in docs/operations.md"
    assert named - made == set(), "lines about metrics that are none"
