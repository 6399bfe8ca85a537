"""How far an approval reaches beyond the statement that waited.

Theory of operation. A hold rule says what one approval covers: the statement, the transaction, or the session for a
time. What an approved cursor or portal goes on to read was approved with it, within its transaction: a FETCH and a
further Execute are no new question. All of it is good only under the rule set under which it was given, and while
those who gave it still may.

A transaction is taken for ended as soon as anything that ends it is sent, and whenever the database has been idle;
where what is in flight may end it, nothing is covered before that has been answered. Only an approval that was given
in a block that was surely open reaches over one.

# INVARIANT: nothing is covered by an approval of another rule, of another session, or of other accesses.
"""

from collections.abc import Callable, Sequence

import msgspec

from pgguard.holds.store import Record
from pgguard.model.access import Access
from pgguard.model.control import CloseCursor, DeclareCursor, FetchCursor, Transaction, TransactionVerb
from pgguard.model.decision import Covers, HoldRequirement
from pgguard.model.facts import Facts
from pgguard.session.judgement import Moment, Names, Portal, Request

_READS_ON = frozenset({"FETCH", "MOVE"})
_ENDS = frozenset({TransactionVerb.COMMIT, TransactionVerb.ROLLBACK, TransactionVerb.PREPARE})


class _Reach(msgspec.Struct, frozen=True):
    record: Record
    requirement: HoldRequirement
    until: float | None
    """None: the end of the transaction."""


class _Reading(msgspec.Struct, frozen=True):
    """A cursor or portal that was approved: what it reads, and what was asked for that."""

    record: Record
    accesses: frozenset[Access]
    requirements: tuple[HoldRequirement, ...]


class Coverage:
    """Of one session. `stands`: whether those who approved a hold still may."""

    def __init__(self, stands: Callable[[Record], bool]) -> None:
        self._stands = stands
        self._rules = ""
        self._idle = 0
        self._reaches: list[_Reach] = []
        self._cursors: dict[tuple[str, bytes], _Reading] = {}
        """By name and query: another cursor of the same name is none of these."""
        self._portals: list[tuple[Portal, _Reading]] = []

    @property
    def reaches(self) -> bool:
        """Whether anything that was approved goes on, or may: then what runs may end it."""
        return bool(self._reaches or self._cursors or self._portals)

    def under(self, rules: str) -> None:
        """What was approved under other rules reaches nowhere."""
        if rules != self._rules:
            self._reaches.clear()
            self.end_transaction()
            self._rules = rules

    @property
    def within_transaction(self) -> bool:
        """Whether anything reaches as far as the transaction: then it must be known whether that is still the same."""
        return any(one.until is None for one in self._reaches)

    def needed(
        self,
        request: Request,
        names: Names,
        statements: Sequence[Facts],
        wanted: tuple[HoldRequirement, ...],
        *,
        now: float,
    ) -> tuple[tuple[HoldRequirement, ...], tuple[int, ...]]:
        """What of `wanted` no approval covers, and the numbers of the holds whose approvals cover the rest."""
        if names.idle != self._idle:
            self.end_transaction()
            self._idle = names.idle
        reading = self._reading(request, names, statements)
        ends = _ends_transaction(statements)
        uncovered, used = [], set()
        for requirement in wanted:
            record = self._record(requirement, reading, now, ends=ends)
            if record is None:
                uncovered.append(requirement)
            else:
                used.add(record.number)
        return tuple(uncovered), tuple(sorted(used))

    def approved(  # noqa: PLR0913  # all that decides how far it reaches
        self,
        record: Record,
        request: Request,
        statements: Sequence[Facts],
        wanted: tuple[HoldRequirement, ...],
        *,
        block: bool,
        now: float,
    ) -> None:
        """These, which were relayed just now, go on by this approval; all that was `wanted` for them is settled."""
        inside = block and not _ends_transaction(statements)
        for one in record.hold.requirements:
            if one.covers is Covers.SESSION:
                self._reaches.append(_Reach(record, one, now + (one.lasts or 0.0)))
            elif one.covers is Covers.TRANSACTION and inside:
                self._reaches.append(_Reach(record, one, None))
        self._reaches = [one for one in self._reaches if _lasts(one, now)]
        if request.portal is not None and request.moment is Moment.BIND:
            self._portals.append((request.portal, _Reading(record, _accesses(statements), wanted)))
        for facts in statements:
            if isinstance(facts.control, DeclareCursor) and inside:
                key = facts.control.name, facts.control.query.encode()
                self._cursors[key] = _Reading(record, frozenset(facts.accesses), wanted)

    def relayed(self, statements: Sequence[Facts]) -> None:
        """These go on to the database: what they may end is over."""
        if not self.reaches:
            return
        if _ends_transaction(statements):
            self.end_transaction()
        for facts in statements:
            match facts.control:
                case CloseCursor(name=str(name)):
                    self._cursors = {key: reading for key, reading in self._cursors.items() if key[0] != name}
                case CloseCursor() | Transaction(verb=TransactionVerb.ROLLBACK_TO):
                    self._cursors.clear()
                case _:
                    pass

    def end_transaction(self) -> None:
        if not self.reaches:
            return  # as nearly always
        self._reaches = [one for one in self._reaches if one.until is not None]
        self._cursors.clear()
        self._portals.clear()

    def _record(
        self, requirement: HoldRequirement, reading: _Reading | None, now: float, *, ends: bool
    ) -> Record | None:
        """The hold whose approval covers this. `ends`: the string ends the transaction, and goes on in another."""
        if reading is not None and requirement in reading.requirements:
            return reading.record
        for reach in self._reaches:
            reaches = reach.requirement == requirement and _lasts(reach, now) and not (ends and reach.until is None)
            if reaches and self._stands(reach.record):
                return reach.record
        return None

    def _reading(self, request: Request, names: Names, statements: Sequence[Facts]) -> _Reading | None:
        """The approved cursor or portal that this reads on."""
        found = None
        if request.moment is Moment.EXECUTE:
            found = next((reading for portal, reading in self._portals if portal is request.portal), None)
        if found is None and len(statements) == 1 and statements[0].kind in _READS_ON:
            control = statements[0].control
            portal = names.portal(control.name) if isinstance(control, FetchCursor) else None
            if isinstance(control, FetchCursor) and portal is not None:
                found = self._cursors.get((control.name, portal.prepared.text))
        stands = found is not None and _accesses(statements) <= found.accesses and self._stands(found.record)
        return found if stands else None


def _ends_transaction(statements: Sequence[Facts]) -> bool:
    return any(isinstance(facts.control, Transaction) and facts.control.verb in _ENDS for facts in statements)


def _lasts(reach: _Reach, now: float) -> bool:
    return reach.until is None or now < reach.until


def _accesses(statements: Sequence[Facts]) -> frozenset[Access]:
    return frozenset(access for facts in statements for access in facts.accesses)
