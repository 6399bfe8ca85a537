"""The page of benchmarks has one place for what `./dev bench` prints."""

from pathlib import Path

import pytest

from bench.report import pasted, report

PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
MEASURED = [
    {"case": "select", "target": target, "per_second": rate, "p50_us": p50, "p99_us": 90.0, "cpu_us": 21.4}
    for target, rate, p50 in (("direct", 1000.0, 10.0), ("pgbouncer", 500.0, 30.0), ("pgguard", 250.0, 70.0))
]
GROWN = [
    {"what": "a decision, µs", "of": "rules", "few": 10, "many": 10_000, "at_few": 10.0, "at_many": 11.0},
    {"what": "KB of memory", "of": "sessions", "many": 1_000, "at_many": 17.9},
]


def test_the_tables_are_pasted_in_the_place_of_those_before():
    once = pasted(PAGE, report(MEASURED, GROWN))
    assert "| select | pgguard | 250 | 0.25 | 0.50 | 60 | 0 | 21 |" in once
    assert 'x-axis ["select"]\n    bar [0.25]\n    line [0.50]' in once
    assert 'x-axis ["select"]\n    bar [21]\n    line [21]' in once
    assert "| a decision, µs | rules | 10 | 10,000 | 10.0 | 11.0 | 1.10 |" in once
    assert "| KB of memory | sessions |  | 1,000 |  | 17.9 |  |" in once
    assert "tpcb, simple, 1 clients" not in once
    assert pasted(once, "other").count("measured begins") == 1
    assert once.startswith(PAGE[:100])
    assert once.endswith(PAGE[-100:])


def test_a_page_without_the_place_is_left_alone():
    with pytest.raises(ValueError, match="lacks"):
        pasted("# A page\n", "tables")
