"""Names that hide others: a name without its schema means the first of the search_path that has it, a column that
of the innermost query.

Whoever may drop or rename that first one can do so while a statement waits for a lock that they hold: the database
looks names up again then, long after the statement was judged. So it is read anew with each of them gone, alone and
together. Overloads are looked behind where they are picked (functions.py).
"""

from collections.abc import Iterable, Iterator

from pgguard.sql.environment import Hiding, TooComplex

_MOST = 1_024
"""Combinations: ten names that stand in two schemas each."""
_SHOWN = 4


Gone = frozenset[Hiding]


class Combinations:
    """Which of the objects that hide others are gone: every combination that makes a difference, each once.

    What hides the third of a name comes to light only as the first is gone, so `add` and iteration take turns.
    """

    def __init__(self) -> None:
        self._needs: dict[Hiding, Gone] = {}
        """Each with those of its name that must be gone before it is found."""
        self._known: dict[Gone, None] = {frozenset(): None}
        self._waiting: list[Gone] = []

    def add(self, hiding: Iterable[Hiding], gone: Gone) -> None:
        """What was found to hide others where these are gone. Raises TooComplex where that makes too many."""
        new = sorted(set(hiding) - self._needs.keys())
        for one in new:
            same = (other for other in gone if (other.what, other.name) == (one.what, one.name))
            self._needs[one] = frozenset() if one.column else frozenset(same)
        for one in new:
            for known in list(self._known):
                self._extend(known, one)

    def __iter__(self) -> Iterator[Gone]:
        while self._waiting:
            gone = self._waiting.pop()
            for one in self._needs:
                self._extend(gone, one)
            yield gone

    def _extend(self, gone: Gone, one: Hiding) -> None:
        more = gone | {one}
        if more in self._known or not self._needs[one] <= gone:
            return
        if len(self._known) > _MOST:
            raise TooComplex(
                f"{self._names()} may each mean several things, in too many combinations to be judged: "
                "write relations with their schema, and columns with their table"
            )
        self._known[more] = None
        self._waiting.append(more)

    def _names(self) -> str:
        names = sorted({one.column or one.name for one in self._needs})
        shown = [f'"{name}"' for name in names[:_SHOWN]]
        return ", ".join(shown) + (f" and {len(names) - _SHOWN} more names" if len(names) > _SHOWN else "")
