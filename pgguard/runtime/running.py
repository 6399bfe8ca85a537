"""Which statements run, by request number: what their outcome's record needs to know.

The database answers in order: what it has answered is forgotten, with all before it. So there are as many as are in
flight, and an idle session has none.
"""

from collections import OrderedDict

import msgspec

from pgguard.model.context import Context
from pgguard.model.facts import Facts

_ROOM = 8 << 20
"""Bytes that the facts of all may take; past it the oldest lose their outcomes. Those of a large statement take a
megabyte, and nothing bounds how many a client has in flight.
"""


class Running(msgspec.Struct, frozen=True):
    """What was allowed, as what, and in which context. `since`: monotonic seconds."""

    audit_id: str
    since: float
    statements: tuple[Facts, ...]
    context: Context

    @property
    def cost(self) -> int:
        return sum([facts.cost for facts in self.statements])

    @property
    def changes_catalog(self) -> bool:
        """Its end is a reason to refresh the catalog."""
        return any([facts.changes_catalog for facts in self.statements])  # noqa: C419  # it is short, and asked each time


class RunningStatements:
    def __init__(self) -> None:
        self._running: OrderedDict[int, tuple[Running, int]] = OrderedDict()
        self._taken = 0
        self._latest: tuple[Facts, ...] = ()
        self._newest = 0

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, number: int, running: Running) -> None:
        cost = 0 if running.statements is self._latest else running.cost  # one that is repeated has the same facts
        self._latest = running.statements
        self._newest = number
        self._running[number] = running, cost
        self._taken += cost
        while self._taken > _ROOM and len(self._running) > 1:
            self._forget_oldest()

    def answered(self, number: int) -> None:
        """The database has finished with this request, and so with all before it."""
        if number >= self._newest:  # as nearly always
            self._running.clear()
            self._taken = 0
            return
        while self._running and next(iter(self._running)) <= number:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, (_, cost) = self._running.popitem(last=False)
        self._taken -= cost

    def of(self, number: int) -> Running | None:
        found = self._running.get(number)
        return None if found is None else found[0]
