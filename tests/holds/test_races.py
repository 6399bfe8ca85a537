"""Races, by properties: whoever votes, refuses, leaves or restarts at once, on whichever node, each counts once."""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pgguard.holds.desk import Desk, VoteRefused, Waiting
from pgguard.holds.sqlite_store import SqliteStore
from pgguard.holds.store import Record
from pgguard.model.decision import Approvers
from tests.holds.people import GROUPS, People, hold, person

_VOTES = st.lists(
    st.tuples(st.sampled_from([*sorted(GROUPS), "eve"]), st.sampled_from(["", "why"]), st.booleans()), min_size=1, max_size=4
)  # fmt: skip


class Races(RuleBasedStateMachine):
    """What was recorded is the model: by it each hold of `holds` has been approved, refused, or waits on."""

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.numbers: list[int] = []
        self.holds: dict[int, Waiting] = {}
        self.recorded: list[tuple[int, str, str]] = []
        self.do(self._start())

    async def _start(self) -> None:
        self.desk = Desk(SqliteStore(Path(self.folder.name) / "holds"), "here", People(*GROUPS), self._record)
        await self.desk.start()

    def _record(self, held: Record, event: str, by: str, _why: str) -> None:
        self.recorded.append((held.number, event, by))

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @rule(count=st.integers(1, 3))
    def submit(self, count: int) -> None:
        wanted = Approvers(groups=("dba",), count=count, alone_groups=("oncall",))
        waiting = self.do(self.desk.submit(hold(wanted)))
        self.numbers.append(waiting.record.number)
        self.holds[waiting.record.number] = waiting

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), votes=_VOTES)
    def vote_at_once(self, data: st.DataObject, votes: list[tuple[str, str, bool]]) -> None:
        number = data.draw(st.sampled_from(list(self.holds)))

        async def one(user: str, why: str, yes: bool) -> None:
            try:
                if yes:
                    await self.desk.approve(number, person(user), why)
                else:
                    await self.desk.refuse(number, person(user), "no")
            except VoteRefused:
                pass

        async def all_at_once() -> None:
            await asyncio.gather(*(one(*vote) for vote in votes))

        self.do(all_at_once())

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def take_twice_at_once(self, data: st.DataObject) -> None:
        waiting = self.holds.pop(data.draw(st.sampled_from(list(self.holds))))

        async def both() -> list[Record | None]:
            return list(await asyncio.gather(self.desk.take(waiting), self.desk.take(waiting)))

        assert sum(one is not None for one in self.do(both())) == 1
        self.do(self._close(waiting))

    async def _close(self, waiting: Waiting) -> None:
        self.desk.close(waiting, "withdrawn")

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.do(self._close(self.holds.pop(data.draw(st.sampled_from(list(self.holds))))))

    @rule()
    def restart(self) -> None:
        self.do(self.desk.stop())
        lost = set(self.holds)
        self.holds.clear()
        before = len(self.recorded)
        self.do(self._start())
        told = {number for number, event, _ in self.recorded[before:] if event == "lost"}
        refused = {number for number, event, _ in self.recorded if event == "refused"}
        assert told == lost - refused

    @invariant()
    def each_counts_once(self) -> None:
        assert self.numbers == list(range(1, len(self.numbers) + 1))
        for number, waiting in self.holds.items():
            approved, alone, no = (
                [by for n, event, by in self.recorded if n == number and event == wanted]
                for wanted in ("approved", "approved-alone", "refused")
            )
            assert len(set(approved)) == len(approved)
            assert len(set(alone)) == len(alone)
            assert len(no) <= 1
            yes = {*approved, *alone}  # one that was not enough may become one that suffices alone
            assert not {"bob@X", "alice@X", "fred@X"} & {*yes, *no}
            count = waiting.record.hold.requirements[0].approvers.count
            if waiting.ended.is_set():
                assert no or alone or len(yes) >= count
            else:
                assert not no
                assert not alone
                assert len(yes) < count

    def teardown(self) -> None:
        self.do(self.desk.stop())
        self.loop.close()
        self.folder.cleanup()


Races.TestCase.settings = settings(max_examples=40, stateful_step_count=20)
test_races = Races.TestCase
