"""Facts by statement text: a known statement is not analysed again.

The key is the text itself, or its skeleton where the facts depend on no constant (sql/skeleton.py; a skeleton holds a
NUL, which no text does), with everything its meaning depends on (database, the session's settings); the entry is good
for one generation of the catalog. The text, never a hash of it, is compared: an attacker cannot make two statements
meet (design, section 4). Bounded by what it holds, least recently used first out: facts may be many times as large as
their text, and so each entry has its own cost.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

_V = TypeVar("_V")

_ENTRY_COST = 2048
"""What an entry costs beside its text and value, in bytes."""


class FactsCache(Generic[_V]):
    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._used = 0
        self._entries: OrderedDict[tuple[str, object], tuple[int, _V, int]] = OrderedDict()
        self.hits = 0
        self.misses = 0
        """Statements that had to be analysed, as whoever analyses them counts."""

    def get(self, text: str, scope: object, generation: int) -> _V | None:
        """The value of this text in this scope, if it was put under this generation of the catalog."""
        key = (text, scope)
        entry = self._entries.get(key)
        if entry is None or entry[0] != generation:
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return entry[1]

    def put(self, text: str, scope: object, generation: int, value: _V, cost: int = 0) -> None:
        """`cost`: of the value, in bytes."""
        cost += len(text) + _ENTRY_COST
        before = self._entries.pop((text, scope), None)
        self._used += cost - (0 if before is None else before[2])
        self._entries[(text, scope)] = (generation, value, cost)
        while self._used > self._capacity:
            self._used -= self._entries.popitem(last=False)[1][2]
