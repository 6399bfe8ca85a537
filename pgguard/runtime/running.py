"""Which statements run, by request number: what their outcome's record needs to know."""

from collections import OrderedDict

import msgspec

from pgguard.model.context import Context
from pgguard.model.facts import Facts

_REMEMBERED = 1024
"""Requests that are remembered: more than a pipeline usually has in flight; older ones only lose their duration."""


class Running(msgspec.Struct, frozen=True):
    """What was allowed, as what, and in which context. `since`: monotonic seconds."""

    audit_id: str
    since: float
    statements: tuple[Facts, ...]
    context: Context

    @property
    def changes_catalog(self) -> bool:
        """Its end is a reason to refresh the catalog."""
        return any(facts.changes_catalog for facts in self.statements)


class RunningStatements:
    def __init__(self) -> None:
        self._running: OrderedDict[int, Running] = OrderedDict()

    def begin(self, number: int, running: Running | None) -> None:
        if running is not None:
            self._running[number] = running
            if len(self._running) > _REMEMBERED:
                self._running.popitem(last=False)

    def of(self, number: int) -> Running | None:
        return self._running.get(number)
