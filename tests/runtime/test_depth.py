"""How deep a text may nest is the same on every Python; tests/packaging runs this on each."""

from pathlib import Path

import pytest

import pgguard
from pgguard.cli._common import read_catalog
from pgguard.runtime.analysis import analyze_apart
from pgguard.runtime.isolation import Isolation
from pgguard.sql.analyze import Script
from pgguard.sql.environment import Settings

_CATALOG = read_catalog(Path(pgguard.__file__).parent / "lab" / "shop" / "rules" / "shop.catalog.json")


@pytest.mark.parametrize(
    "deep",
    [
        "select " + "1+" * 4000 + "1",
        "select " + "not " * 4000 + "true",
        "select " + "(select " * 1000 + "1" + ")" * 1000,
    ],
    ids=("left", "right", "subqueries"),
)
async def test_a_deep_text_is_analysed(deep: str):
    """From Python 3.12 on recursion through a generator that C consumes has a limit which no setting lifts: at some 300
    levels such a text was refused.
    """
    found = await analyze_apart(Isolation(60), deep, _CATALOG, Settings(("public",)))
    assert isinstance(found, Script), found
