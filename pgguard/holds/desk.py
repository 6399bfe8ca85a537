"""The desk: holds that wait, the votes on them, and the sessions of this node that wait for how they end.

Theory of operation. A session submits a Hold and gets a Waiting; approvers, on this node or on another, vote. A vote
changes the record in the store (store.py), which makes racing votes one after the other. The node whose session waits
hears of each change, looks at the record, and decides whether it is enough: by the groups that the approvers have now,
which it watches from their vote on. `take` removes the record from the store and gives the votes to the session: from
then on nobody can use them again. The store going away refuses what is new, and what waits goes on waiting.

Every event is recorded by the node where it happens, before it counts.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgspec

from pgguard.holds.hold import Groups, Hold, Person, Vote, approved, may_alone, may_approve
from pgguard.holds.store import Record, Store, StoreUnavailable

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_OVERDUE_SECONDS = 60.0
"""A hold that is this much older than it may get belongs to a session that is lost, with its node."""

_LINGER_SECONDS = 60.0
"""An Execute may come behind the Bind that waited: so long the approvers' groups stay known."""


class VoteRefused(Exception):  # noqa: N818  # it says what happened
    """A vote that does not count; the message says why."""


class People(Protocol):
    """Who is in which group now; known only of those who are watched."""

    def groups_of(self, user: str) -> Groups: ...

    async def watch(self, user: str) -> None: ...

    def unwatch(self, user: str) -> None: ...


@dataclass
class Waiting:
    """A hold of a session of this node. `ended` is set when people have decided."""

    record: Record
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    taken: bool = False
    watched: set[str] = field(default_factory=set)


News = Callable[[str, Record], None]
"""Hears of every hold on every node that it is `held`, `approved` by somebody, `refused`, or `ended`."""

Recorder = Callable[[Record, str, str, str], None]
"""Writes what happens to a hold: the hold, the event, by whom, why. What it raises undoes the event."""


class Desk:
    """`node`: this one's name, the same after a restart."""

    def __init__(self, store: Store, node: str, people: People, record: Recorder) -> None:
        self._store = store
        self._node = node
        self._people = people
        self._record = record
        self._waiting: dict[int, Waiting] = {}
        self._seen: dict[int, Record] = {}
        self.listeners: set[News] = set()
        self._left: dict[int, str] = {}
        """Holds that could not be removed when their sessions' waiting ended, each with its event."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Raises StoreUnavailable. Holds whose sessions were lost with an earlier process are closed as such."""
        await self._store.open(self._heard)
        await self._close_lost()
        self._seen = {record.number: record for record in await self._store.all()}

    async def stop(self) -> None:
        """After the sessions' end: finish what is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._store.close()

    @property
    def waiting(self) -> int:
        """How many statements of this node wait for people."""
        return len(self._waiting)

    # sessions

    async def submit(self, hold: Hold) -> Waiting:
        """Raises StoreUnavailable, and what the recorder raises."""
        adding = self._spawn(self._store.add(self._node, hold))
        try:
            record = await asyncio.shield(adding)
        except asyncio.CancelledError:
            adding.add_done_callback(self._abandoned)
            raise
        waiting = Waiting(record)
        try:
            self._record(record, "held", hold.requester.user, hold.reason)
        except BaseException:
            self._spawn(self._store.remove(record.number))
            raise
        self._waiting[record.number] = waiting
        self._note(record.number, record)
        return waiting

    async def take(self, waiting: Waiting) -> Record | None:
        """Use it up: the hold as people have decided it. None: it is gone from the store. Raises StoreUnavailable."""
        record = await self._whole(self._store.remove(waiting.record.number))
        waiting.taken = True
        self._note(waiting.record.number, None)
        return record

    async def store_back(self) -> None:
        """Wait for news of the store."""
        await self._news.wait()

    def close(self, waiting: Waiting, event: str) -> None:
        """Its session waits no more. `event` is recorded where no person has ended it."""
        if self._waiting.pop(waiting.record.number, None) is None:
            return
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._unwatch, waiting.watched)
        if not waiting.taken:
            self._spawn(self._remove(waiting.record.number, event))

    def _unwatch(self, users: set[str]) -> None:
        for user in users:
            self._people.unwatch(user)

    # people

    async def visible_to(self, person: Person) -> list[Record]:
        """What this person may see: what they may approve, and what is theirs. Raises StoreUnavailable."""
        records = await self._whole(self._store.all())
        return [one for one in records if one.refusal is None and not _overdue(one) and self.visible(one, person)]

    async def approve(self, number: int, person: Person, why: str) -> bool:
        """Count a yes; returns whether the statement goes on now. Raises VoteRefused and StoreUnavailable."""
        vote = Vote(person, why)

        def step(record: Record) -> Record:
            self._check(record, number, person)
            others = tuple(one for one in record.votes if not one.person.shares_a_name(person))
            if len(others) < len(record.votes) and not self._adds_its_reason(record, vote):
                raise VoteRefused(f"you have approved #{number} already")
            after = msgspec.structs.replace(record, votes=(*others, vote))
            self._record(record, self._event(after, vote), person.principal, why)
            return after

        after = await self._vote(number, step)
        watched: set[str] = set()
        try:
            await self._watch(after, watched)
            return self._enough(after)
        finally:
            self._unwatch(watched)

    async def refuse(self, number: int, person: Person, why: str) -> None:
        """One no ends it. Raises VoteRefused and StoreUnavailable."""

        def step(record: Record) -> Record:
            self._check(record, number, person)
            self._record(record, "refused", person.principal, why)
            return msgspec.structs.replace(record, refusal=Vote(person, why))

        await self._vote(number, step)

    async def _vote(self, number: int, step: Callable[[Record], Record]) -> Record:
        after = await self._whole(self._store.change(number, step))
        if after is None:
            raise _unknown(number)
        self._note(number, after)
        await self._judge(after)
        return after

    def _adds_its_reason(self, record: Record, vote: Vote) -> bool:
        """Whether a yes that is one of several, and not enough, becomes one that suffices alone."""
        known = any(one.person == vote.person and not one.why for one in record.votes)
        return known and bool(vote.why) and self._alone(record, vote) and not self._enough(record)

    def _check(self, record: Record, number: int, person: Person) -> None:
        if record.refusal is not None or _overdue(record) or not self.visible(record, person):
            raise _unknown(number)
        if record.hold.requester.shares_a_name(person):
            raise VoteRefused("nobody approves or refuses a statement of their own; cancel it where it waits")

    def visible(self, record: Record, person: Person) -> bool:
        groups = self._people.groups_of(person.user)
        may = any(may_approve(one.approvers, person, groups) for one in record.hold.requirements)
        return may or record.hold.requester.shares_a_name(person)

    def _event(self, after: Record, vote: Vote) -> str:
        alone = vote.why and self._alone(after, vote)
        return "approved-alone" if alone and self._enough(after) else "approved"

    def _alone(self, record: Record, vote: Vote) -> bool:
        """Whether this is break-glass."""
        groups = self._people.groups_of(vote.person.user)
        return any(may_alone(one.approvers, vote.person, groups) for one in record.hold.requirements)

    def _enough(self, record: Record) -> bool:
        return approved(record.hold, record.votes, self._people.groups_of)

    # news

    def _heard(self, number: int | None) -> None:
        """Somebody else has changed a hold."""
        if number is None:
            self._news.set()
            self._news = asyncio.Event()
            self._spawn(self._look_at_all())
        else:
            self._spawn(self._look(number))

    async def _look_at_all(self) -> None:
        for number, event in list(self._left.items()):
            await self._remove(number, event)
        with contextlib.suppress(StoreUnavailable):  # it is away again; the next news come when it is back
            await self._close_lost()
            records = {record.number: record for record in await self._store.all()}
            for number in {*self._seen, *records}:
                self._note(number, records.get(number))
            for record in records.values():
                await self._judge(record)

    async def _look(self, number: int) -> None:
        try:
            record = await self._store.find(number)
        except StoreUnavailable as error:
            _log.warning("%s; hold #%d is looked at when it is back", error, number)
            return
        self._note(number, record)
        if record is not None:
            await self._judge(record)

    async def _judge(self, record: Record) -> None:
        """Whether people have decided what a session of this node waits for."""
        waiting = self._waiting.get(record.number)
        if waiting is None:
            return
        await self._watch(record, waiting.watched)
        if record.refusal is not None or self._enough(record):
            waiting.ended.set()

    def _note(self, number: int, record: Record | None) -> None:
        """Tell the listeners what is new about it."""
        before = self._seen.pop(number, None)
        if record is not None:
            self._seen[number] = record
        event, told = _news(before, record)
        if told is not None:
            for listener in list(self.listeners):
                listener(event, told)

    async def _watch(self, record: Record, watched: set[str]) -> None:
        """Know the groups of all who have voted, wherever that was."""
        for vote in record.votes:
            if vote.person.user not in watched:
                watched.add(vote.person.user)
                await self._people.watch(vote.person.user)

    # the end of holds whose sessions wait no more

    async def _remove(self, number: int, event: str) -> None:
        try:
            last = await self._store.remove(number)
        except StoreUnavailable as error:
            _log.warning("%s; hold #%d stays in it until it is back", error, number)
            self._left[number] = event
            return
        self._left.pop(number, None)
        self._note(number, None)
        if last is not None and last.refusal is None:
            self._try_to_record(last, event)

    async def _close_lost(self) -> None:
        """Raises StoreUnavailable."""
        for record in await self._store.all():
            ours = record.node == self._node and record.number not in self._waiting and record.number not in self._left
            if ours or _overdue(record):
                await self._remove(record.number, "lost")

    def _abandoned(self, adding: "asyncio.Task[Record]") -> None:
        """The session has ended while its hold was on its way to the store: nothing was told of it yet."""
        if not adding.cancelled() and adding.exception() is None:
            self._spawn(self._store.remove(adding.result().number))

    def _try_to_record(self, record: Record, event: str) -> None:
        try:
            self._record(record, event, "", "")
        except Exception as error:  # noqa: BLE001  # the session has ended, and so has its hold
            _log.error("the end of hold #%d was not recorded: %s", record.number, error)

    # work that is done whole, whoever waits for it

    def _spawn(self, work: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever waits for it; a removal that failed is made up for at the next start

    async def _whole(self, work: Coroutine[Any, Any, _T]) -> _T:
        return await asyncio.shield(self._spawn(work))


def _unknown(number: int) -> VoteRefused:
    return VoteRefused(f"no hold #{number} waits for you")


def _overdue(record: Record) -> bool:
    return time.time() > record.hold.since + record.hold.seconds + _OVERDUE_SECONDS


def _news(before: Record | None, now: Record | None) -> tuple[str, Record | None]:
    if now is None:
        return "ended", before
    if before is None:
        return "held", now
    if now.refusal is not None and before.refusal is None:
        return "refused", now
    return "approved", now if len(now.votes) > len(before.votes) else None
