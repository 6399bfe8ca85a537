"""The limits that docs/security.md names are real ones: each is shown, under the rules that the attacks run against."""

import time

import pytest

from pgguard.lab.lab import Lab
from tests.e2e.psql import run_psql

from .corpus import LIMITS, Attempt, attempts
from .siege import Siege


@pytest.mark.parametrize("attempt", [pytest.param(a, id=a.name[:120]) for a in attempts(LIMITS)])
def test_it_gets_through_as_the_documentation_says(siege: Siege, attempt: Attempt) -> None:
    assert attempt.shows in siege.told(attempt)


def test_a_view_goes_on_showing_what_it_was_built_for(siege: Siege, besieged: Lab) -> None:
    table, view = "select name from sales.customers", "table lab.left_behind"
    assert "Ada" in run_psql(besieged, "trudy", f"create view lab.left_behind as {table}", view).stdout
    besieged.slapd.remove_from_group("trudy", "readers")
    try:
        _await_answer(besieged, table, allowed=False)
        assert "Ada" in run_psql(besieged, "trudy", view).stdout
    finally:
        besieged.slapd.add_to_group("trudy", "readers")
        _await_answer(besieged, table, allowed=True)
        run_psql(besieged, "trudy", "drop view lab.left_behind")


def _await_answer(lab: Lab, sql: str, *, allowed: bool) -> None:
    deadline = time.monotonic() + 20
    while (run_psql(lab, "trudy", sql).returncode == 0) is not allowed:
        assert time.monotonic() < deadline, f"trudy's groups did not change within 20 s: {sql}"
