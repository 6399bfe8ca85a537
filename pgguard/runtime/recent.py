"""What one session was decided in this very second: the same statement in the same circumstances is decided the same.

Theory of operation. A decision depends on the statements' facts, on the rules, and on the context. What of the context
may differ from one statement of a session to the next is gathered in Circumstances; the rest was fixed at login. The
clock counts by the second here: no condition looks closer, so `Context.at` of a decision that is used again is the
moment at which it was made, at most a second before.

# INVARIANT: Circumstances names everything that a Context is made of after login (`Approval` makes both, side by side).
"""

import msgspec

from pgguard.model.context import Unknown
from pgguard.model.facts import Facts
from pgguard.runtime.holding import Held, Stamp

_REMEMBERED = 32
"""Decisions of a session's last second: what a transaction of an application usually repeats."""


class Circumstances(msgspec.Struct, frozen=True):
    """`known`: the directory can tell the user's groups. `state`: the names of the probes with a fresh value."""

    stamp: Stamp
    known: bool
    application: str
    block: bool | None
    read_only: bool | None
    reason: str
    estimate: Unknown
    state: tuple[str, ...]


class RecentDecisions:
    def __init__(self) -> None:
        self._stamp: Stamp | None = None
        self._made: dict[tuple[int, Circumstances], Held] = {}
        """By the identity of the statements, which each entry itself keeps alive, and their circumstances.

        These come back: in a transaction a block is open between its first and its last statement, and each statement
        of the extended protocol is judged without its values first, at its Parse.
        """

    def find(self, statements: tuple[Facts, ...], circumstances: Circumstances) -> Held | None:
        return self._made.get((id(statements), circumstances))

    def add(self, circumstances: Circumstances, made: Held) -> None:
        if circumstances.stamp != self._stamp or len(self._made) >= _REMEMBERED:
            self._stamp = circumstances.stamp
            self._made = {}
        self._made[id(made.statements), circumstances] = made
