"""Facts: everything a decision needs to know of one statement's text."""

import msgspec

from pgguard.model.access import Access
from pgguard.model.control import Control

_ACCESS, _NAME = 500, 60
"""Bytes that an access and a column's name take, as measured where each has its own."""


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one statement touches, as PostgreSQL will understand it.

    `kind`: the tag as in CommandComplete, without counts ("SELECT", "CREATE TABLE").
    `accesses`: sorted and without repetition.
    `opaque`: why the statement cannot be seen through; then `accesses` holds a `run` on kind `opaque` too.
    `shape`: the statement without constants, case, spacing, comments and qualification of names: equal shapes
    are the same statement in the sense of the rule language's `shape`.
    `control`: what it does to names and transactions.
    `unsettles`: after it search_path, role or settings may be others (SET, set_config, ROLLBACK, DISCARD, calls of
    functions that may SET): pgguard asks the database before it judges the next statement that depends on them.
    `changes_catalog`: DDL: names may mean something else after it.
    `needs_settings`: the analysis used the search_path or the role: it has unqualified names.
    `estimable`: EXPLAIN can estimate it. `reads_only`: it plainly changes nothing.
    """

    kind: str
    accesses: tuple[Access, ...] = ()
    opaque: str | None = None
    shape: str = ""
    control: Control | None = None
    unsettles: bool = False
    changes_catalog: bool = False
    needs_settings: bool = False
    estimable: bool = False
    reads_only: bool = False

    @property
    def cost(self) -> int:
        """About how many bytes of memory they take."""
        names = sum([len(access.columns or ()) + len(access.candidates) for access in self.accesses])
        return len(self.shape) + _ACCESS * len(self.accesses) + _NAME * names
