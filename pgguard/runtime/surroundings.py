"""What a decision depends on beside the statement, as it is now: for the rules, and to know whether it is as it was.

`Context` is what the rules look at. `Circumstances` tell whether a decision may serve again (recent.py).

# INVARIANT: whatever of a Context may change in a session is in its Circumstances: both are made here, side by side.
"""

import time
from collections.abc import Mapping

from pgguard.model.context import Context, Unknown
from pgguard.model.control import ExecutePrepared, Transaction
from pgguard.model.facts import Facts
from pgguard.runtime.house import House
from pgguard.runtime.login import Login
from pgguard.runtime.recent import AtLogin, Circumstances, Stamp
from pgguard.runtime.settings_question import SessionState
from pgguard.runtime.understanding import Understanding
from pgguard.session.judgement import Moment, Request, TransactionStatus

# constants of their own: see session.expected.Awaits
_AT_PARSE = Moment.PARSE
_IDLE = TransactionStatus.IDLE
_SKIPPED, _NOT_ASKED = Unknown.SKIPPED, Unknown.NOT_ASKED


class Surroundings:
    """Of one session. `parameters`: what its database has told of its settings."""

    def __init__(self, house: House, login: Login, understanding: Understanding, parameters: Mapping[str, str]) -> None:
        self._house = house
        self._understanding = understanding
        self._parameters = parameters
        self.at_login = AtLogin(
            user=login.user,
            principal=str(login.principal),
            database=login.database,
            address=login.address,
            transport=login.transport,
            ticket=login.ticket,
        )

    def stamp(self) -> Stamp:
        """What must still be so for a decision of this moment to be good."""
        house = self._house
        return Stamp(house.rulebook.generation, house.directory.generation, house.probes.generation, int(time.time()))

    def circumstances(self, request: Request, statements: tuple[Facts, ...]) -> Circumstances:
        return self.circumstances_with(_block(request, statements), _estimate(request))

    def circumstances_with(self, block: bool | None, estimate: Unknown) -> Circumstances:
        membership = self._house.directory.membership(self.at_login.user)
        return Circumstances(
            stamp=self.stamp(),
            groups=None if membership is None else membership.groups,
            application=self._parameters.get("application_name", ""),
            block=block,
            settings=self._understanding.state,
            estimate=estimate,
            state=tuple(self._house.probes.fresh()),
        )

    def context(self, request: Request | None, statements: tuple[Facts, ...]) -> Context:
        """`request`: None for what no request has brought, of whose transaction nothing is known."""
        login, state = self.at_login, self._understanding.state
        membership = self._house.directory.membership(login.user)
        return Context(
            user=login.user,
            principal=login.principal,
            database=login.database,
            at=time.time(),
            groups=None if membership is None else membership.groups,
            address=login.address,
            transport=login.transport,
            application=self._parameters.get("application_name", ""),
            ticket=login.ticket,
            block=None if request is None else _block(request, statements),
            read_only=None if request is None else _read_only(state, statements),
            reason="" if state is None else state.reason,
            state=self._house.probes.fresh(),
            estimated_rows=Unknown.UNKNOWN if request is None else _estimate(request),
        )


def _block(request: Request, statements: tuple[Facts, ...]) -> bool | None:
    """None where it cannot be told, or is not the same for all statements of a string."""
    if len(statements) > 1 and any(_moves_block(facts) for facts in statements):
        return None
    return request.status is not _IDLE if request.quiet or request.steady else None


def _read_only(state: SessionState | None, statements: tuple[Facts, ...]) -> bool | None:
    if state is None or (len(statements) > 1 and any(one.unsettles or _moves_block(one) for one in statements)):
        return None
    return state.read_only


def _moves_block(facts: Facts) -> bool:
    """Whether it begins or ends a transaction block, or may: what is executed by its name may be a BEGIN."""
    return isinstance(facts.control, Transaction | ExecutePrepared)


def _estimate(request: Request) -> Unknown:
    return _SKIPPED if request.moment is _AT_PARSE else _NOT_ASKED
