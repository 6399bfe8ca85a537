"""Rules that look at the planner's estimate, the whole way: asked in the session just before the statement would run."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from pgguard.lab.lab import Lab, Plan

from .conftest import connected, run_psql

_RULES = Path(__file__).parents[2] / "rules"
_ONE_AT_A_TIME = """
rules:
  - name: dora-works-on-orders
    who: {user: dora}
    allow: [select, update, delete]
    on: sales.orders
  - name: one-at-a-time
    who: {user: dora}
    deny: [select, update, delete]
    on: sales.orders
    when: {estimated_rows: "> 1"}
"""


@pytest.fixture(scope="module")
def estimated(servers: Path) -> Iterator[Lab]:
    folder = servers / "estimated"
    shutil.copytree(_RULES, folder / "rules")
    (folder / "rules" / "estimates.yaml").write_text(_ONE_AT_A_TIME)
    with Lab(Plan(folder)) as lab:
        yield lab


@pytest.mark.parametrize(
    ("few", "many"),
    [
        ("select total from sales.orders where id = 1", "select total from sales.orders where id > 1"),
        ("update sales.orders set total = 1 where id = 1", "update sales.orders set total = 1 where id > 1"),
        (
            "COPY /* so */ (select total from sales.orders where id = (1)) TO stdout",
            "copy(select ')' from sales.orders where id > 1) to stdout",
        ),
        ("copy sales.products to stdout", "copy sales.orders (id) to stdout"),
        ("delete from sales.orders where id = 7", "delete from sales.orders where id > 7"),
    ],
)
def test_the_estimate_is_that_of_the_rows_read_or_touched(estimated: Lab, few: str, many: str):
    assert run_psql(estimated, "dora", few).stderr == ""
    refused = run_psql(estimated, "dora", many)
    assert '"one-at-a-time"' in refused.stderr
    assert "42501" in refused.stderr


async def test_inside_an_open_segment_it_cannot_be_asked_for_and_the_reason_says_so(
    estimated: Lab, monkeypatch: pytest.MonkeyPatch
):
    """asyncpg sends no Sync between a Parse and its Bind: the Parse is let through, and the Bind fails closed."""
    for name, value in estimated.environment("dora").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)
    async with connected(estimated, "dora") as connection:
        prepared = await connection.prepare("select id from sales.orders where id = $1")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"sales\.orders"):
            await prepared.fetch(1)
    assert "the planner's estimate could not be asked for" in estimated.audit.read_text()


def test_in_a_failed_transaction_the_database_says_so(estimated: Lab):
    done = run_psql(estimated, "dora", "begin", "select 1/0", "select total from sales.orders where id = 1", "rollback")
    assert done.stdout == "BEGIN\nROLLBACK\n"
    assert "25P02" in done.stderr
