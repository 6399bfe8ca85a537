"""One session's held statements: hands a hold to the desk, keeps the client told, and waits for how it ends."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import msgspec

from pgguard.audit.log import AuditUnavailable
from pgguard.audit.records import DecisionMade
from pgguard.holds.desk import Waiting
from pgguard.holds.hold import Hold, approved, in_words, shown, wanted
from pgguard.holds.store import Record, StoreUnavailable
from pgguard.model.access import Access, Kind
from pgguard.model.context import Unknown
from pgguard.model.control import ExecutePrepared, FetchCursor
from pgguard.model.decision import HoldRequirement
from pgguard.model.facts import Facts
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.policy.wording import access_in_words
from pgguard.runtime.backend import BackendConnection
from pgguard.runtime.coverage import Coverage
from pgguard.runtime.house import House
from pgguard.runtime.judging import Wait
from pgguard.runtime.login import Login
from pgguard.runtime.recent import Held
from pgguard.runtime.settings_question import SessionState
from pgguard.session.judgement import Names, Request

_log = logging.getLogger(__name__)


class Grant(msgspec.Struct, frozen=True):
    """An approval that was given: good for what is exactly as it was."""

    record: Record
    facts: tuple[Facts, ...]
    state: SessionState | None


class Holding:
    """`tell` gives the client a notice."""

    def __init__(self, house: House, login: Login, database: BackendConnection, tell: Callable[[str], None]) -> None:
        self._house = house
        self._login = login
        self._database = database
        self._tell = tell
        self.waited = 0.0
        """Seconds that the statement which is judged has waited for people."""
        self._voters: set[str] = set()
        """Those whose approvals may reach on: their groups are known until the session ends."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.coverage = Coverage(self._stands)

    def needed(
        self, request: Request, names: Names, judged: Held
    ) -> tuple[tuple[HoldRequirement, ...], tuple[int, ...]]:
        """What people must still say to it, and the holds whose approvals reach it."""
        self.coverage.under(self._house.rulebook.current.identity)
        return self.coverage.needed(request, names, judged.statements, judged.decision.holds, now=time.monotonic())

    def hold(
        self,
        record: DecisionMade,
        names: Names,
        judged: Held,
        needed: tuple[HoldRequirement, ...],
        rows: float | Unknown,
    ) -> Hold:
        """`needed`: what of the decision no earlier approval covers. `rows`: the planner's, for the approvers."""
        block = judged.context.block is not False
        limit = min(one.timeout for one in needed)
        return Hold(
            audit_id=record.id,
            session=self._login.session,
            requester=self._login.person,
            database=self._login.database,
            text=self._house.audit.redactor.for_people(record.text),
            values=record.values,
            accesses=_in_words(judged.statements),
            rows=f"{rows:g}" if isinstance(rows, float) else "",
            address=self._login.address,
            reason=judged.context.reason,
            in_transaction=block,
            rules=self._house.rulebook.current.identity,
            requirements=needed,
            since=time.time(),
            seconds=min(limit, self._house.config.holds.transaction_seconds) if block else limit,
            named=tuple(self._named(judged.statements, names)),
            search_path=None if judged.state is None else judged.state.search_path,
            role=None if judged.state is None else judged.state.current_user,
            host=self._database.host,
            process=self._database.key.process,
        )

    def _named(self, statements: tuple[Facts, ...], names: Names) -> Iterator[tuple[str, str]]:
        """What runs by its name, and has been named before."""
        for facts in statements:
            match facts.control:
                case ExecutePrepared(name=name) if (prepared := names.prepared(name)) is not None:
                    yield f"prepared statement {name}", self._shown(prepared.text)
                case FetchCursor(name=name) if (portal := names.portal(name)) is not None:
                    yield f"cursor {name}", self._shown(portal.prepared.text)
                case _:
                    pass

    def _shown(self, text: bytes) -> str:
        return self._house.audit.redactor.for_people(text.decode("utf-8", "backslashreplace"))

    def wait(self, hold: Hold, judged: Held) -> Generator[Wait, Any, Grant | Refusal]:
        """Until people have decided, or its time is over. The hold is closed whatever ends the waiting."""
        desk = self._house.desk
        submission = asyncio.ensure_future(desk.submit(hold))
        try:
            waiting: Waiting = yield Wait(submission)
        except GeneratorExit:
            submission.add_done_callback(self._withdraw)
            raise
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
                return _refused(f"{by} refused hold #{number}: {shown(why)}", hold)
            if record.hold != hold or not self._stands(record):
                return _refused(f"an approver of hold #{number} may not approve it any more", hold)
            ending = "approved"
            return Grant(record, judged.statements, judged.state)
        finally:
            waited = time.monotonic() - began
            self.waited += waited
            self._house.metrics.waited(ending, waited)
            desk.close(waiting, event)

    def _withdraw(self, submission: asyncio.Future[Waiting]) -> None:
        """The statement was given up as its hold came to be, perhaps in the very turn: nobody waits for that."""
        if not submission.cancelled() and submission.exception() is None:
            self._house.desk.close(submission.result(), "withdrawn")

    def good(self, grant: Grant, judged: Held, needed: tuple[HoldRequirement, ...]) -> bool:
        """Whether what was approved is what would run now, under the same rules, by people who still may."""
        return (
            grant.facts == judged.statements
            and grant.state == judged.state
            and grant.record.hold.requirements == needed
            and grant.record.hold.rules == self._house.rulebook.current.identity
            and self._stands(grant.record)
        )

    def use(self, grant: Grant, request: Request, judged: Held) -> None:
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


def _in_words(statements: tuple[Facts, ...]) -> tuple[str, ...]:
    """What they do, but for calls of built-in functions."""
    accesses = sorted({access for facts in statements for access in facts.accesses})
    return tuple(access_in_words(one) for one in accesses if not _built_in(one))


def _built_in(access: Access) -> bool:
    return access.kind is Kind.FUNCTION and access.object.schema == "pg_catalog"


def _refused(message: str, hold: Hold) -> Refusal:
    rules = ", ".join(f'"{one.rule}"' for one in hold.requirements)
    return Refusal(SqlState.INSUFFICIENT_PRIVILEGE, message, detail=f"Held by {rules}. Audit id: {hold.audit_id}.")
