"""What was allowed just now, as a case by which the same statement is allowed again, in the same circumstances.

Theory of operation. A statement that is allowed at once, since its decision is known (recent.py), makes a case. It
keeps all that led from the statement to its record: what the text means and by what that was told, the decision with
its circumstances, the form of the record. While none of this has changed, at most to the end of the second, a
repetition needs to find none of it again.

A case is of use for a second, a session may be idle for days: so the house keeps the cases of this second, and sessions
refer to them weakly.

# INVARIANT: what a case allows `Approval.at_once` would allow, with the same record.
"""

from pgguard.audit.encoding import Form
from pgguard.runtime.recent import Held
from pgguard.runtime.understanding import Understood
from pgguard.session.judgement import Precedent, TransactionStatus

_ROOM = 16 << 20
"""Bytes that the cases of a second may take."""

_CASE = 1024
"""Bytes of one beside its facts and its form."""


class Case(Precedent, frozen=True):
    """`binds`: it was allowed at its Bind, and so is its Execute. `needs_told`: the rules look at what the session must
    tell. `inert`: it changes nothing by which later ones are understood.
    """

    judged: Held
    understood: Understood
    status: TransactionStatus
    binds: bool
    formats: tuple[int, ...]
    needs_told: bool
    inert: bool
    form: Form


class Cases:
    """Those of this second, of all sessions."""

    def __init__(self) -> None:
        self._second = 0
        self._taken = 0
        self._kept: list[Case] = []

    def keep(self, case: Case) -> None:
        second = case.judged.stamp.second
        cost = _CASE + len(case.form.first) + sum([facts.cost for facts in case.judged.statements])
        self._taken += cost
        if second != self._second or self._taken > _ROOM:
            self._second, self._taken, self._kept = second, cost, []
        self._kept.append(case)
