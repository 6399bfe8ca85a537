"""Which statements run, by request number: what their outcome's record needs to know."""

from collections import OrderedDict

import msgspec

from pgguard.model.context import Context
from pgguard.model.facts import Facts

_REMEMBERED = 1024
"""Requests that are remembered: more than a pipeline usually has in flight; older ones only lose their duration."""


_ROOM = 8 << 20
"""Bytes that their facts may take: those of a large statement take a megabyte."""


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
        return any(facts.changes_catalog for facts in self.statements)


class RunningStatements:
    def __init__(self) -> None:
        self._running: OrderedDict[int, Running] = OrderedDict()
        self._taken = 0

    def begin(self, number: int, running: Running | None) -> None:
        if running is None:
            return
        self._running[number] = running
        self._taken += running.cost
        while len(self._running) > 1 and (len(self._running) > _REMEMBERED or self._taken > _ROOM):
            self._taken -= self._running.popitem(last=False)[1].cost

    def of(self, number: int) -> Running | None:
        return self._running.get(number)
