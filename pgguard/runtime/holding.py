"""One session's held statements: hands a hold to the desk, keeps the client told, and waits for how it ends."""

import asyncio
import logging
import time
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from pgguard.audit.log import AuditUnavailable
from pgguard.holds.desk import Ending, Pending
from pgguard.holds.hold import Groups, Hold, Person, approved, wanted
from pgguard.model.access import Kind
from pgguard.model.context import Context
from pgguard.model.decision import Decision
from pgguard.model.facts import Facts
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.runtime.house import House
from pgguard.runtime.judging import Wait
from pgguard.runtime.login import Login

_log = logging.getLogger(__name__)

_REMIND_SECONDS = 60.0

_TRANSACTION_SECONDS = 120.0
"""The longest wait inside a transaction, whose locks others wait for."""


class Grant(msgspec.Struct, frozen=True):
    """An approval that was given: good for what is exactly as it was."""

    hold: Hold
    facts: tuple[Facts, ...]
    ending: Ending


class Holding:
    """`tell` gives the client a notice."""

    def __init__(self, house: House, login: Login, tell: Callable[[str], None]) -> None:
        self._house = house
        self._login = login
        self._tell = tell

    def hold(self, audit_id: str, text: str, values: tuple[str | None, ...], judged: "Held") -> Hold:
        block = judged.context.block is not False
        limit = min(one.timeout for one in judged.decision.holds)
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
            requirements=judged.decision.holds,
            since=time.time(),
            seconds=min(limit, _TRANSACTION_SECONDS) if block else limit,
        )

    def wait(self, hold: Hold, facts: tuple[Facts, ...]) -> Generator[Wait, Any, Grant | Refusal]:
        """Until people have decided, or its time is over. The hold is closed whatever ends the waiting."""
        desk = self._house.desk
        pending = desk.submit(hold)
        event = "withdrawn"
        try:
            ending: Ending | None = yield Wait(self._until_ended(pending))
            if ending is None:
                event = "expired"
                return _refused(f"hold #{pending.number} was not approved within {_minutes(hold.seconds)}", hold)
            if not ending.approved:
                return _refused(f"{ending.by} refused hold #{pending.number}: {ending.why}", hold)
            if not approved(hold, ending.votes, self._groups_of):
                return _refused(f"an approver of hold #{pending.number} may not approve it any more", hold)
            return Grant(hold, facts, ending)
        finally:
            try:
                desk.close(pending, event)
            except AuditUnavailable as error:  # a session must be able to end all the same
                _log.error("the end of a hold was not recorded: %s", error)  # told in full

    def good(self, grant: Grant, judged: "Held") -> bool:
        """Whether what was approved is what would run now, under the same rules, by people who still may."""
        return (
            grant.facts == judged.statements
            and grant.hold.requirements == judged.decision.holds
            and grant.hold.rules == self._house.rulebook.current.identity
            and approved(grant.hold, grant.ending.votes, self._groups_of)
        )

    def _groups_of(self, user: str) -> Groups:
        membership = self._house.directory.membership(user)
        return None if membership is None else membership.groups

    async def _until_ended(self, pending: Pending) -> Ending | None:
        loop = asyncio.get_running_loop()
        needs = "; ".join(f"by rule {one.rule}: needs {wanted(one)}" for one in pending.hold.requirements)
        end = loop.time() + pending.hold.seconds
        while (left := end - loop.time()) > 0:
            self._tell(f"held as #{pending.number} {needs}; waiting up to {_minutes(left)}")
            done, _ = await asyncio.wait({pending.ending}, timeout=min(left, _REMIND_SECONDS))
            if done:
                return pending.ending.result()
        return None


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


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
