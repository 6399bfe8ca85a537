"""Quorum, by properties: whoever votes in whatever order, nothing is released without the people it needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgguard.holds.desk import Desk, VoteRefused
from pgguard.holds.hold import Hold, Person, shown
from pgguard.model.decision import Approvers, HoldRequirement

_GROUPS = {"bob": ("dba",), "dora": ("dba",), "eve": ("dba", "oncall"), "fred": ("security",), "alice": ()}


def _hold(*approvers: Approvers) -> Hold:
    requirements = tuple(HoldRequirement(f"rule{n}", one, 60.0) for n, one in enumerate(approvers))
    return Hold(
        "1-1", "1", Person("bob", "bob@X"), "shop", "delete", (), (), "9", None, "", False, "r", requirements, 0, 60
    )


async def _vote(desk: Desk, number: int, user: str, why: str, principal: str | None = None) -> bool:
    try:
        return desk.approve(number, Person(user, principal or f"{user}@X"), why)
    except VoteRefused:
        return False


@given(
    count=st.integers(1, 3), votes=st.lists(st.tuples(st.sampled_from(sorted(_GROUPS)), st.sampled_from(["", "why"])))
)
async def test_nothing_is_released_without_its_quorum_of_different_people(count: int, votes: list[tuple[str, str]]):
    desk = Desk(_GROUPS.get, lambda *_: None)
    pending = desk.submit(_hold(Approvers(groups=("dba",), count=count, alone_groups=("oncall",))))
    cast = []
    for user, why in votes:
        if not any(user == before for before, _ in cast) and user in {"dora", "eve"} and not pending.ending.done():
            cast.append((user, why))
        await _vote(desk, pending.number, user, why)
    assert pending.ending.done() == (len(cast) >= count or ("eve", "why") in cast)


async def test_each_requirement_is_satisfied_on_its_own():
    desk = Desk(_GROUPS.get, lambda *_: None)
    pending = desk.submit(_hold(Approvers(groups=("dba",)), Approvers(groups=("security",))))
    assert not await _vote(desk, pending.number, "dora", "")
    assert not await _vote(desk, pending.number, "eve", "")
    assert await _vote(desk, pending.number, "fred", "")


@pytest.mark.parametrize(("user", "principal"), [("bob", "other@X"), ("dora", "bob@X")])
async def test_the_requester_never_votes_under_any_name(user: str, principal: str):
    desk = Desk(_GROUPS.get, lambda *_: None)
    pending = desk.submit(_hold(Approvers(groups=("dba",))))
    with pytest.raises(VoteRefused, match="of their own"):
        desk.approve(pending.number, Person(user, principal), "")


async def test_one_refusal_ends_it_in_the_words_of_who_refused():
    desk = Desk(_GROUPS.get, lambda *_: None)
    pending = desk.submit(_hold(Approvers(groups=("dba",), count=2)))
    desk.refuse(pending.number, Person("eve", "eve@X"), "not today")
    assert pending.ending.result().why == "not today"
    with pytest.raises(VoteRefused, match="no hold #1 waits"):
        desk.approve(pending.number, Person("dora", "dora@X"), "")


async def test_a_vote_that_cannot_be_recorded_does_not_count():
    def record(_pending: object, event: str, *_: str) -> None:
        if event == "approved":
            raise OSError

    desk = Desk(_GROUPS.get, record)
    pending = desk.submit(_hold(Approvers(groups=("dba",))))
    with pytest.raises(OSError):  # noqa: PT011  # the very one
        desk.approve(pending.number, Person("dora", "dora@X"), "")
    assert not pending.votes


def test_what_is_shown_cannot_deceive():
    assert shown("a\u202eb\x1b[2J\nc d") == "a\\u202eb\\u001b[2J\nc d"


async def test_a_voter_is_remembered_until_the_votes_have_been_looked_at_again():
    """The session looks at its approvers' groups once more when it goes on. An approver who left the console right
    after the last vote had been forgotten by then, and the approved statement was refused.
    """
    desk = Desk(_GROUPS.get, lambda *_: None)
    pending = desk.submit(_hold(Approvers(groups=("dba",))))
    assert await _vote(desk, pending.number, "dora", "")
    assert desk.voted_on_by(Person("dora", "dora@X")) == (pending,)
    assert desk.voted_on_by(Person("eve", "eve@X")) == ()
    desk.close(pending, "withdrawn")
    assert desk.voted_on_by(Person("dora", "dora@X")) == ()
