"""Two nodes on one PostgreSQL: a hold of one is decided on the other, and an outage loses none."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from pgguard.holds.desk import Desk, VoteRefused, Waiting
from pgguard.holds.postgres_store import PostgresStore
from pgguard.holds.store import Record, StoreUnavailable
from pgguard.lab.postgres import Postgres
from pgguard.model.decision import Approvers
from tests.holds.people import People, hold, person

_TWO = Approvers(groups=("dba",), count=2)


class Node:
    def __init__(self, dsn: str, name: str, *here: str) -> None:
        self.events: list[tuple[int, str]] = []
        self.people = People(*here)
        self.desk = Desk(PostgresStore(dsn, None), name, self.people, self._record)

    def _record(self, held: Record, event: str, *_: str) -> None:
        self.events.append((held.number, event))


@pytest.fixture
def dsn(postgres: Postgres) -> str:
    name = f"holds_{uuid.uuid4().hex}"
    postgres.run(f"create database {name}")
    return postgres.dsn(name)


@pytest.fixture
async def nodes(dsn: str) -> AsyncIterator[tuple[Node, Node]]:
    both = Node(dsn, "a"), Node(dsn, "b", "dora", "eve", "bob")
    await asyncio.gather(*(one.desk.start() for one in both))  # at once: both would create the table
    yield both
    for one in both:
        await one.desk.stop()


async def _ended(waiting: Waiting) -> None:
    await asyncio.wait_for(waiting.ended.wait(), 10)


async def test_a_hold_on_one_node_is_approved_on_the_other(nodes: tuple[Node, Node]):
    a, b = nodes
    waiting = await a.desk.submit(hold(_TWO))
    assert not await b.desk.approve(1, person("dora"), "")
    assert await b.desk.approve(1, person("eve"), "")
    await _ended(waiting)
    taken = await a.desk.take(waiting)
    assert taken is not None
    assert [vote.person.user for vote in taken.votes] == ["dora", "eve"]
    with pytest.raises(VoteRefused, match="no hold #1"):
        await b.desk.refuse(1, person("dora"), "too late")
    assert {"dora", "eve"} <= set(a.people.watched), "their groups are known where the statement waits"


async def test_two_approvals_that_race_on_two_nodes_count_once_each(nodes: tuple[Node, Node]):
    a, _ = nodes
    a.people.watched += ["dora", "eve"]
    for _ in range(10):
        waiting = await a.desk.submit(hold(_TWO))
        number = waiting.record.number
        votes = [one.desk.approve(number, person(who), "") for one in nodes for who in ("dora", "eve")]
        answers = await asyncio.gather(*votes, return_exceptions=True)
        assert sum(isinstance(answer, VoteRefused) for answer in answers) == 2
        await _ended(waiting)
        assert [event for one in nodes for n, event in one.events if n == number].count("approved") == 2


async def test_a_refusal_on_one_node_ends_it_on_the_other(nodes: tuple[Node, Node]):
    a, b = nodes
    waiting = await a.desk.submit(hold(_TWO))
    await b.desk.refuse(1, person("eve"), "no")
    await _ended(waiting)


async def test_an_outage_refuses_what_is_new_and_loses_none(nodes: tuple[Node, Node], dsn: str, postgres: Postgres):
    a, b = nodes
    kept = await a.desk.submit(hold(_TWO))
    left = await a.desk.submit(hold(_TWO))
    database = dsn.rpartition("/")[2]
    postgres.run(f"alter database {database} allow_connections false")
    postgres.run(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'")
    await _until(a, lambda seen: seen is None)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await a.desk.submit(hold(_TWO))
    a.desk.close(left, "withdrawn")
    postgres.run(f"alter database {database} allow_connections true")
    await _until(b, lambda seen: seen == [kept.record.number])
    await b.desk.approve(kept.record.number, person("dora"), "")
    await b.desk.approve(kept.record.number, person("eve"), "")
    await _ended(kept)
    assert (left.record.number, "withdrawn") in a.events


async def _until(node: Node, wanted: Callable[[list[int] | None], bool]) -> None:
    """Look until dora sees what is wanted; None: the store does not answer."""
    async with asyncio.timeout(10):
        seen: list[int] | None = [0]
        while not wanted(seen):
            try:
                seen = [one.number for one in await node.desk.visible_to(person("dora"))]
            except StoreUnavailable:
                seen = None
                await asyncio.sleep(0.02)


async def test_a_node_that_comes_again_closes_its_own_lost_holds_and_no_others(nodes: tuple[Node, Node], dsn: str):
    a, b = nodes
    await a.desk.submit(hold(_TWO))
    await b.desk.submit(hold(_TWO))
    again = Node(dsn, "a")
    await again.desk.start()
    assert again.events == [(1, "lost")]
    await again.desk.stop()


async def test_a_database_that_does_not_answer_keeps_pgguard_from_starting(postgres: Postgres):
    node = Node(postgres.dsn("holds_missing"), "a")
    with pytest.raises(StoreUnavailable, match="does not exist"):
        await node.desk.start()
    await node.desk.stop()
