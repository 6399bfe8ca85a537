"""Facts by statement text: a known statement is not analysed again.

The key is the text itself, or its skeleton where the facts depend on no constant (sql/skeleton.py; a skeleton holds a
NUL, which no text does), with everything its meaning depends on (database, the session's settings); the entry is good
for one generation of the catalog. The text, never a hash of it, is compared: an attacker cannot make two statements
meet (design, section 4). Bounded by the characters of the texts it holds, least recently used first out.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

_V = TypeVar("_V")

_ENTRY_COST = 2048
"""What an entry costs beside its text, in bytes: a guess on the safe side for the facts of a usual statement."""


class FactsCache(Generic[_V]):
    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._used = 0
        self._entries: OrderedDict[tuple[str, object], tuple[int, _V]] = OrderedDict()
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

    def put(self, text: str, scope: object, generation: int, value: _V) -> None:
        if (text, scope) not in self._entries:
            self._used += len(text) + _ENTRY_COST
        self._entries[(text, scope)] = (generation, value)
        self._entries.move_to_end((text, scope))
        while self._used > self._capacity:
            (old, _), _ = self._entries.popitem(last=False)
            self._used -= len(old) + _ENTRY_COST
