"""The desk: holds that wait in this process, and the votes on them.

Theory of operation. A session hands in a Hold and waits for its Ending; approvers vote. Everything happens in one
event loop without an await between the look at a hold and its change, so that two who race count once each. The desk
keeps no file: a hold lives as long as its session, and what happened to it stands in the audit.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from pgguard.holds.hold import Groups, Hold, Person, Vote, approved, may_alone, may_approve


class VoteRefused(Exception):  # noqa: N818  # it says what happened
    """A vote that does not count; the message says why."""


class Ending(msgspec.Struct, frozen=True):
    """How a hold ended: `approved` with its votes, or refused by a person, in their words."""

    approved: bool
    votes: tuple[Vote, ...] = ()
    by: str = ""
    why: str = ""


@dataclass
class Pending:
    number: int
    hold: Hold
    ending: "asyncio.Future[Ending]"
    votes: list[Vote] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its session waits no more: until then its approvers' groups are watched."""


Recorder = Callable[[Pending, str, str, str], None]
"""Writes what happens to a hold: the hold, the event, by whom, why. What it raises undoes the event."""


class Desk:
    """`groups_of`: a user's groups, as they are now."""

    def __init__(self, groups_of: Callable[[str], Groups], record: Recorder) -> None:
        self._groups_of = groups_of
        self._record = record
        self._pending: dict[int, Pending] = {}
        self._open: dict[int, Pending] = {}
        self._last = 0

    @property
    def pending(self) -> tuple[Pending, ...]:
        return tuple(self._pending.values())

    def voted_on_by(self, person: Person) -> tuple[Pending, ...]:
        """The holds with a vote of theirs whose sessions still wait, or are about to look at the votes again."""
        return tuple(one for one in self._open.values() if any(vote.person == person for vote in one.votes))

    def submit(self, hold: Hold) -> Pending:
        self._last += 1
        pending = Pending(self._last, hold, asyncio.get_running_loop().create_future())
        self._record(pending, "held", hold.requester.user, hold.reason)
        self._pending[pending.number] = self._open[pending.number] = pending
        return pending

    def close(self, pending: Pending, event: str) -> None:
        """Its session waits no more. `event` is recorded where no person had ended it."""
        pending.closed.set()
        self._open.pop(pending.number, None)
        if self._pending.pop(pending.number, None) is not None:
            self._record(pending, event, "", "")

    def visible(self, pending: Pending, person: Person) -> bool:
        """Whether this person may see it: who may approve it, and whose it is."""
        return pending.hold.requester.shares_a_name(person) or self._may(pending, person)

    def approve(self, number: int, person: Person, why: str) -> bool:
        """Count a yes; returns whether the statement goes on now. Raises VoteRefused."""
        pending = self._voted_on(number, person)
        if any(vote.person.shares_a_name(person) for vote in pending.votes):
            raise VoteRefused(f"you have approved #{number} already")
        vote = Vote(person, why)
        votes = (*pending.votes, vote)
        enough = approved(pending.hold, votes, self._groups_of)
        alone = why and any(
            may_alone(one.approvers, person, self._groups_of(person.user)) for one in pending.hold.requirements
        )
        self._record(pending, "approved-alone" if enough and alone else "approved", person.principal, why)
        pending.votes.append(vote)
        if enough:
            self._end(pending, Ending(approved=True, votes=votes))
        return enough

    def refuse(self, number: int, person: Person, why: str) -> None:
        """One no ends it. Raises VoteRefused."""
        pending = self._voted_on(number, person)
        self._record(pending, "refused", person.principal, why)
        self._end(pending, Ending(approved=False, by=person.user, why=why))

    def _voted_on(self, number: int, person: Person) -> Pending:
        pending = self._pending.get(number)
        if pending is None or not self.visible(pending, person):
            raise VoteRefused(f"no hold #{number} waits for you")
        if pending.hold.requester.shares_a_name(person):
            raise VoteRefused("nobody approves or refuses a statement of their own; cancel it where it waits")
        return pending

    def _may(self, pending: Pending, person: Person) -> bool:
        groups = self._groups_of(person.user)
        return any(may_approve(one.approvers, person, groups) for one in pending.hold.requirements)

    def _end(self, pending: Pending, ending: Ending) -> None:
        del self._pending[pending.number]
        if not pending.ending.done():
            pending.ending.set_result(ending)
