"""Large and deep statements in a process of their own: what they do there, nobody else feels."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgguard.runtime.isolation import IsolatedWorkFailed, Isolation
from pgguard.sql.analyze import Refused, Script, analyze
from pgguard.sql.catalog import Catalog, Snapshot
from pgguard.sql.environment import Settings

_CATALOG = Catalog(Snapshot("shop", 15, ("public",), (), ()))
_SETTINGS = Settings(("pg_catalog", "public"))


async def _analysed(text: str) -> Script | Refused:
    return await Isolation(30).run(lambda: analyze(text, _CATALOG, _SETTINGS), Script | Refused)


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    """Neither running nor as a zombie."""
    before = _children()
    yield
    assert _children() <= before


def _children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize(
    "text",
    [
        "select " + "1+" * 1_500 + "1",
        "select " + "coalesce(" * 1_000 + "1" + ")" * 1_000,
        "select " + "(select " * 300 + "1" + ")" * 300,
        "select 1" + " union select 1" * 1_000,
    ],
    ids=("sum", "calls", "subqueries", "union"),
)
async def test_deep_statements_are_analysed(text: str) -> None:
    """Sums of more than 250 terms were refused as too deep: here the whole stack is theirs."""
    assert isinstance(await _analysed(text), Script)


@pytest.mark.parametrize(
    "text",
    [
        "select " + "1+" * 30_000 + "1",
        "select " + "not " * 40_000 + "true",
        "select 1" + "::int" * 40_000,
        "select 1 " + "union select 1 " * 20_000,
        "select " + "(" * 200_000 + "1" + ")" * 200_000,
        "select " + "case when true then " * 4_900 + "1" + " end" * 4_900,
        "select '" + "x" * 5_000_000,
    ],
    ids=("sum", "not", "cast", "union", "parentheses", "case", "unended"),
)
async def test_what_is_too_deep_is_refused_or_ends_its_own_process(text: str) -> None:
    ended = []
    try:
        await _analysed(text)
    except IsolatedWorkFailed as failed:
        ended.append(str(failed))
    assert ended in ([], ["the process that worked on it crashed"])


async def test_work_that_never_ends_is_ended() -> None:
    def forever() -> None:
        while True:
            pass

    started = time.monotonic()
    with pytest.raises(IsolatedWorkFailed, match=r"longer than 0\.3 s"):
        await Isolation(0.3).run(forever, None)
    assert time.monotonic() - started < 5


async def test_work_that_takes_all_memory_is_ended() -> None:
    with pytest.raises(IsolatedWorkFailed, match="crashed"):
        await Isolation(30).run(lambda: bytes(4 << 30), bytes)


async def test_a_flood_of_large_statements_leaves_the_others_their_turn() -> None:
    """Two children at a time; meanwhile the event loop goes on."""
    isolation = Isolation(0.2)
    waiting = [asyncio.create_task(isolation.run(lambda: time.sleep(60), None)) for _ in range(6)]
    for _ in range(5):
        before = time.monotonic()
        await asyncio.sleep(0.01)
        assert time.monotonic() - before < 1
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, IsolatedWorkFailed) for outcome in outcomes)
