"""What was decided in this very second: the same statement in the same circumstances is decided the same.

Theory of operation. A decision depends on the statements' facts, on the rules, and on the context. What of the context
was fixed at login is in AtLogin: sessions that have it in common, as those of a pool do, share what was decided. What
may differ from one statement to the next is gathered in Circumstances. The clock counts by the second here: no
condition looks closer, so `Context.at` of a decision that is used again is the moment at which it was made, at most a
second before.

# INVARIANT: AtLogin and Circumstances name everything that a Context is made of (surroundings.py makes all three, side
by side).
"""

from weakref import WeakValueDictionary

import msgspec

from pgguard.model.context import Context, Ticket, Transport, Unknown
from pgguard.model.decision import Decision
from pgguard.model.facts import Facts
from pgguard.runtime.settings_question import SessionState

_REMEMBERED = 128
"""Decisions of a second: what the transactions of an application usually repeat."""

_ROOM = 4 << 20
"""Bytes that their facts may take: a few large statements would otherwise stay for as long as anybody's session."""


class Stamp(msgspec.Struct, frozen=True):
    """What all sessions share, each by the number of its version: rules, directory, probes; and the second it is."""

    rules: int
    directory: int
    probes: int
    second: int


class AtLogin(msgspec.Struct, frozen=True):
    user: str
    principal: str
    database: str
    address: str | None
    transport: Transport
    ticket: Ticket


class Circumstances(msgspec.Struct, frozen=True):
    """`groups`: the user's, None where the directory cannot tell them. `state`: the probes with a fresh value."""

    stamp: Stamp
    groups: tuple[str, ...] | None
    application: str
    block: bool | None
    settings: SessionState | None
    estimate: Unknown
    state: tuple[str, ...]


class Held(msgspec.Struct, frozen=True):
    """A statement with its decision. `circumstances`: what must still be so for the decision to be good.

    `state`: the session's settings by which it was understood; None where none mattered.
    """

    statements: tuple[Facts, ...]
    context: Context
    decision: Decision
    circumstances: Circumstances
    state: SessionState | None = None

    @property
    def stamp(self) -> Stamp:
        return self.circumstances.stamp


class RecentDecisions:
    """Of sessions that have in common what was fixed at login."""

    def __init__(self) -> None:
        self._stamp: Stamp | None = None
        self._taken = 0
        self._made: dict[tuple[int, Circumstances], Held] = {}
        """By the identity of the statements, which each entry itself keeps alive, and their circumstances.

        These come back: in a transaction a block is open between its first and its last statement, and each statement
        of the extended protocol is judged without its values first, at its Parse.
        """

    def find(self, statements: tuple[Facts, ...], circumstances: Circumstances) -> Held | None:
        return self._made.get((id(statements), circumstances))

    def add(self, made: Held) -> None:
        circumstances = made.circumstances
        self._taken += sum([facts.cost for facts in made.statements])
        if circumstances.stamp != self._stamp or len(self._made) >= _REMEMBERED or self._taken > _ROOM:
            self._stamp = circumstances.stamp
            self._taken = sum([facts.cost for facts in made.statements])
            self._made = {}
        self._made[id(made.statements), circumstances] = made


class Decisions:
    """Of all sessions."""

    def __init__(self) -> None:
        self._recent: WeakValueDictionary[AtLogin, RecentDecisions] = WeakValueDictionary()

    def of(self, at_login: AtLogin) -> RecentDecisions:
        """Theirs who have this in common; it is gone with the last of them."""
        recent = self._recent.get(at_login)
        if recent is None:
            recent = self._recent[at_login] = RecentDecisions()
        return recent
