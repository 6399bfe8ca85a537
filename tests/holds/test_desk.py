"""The desk over a real store: votes that count, votes that do not, and what is left of a hold whose session is lost."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from pgguard.holds.desk import Desk, Recorder, VoteRefused
from pgguard.holds.hold import Person, shown
from pgguard.holds.sqlite_store import SqliteStore
from pgguard.holds.store import Record, StoreUnavailable
from pgguard.model.decision import Approvers
from tests.holds.people import GROUPS, People, hold, person


@asynccontextmanager
async def _desk(folder: Path, record: Recorder = lambda *_: None) -> AsyncIterator[Desk]:
    desk = Desk(SqliteStore(folder / "holds.sqlite"), "here", People(*GROUPS), record)
    await desk.start()
    try:
        yield desk
    finally:
        await desk.stop()


async def test_each_requirement_is_satisfied_on_its_own(tmp_path: Path):
    async with _desk(tmp_path) as desk:
        waiting = await desk.submit(hold(Approvers(groups=("dba",)), Approvers(groups=("security",))))
        assert not await desk.approve(1, person("dora"), "")
        assert not await desk.approve(1, person("eve"), "")
        assert not waiting.ended.is_set()
        assert await desk.approve(1, person("fred"), "")
        assert waiting.ended.is_set()


@pytest.mark.parametrize(
    "alias", [Person("bob", "other@X"), Person("dora", "bob@X"), Person("dora", "dora/admin@X", ("bob", "dora"))]
)
async def test_the_requester_never_votes_under_any_name(tmp_path: Path, alias: Person):
    async with _desk(tmp_path) as desk:
        await desk.submit(hold(Approvers(groups=("dba",))))
        with pytest.raises(VoteRefused, match="of their own"):
            await desk.approve(1, alias, "")
        with pytest.raises(VoteRefused, match="of their own"):
            await desk.refuse(1, alias, "no")


@pytest.mark.parametrize("again", [Person("dora", "dora/admin@X"), Person("eve", "dora/x@X", ("dora", "eve"))])
async def test_one_person_counts_once_under_all_names(tmp_path: Path, again: Person):
    async with _desk(tmp_path) as desk:
        waiting = await desk.submit(hold(Approvers(groups=("dba",), count=2)))
        await desk.approve(1, person("dora"), "")
        with pytest.raises(VoteRefused, match="already"):
            await desk.approve(1, again, "")
        assert not waiting.ended.is_set()


async def test_whoever_may_decide_alone_may_still_do_so_after_a_plain_yes(tmp_path: Path):
    events: list[str] = []
    async with _desk(tmp_path, lambda _, event, *__: events.append(event)) as desk:
        waiting = await desk.submit(hold(Approvers(groups=("dba",), count=3, alone_groups=("oncall",))))
        assert not await desk.approve(1, person("dora"), "")
        with pytest.raises(VoteRefused, match="already"):
            await desk.approve(1, person("dora"), "I may not alone")
        assert not await desk.approve(1, person("eve"), "")
        assert await desk.approve(1, person("eve"), "the house burns")
        assert waiting.ended.is_set()
        with pytest.raises(VoteRefused, match="already"):
            await desk.approve(1, person("eve"), "twice")
    assert events == ["held", "approved", "approved", "approved-alone"]


async def test_whoever_has_approved_enough_approves_no_second_time_alone(tmp_path: Path):
    """Two yes of one person at once, the second with a reason, were both on record for a hold that one was enough for."""
    events: list[str] = []
    async with _desk(tmp_path, lambda _, event, *__: events.append(event)) as desk:
        await desk.submit(hold(Approvers(groups=("dba",), count=1, alone_groups=("oncall",))))
        first, second = await asyncio.gather(
            desk.approve(1, person("eve"), ""), desk.approve(1, person("eve"), "why"), return_exceptions=True
        )
    assert first is True
    assert isinstance(second, VoteRefused)
    assert events == ["held", "approved"]


async def test_a_disabled_account_approves_nothing_though_a_rule_names_it(tmp_path: Path):
    """It was no member of a group any more, but still the user that a rule named."""
    async with _desk(tmp_path) as desk:
        waiting = await desk.submit(hold(Approvers(users=("gone", "alice"), count=2, alone_users=("gone",))))
        with pytest.raises(VoteRefused, match="no hold #1"):
            await desk.approve(1, person("gone"), "alone")
        assert not await desk.approve(1, person("alice"), "")
        assert not waiting.ended.is_set()


async def test_one_refusal_ends_it_in_the_words_of_who_refused(tmp_path: Path):
    async with _desk(tmp_path) as desk:
        waiting = await desk.submit(hold(Approvers(groups=("dba",), count=2)))
        await desk.refuse(1, person("eve"), "not today")
        assert waiting.ended.is_set()
        with pytest.raises(VoteRefused, match="no hold #1 waits"):
            await desk.approve(1, person("dora"), "")
        taken = await desk.take(waiting)
        assert taken is not None
        assert taken.refusal is not None
        assert taken.refusal.why == "not today"


async def test_an_approval_is_used_once(tmp_path: Path):
    async with _desk(tmp_path) as desk:
        waiting = await desk.submit(hold(Approvers(groups=("dba",))))
        await desk.approve(1, person("dora"), "")
        assert (await desk.take(waiting)) is not None
        assert (await desk.take(waiting)) is None


async def test_a_vote_that_cannot_be_recorded_does_not_count(tmp_path: Path):
    def record(_held: Record, event: str, *_: str) -> None:
        if event == "approved":
            raise OSError

    async with _desk(tmp_path, record) as desk:
        waiting = await desk.submit(hold(Approvers(groups=("dba",))))
        with pytest.raises(OSError):  # noqa: PT011  # the very one
            await desk.approve(1, person("dora"), "")
        assert not waiting.ended.is_set()
        assert [one.votes for one in await desk.visible_to(person("dora"))] == [()]


async def test_holds_of_lost_sessions_are_closed_as_such_at_the_next_start_and_numbers_go_on(tmp_path: Path):
    before = SqliteStore(tmp_path / "holds.sqlite")
    await before.open(lambda _: None)
    await before.add("here", hold(Approvers(groups=("dba",))))
    await before.close()
    events: list[tuple[int, str]] = []
    async with _desk(tmp_path, lambda held, event, *_: events.append((held.number, event))) as desk:
        assert events == [(1, "lost")]
        assert await desk.visible_to(person("dora")) == []
        assert (await desk.submit(hold(Approvers(groups=("dba",))))).record.number == 2


async def test_a_session_that_ends_takes_its_hold_with_it(tmp_path: Path):
    events: list[str] = []
    async with _desk(tmp_path, lambda _, event, *__: events.append(event)) as desk:
        desk.close(await desk.submit(hold(Approvers(groups=("dba",)))), "withdrawn")
        submitting = asyncio.create_task(desk.submit(hold(Approvers(groups=("dba",)))))
        await asyncio.sleep(0)  # it is on its way to the store
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
    assert events == ["held", "withdrawn"]
    left = SqliteStore(tmp_path / "holds.sqlite")
    await left.open(lambda _: None)
    assert await left.all() == ()
    await left.close()


async def test_a_hold_that_only_another_version_can_read_keeps_no_other_from_anybody(tmp_path: Path):
    """One such record made every look at the holds fail, and pgguard did not start."""
    path = tmp_path / "holds.sqlite"
    async with _desk(tmp_path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute('insert into holds (record) values (\'{"of": "tomorrow"}\')')
        database.commit()
    async with _desk(tmp_path) as desk:
        number = (await desk.submit(hold(Approvers(groups=("dba",))))).record.number
        assert [one.number for one in await desk.visible_to(person("dora"))] == [number]
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            await desk.approve(1, person("dora"), "")


async def test_a_second_process_does_not_take_the_holds_of_the_first_for_lost_ones(tmp_path: Path):
    async with _desk(tmp_path):
        second = SqliteStore(tmp_path / "holds.sqlite")
        with pytest.raises(StoreUnavailable, match="belong to another pgguard; give each a file of its own"):
            await second.open(lambda _: None)
        await second.close()


async def test_a_hold_is_kept_whole_in_a_file_for_its_owner_alone(tmp_path: Path):
    asked = msgspec.structs.replace(hold(Approvers(users=("dora",))), text="délete \x01 '\udcff'".encode("utf-8", "replace").decode())  # fmt: skip
    async with _desk(tmp_path) as desk:
        await desk.submit(asked)
        assert (await desk.visible_to(person("dora")))[0].hold == asked
        assert (tmp_path / "holds.sqlite").stat().st_mode & 0o077 == 0


async def test_a_store_that_cannot_be_opened_says_what_to_do(tmp_path: Path):
    store = SqliteStore(tmp_path / "missing" / "holds.sqlite")
    with pytest.raises(StoreUnavailable, match=r"No such file or directory; name another file in \[holds\] path"):
        await store.open(lambda _: None)
    await store.close()
    (tmp_path / "text").write_text("this is no database, and long enough to be seen as such" * 10)
    store = SqliteStore(tmp_path / "text")
    with pytest.raises(StoreUnavailable, match="not a database"):
        await store.open(lambda _: None)
    await store.close()


def test_what_is_shown_cannot_deceive():
    assert shown("a\u202eb\x1b[2J\nc d") == "a\\u202eb\\u001b[2J\nc d"
