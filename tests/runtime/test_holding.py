"""A session's holds in the store: none stays there that nobody waits for."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.known import make_house
from pgguard.holds.desk import Desk
from pgguard.holds.sqlite_store import SqliteStore
from pgguard.model.context import Principal, Ticket, Transport
from pgguard.model.decision import Approvers
from pgguard.runtime.holding import Holding
from pgguard.runtime.house import House
from pgguard.runtime.judging import Flow, SessionJudge
from pgguard.runtime.login import Login
from pgguard.session.judgement import Later, Moment, Names, Request, TransactionStatus, Verdict
from pgguard.session.names import NameMap
from tests.holds.people import GROUPS, People, hold

LOGIN = Login("s1", "bob", Principal("bob", "X"), Ticket(2e9), "shop", "127.0.0.1", Transport.PLAIN)
DELETE = Request(1, Moment.QUERY, b"delete", TransactionStatus.IDLE, quiet=True, segment=False)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[tuple[House, list[str]]]:
    """One whose desk is open, and what happens to its holds."""
    events: list[str] = []
    store, people = SqliteStore(tmp_path / "holds.sqlite"), People(*GROUPS)
    desk = Desk(store, "here", people, lambda _, event, *__: events.append(event))
    made = dataclasses.replace(make_house(tmp_path), desk=desk)
    await desk.start()
    yield made, events
    await desk.stop()
    made.audit.close()


class Holds:
    """An approver of which every statement is held."""

    def __init__(self, house: House) -> None:
        self._holding = Holding(house, LOGIN, None, lambda _: None)

    def at_once(self, request: Request) -> None:
        return None

    def approve(self, request: Request, names: Names) -> Flow:
        return (yield from self._holding.wait(hold(Approvers(groups=("dba",))), None))


async def test_a_cancel_in_the_very_turn_in_which_the_hold_came_to_be_takes_it_away(house: tuple[House, list[str]]):
    """It stood in the store, and before approvers, until it was overdue: an approval of it let nothing go on."""
    (made, events), resolved = house, dict[int, Verdict]()
    judge = SessionJudge(Holds(made), resolved.__setitem__)
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def listen(event: str, *_: object) -> None:
        if event == "held":
            loop.call_soon(judge.abandon)
        elif event == "ended":
            ended.set()

    made.desk.listeners.add(listen)
    assert isinstance(judge.judge(DELETE, NameMap()), Later)
    async with asyncio.timeout(20):
        await ended.wait()
    assert await made.desk.visible_to(LOGIN.person) == []
    assert (made.desk.waiting, events, resolved) == (0, ["held", "withdrawn"], {})
