"""One session's held statements: hands a hold to the desk, keeps the client told, and waits for how it ends."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from pgguard.audit.log import AuditUnavailable
from pgguard.holds.desk import Waiting
from pgguard.holds.hold import Hold, Person, approved, in_words, wanted
from pgguard.holds.store import Record, StoreUnavailable
from pgguard.model.access import Kind
from pgguard.model.context import Context
from pgguard.model.decision import Decision, HoldRequirement
from pgguard.model.facts import Facts
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.runtime.coverage import Coverage
from pgguard.runtime.house import House
from pgguard.runtime.judging import Wait
from pgguard.runtime.login import Login
from pgguard.session.judgement import Names, Request

_log = logging.getLogger(__name__)


class Grant(msgspec.Struct, frozen=True):
    """An approval that was given: good for what is exactly as it was."""

    record: Record
    facts: tuple[Facts, ...]


class Holding:
    """`tell` gives the client a notice."""

    def __init__(self, house: House, login: Login, tell: Callable[[str], None]) -> None:
        self._house = house
        self._login = login
        self._tell = tell
        self.waited = 0.0
        """Seconds that the statement which is judged has waited for people."""
        self._voters: set[str] = set()
        """Those whose approvals may reach on: their groups are known until the session ends."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.coverage = Coverage(self._stands)

    def needed(
        self, request: Request, names: Names, judged: "Held"
    ) -> tuple[tuple[HoldRequirement, ...], tuple[int, ...]]:
        """What people must still say to it, and the holds whose approvals reach it."""
        self.coverage.under(self._house.rulebook.current.identity)
        return self.coverage.needed(request, names, judged.statements, judged.decision.holds, now=time.monotonic())

    def hold(
        self,
        audit_id: str,
        text: str,
        values: tuple[str | None, ...],
        judged: "Held",
        needed: tuple[HoldRequirement, ...],
    ) -> Hold:
        """`needed`: what of the decision no earlier approval covers."""
        block = judged.context.block is not False
        limit = min(one.timeout for one in needed)
        tables = {str(a.object) for one in judged.statements for a in one.accesses if a.kind is Kind.TABLE}
        return Hold(
            audit_id=audit_id,
            session=self._login.session,
            requester=Person(self._login.user, str(self._login.principal)),
            database=self._login.database,
            text=text,
            values=values,
            tables=tuple(sorted(tables)),
            rows=str(judged.context.estimated_rows),
            address=self._login.address,
            reason=judged.context.reason,
            in_transaction=block,
            rules=self._house.rulebook.current.identity,
            requirements=needed,
            since=time.time(),
            seconds=min(limit, self._house.config.holds.transaction_seconds) if block else limit,
        )

    def wait(self, hold: Hold, facts: tuple[Facts, ...]) -> Generator[Wait, Any, Grant | Refusal]:
        """Until people have decided, or its time is over. The hold is closed whatever ends the waiting."""
        desk = self._house.desk
        try:
            waiting: Waiting = yield Wait(desk.submit(hold))
        except (StoreUnavailable, AuditUnavailable) as error:
            _log.error("a statement was refused because it cannot be held: %s", error)  # told in full
            return Refusal(SqlState.CANNOT_CONNECT_NOW, "the statement could not be held, and was refused")
        number = waiting.record.number
        event, ending, began = "withdrawn", "withdrawn", time.monotonic()
        try:
            record: Record | None = yield Wait(self._until_taken(waiting))
            if record is None:
                event = ending = "expired"
                return _refused(f"hold #{number} was not approved within {in_words(hold.seconds)}", hold)
            ending = "refused"
            if record.refusal is not None:
                by, why = record.refusal.person.user, record.refusal.why
                return _refused(f"{by} refused hold #{number}: {why}", hold)
            if record.hold != hold or not self._stands(record):
                return _refused(f"an approver of hold #{number} may not approve it any more", hold)
            ending = "approved"
            return Grant(record, facts)
        finally:
            waited = time.monotonic() - began
            self.waited += waited
            self._house.metrics.waited(ending, waited)
            desk.close(waiting, event)

    def good(self, grant: Grant, judged: "Held", needed: tuple[HoldRequirement, ...]) -> bool:
        """Whether what was approved is what would run now, under the same rules, by people who still may."""
        return (
            grant.facts == judged.statements
            and grant.record.hold.requirements == needed
            and grant.record.hold.rules == self._house.rulebook.current.identity
            and self._stands(grant.record)
        )

    def use(self, grant: Grant, request: Request, judged: "Held") -> None:
        """It has been released."""
        for vote in grant.record.votes:
            self._keep_watching(vote.person.user)
        block = judged.context.block is True
        self.coverage.approved(
            grant.record, request, judged.statements, judged.decision.holds, block=block, now=time.monotonic()
        )

    def close(self) -> None:
        """The session has ended."""
        for voter in self._voters:
            self._house.people.unwatch(voter)
        self._voters.clear()

    def _stands(self, record: Record) -> bool:
        """Whether those who approved it still may."""
        return approved(record.hold, record.votes, self._house.people.groups_of)

    def _keep_watching(self, user: str) -> None:
        if user not in self._voters:
            self._voters.add(user)
            task = asyncio.ensure_future(self._house.people.watch(user))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _until_taken(self, waiting: Waiting) -> Record | None:
        """The hold as people have decided it, used up; None where its time is over."""
        desk, hold = self._house.desk, waiting.record.hold
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(hold.seconds):
                await self._tell_until_ended(waiting)
                while True:
                    try:
                        return await desk.take(waiting)
                    except StoreUnavailable:
                        await desk.store_back()
        return None

    async def _tell_until_ended(self, waiting: Waiting) -> None:
        number, hold = waiting.record.number, waiting.record.hold
        needs = "; ".join(f"by rule {one.rule}: needs {wanted(one)}" for one in hold.requirements)
        end = time.monotonic() + hold.seconds
        while not waiting.ended.is_set():
            self._tell(f"held as #{number} {needs}; waiting up to {in_words(end - time.monotonic())}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiting.ended.wait(), self._house.config.holds.remind_seconds)


class Stamp(msgspec.Struct, frozen=True):
    """What all sessions share, each by the number of its version: rules, directory, probes; and the second it is."""

    rules: int
    directory: int
    probes: int
    second: int


class Held(msgspec.Struct, frozen=True):
    """A statement with its decision. `stamp`: what must still be so for the decision to be good."""

    statements: tuple[Facts, ...]
    context: Context
    decision: Decision
    stamp: Stamp


def _refused(message: str, hold: Hold) -> Refusal:
    rules = ", ".join(f'"{one.rule}"' for one in hold.requirements)
    return Refusal(SqlState.INSUFFICIENT_PRIVILEGE, message, detail=f"Held by {rules}. Audit id: {hold.audit_id}.")
