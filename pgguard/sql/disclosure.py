"""What the DETAIL of an error shows of a table: the reads that it amounts to.

Theory of operation. A violated constraint is reported with values of the row, also of columns that the statement never
read: "Failing row contains (…)" has all of them, "Key (ssn)=(…) already exists." those of the key. PostgreSQL shows of
these what the database user may read (ExecBuildSlotValueDescription, BuildIndexValueDescription), which is pgguard's
own user: so the rules must be asked the same question. The error names its table in the fields `s` and `t` (PostgreSQL
docs, section 55.8), and the columns of a key stand in the DETAIL, in every language as "(a, b)=(".

# INVARIANT: what cannot be read off for certain counts as the whole row.
"""

from collections.abc import Mapping

from pgguard.model.access import Access, Privilege
from pgguard.sql.catalog import Catalog, Relation
from pgguard.sql.environment import access_to

_FOREIGN_KEY_VIOLATION = "23503"
_OF_KEYS = frozenset({_FOREIGN_KEY_VIOLATION, "23505", "23P01"})
"""Violations that show a key. The others show a row, whose values may look like one."""

_ABSENT, _REFERENCED = "is not present in table", "is still referenced from table"


def shown_by(fields: Mapping[str, str], catalog: Catalog) -> tuple[Access, ...] | None:
    """The reads that an error's DETAIL amounts to; None where its table is not known. `fields`: by their letters."""
    relation = catalog.relation(fields.get("s", ""), fields.get("t", ""))
    if relation is None:
        return None
    detail = fields.get("D", "")
    shown = [relation]
    if fields.get("C") == _FOREIGN_KEY_VIOLATION:
        # the error's table is the one that references; the key may be that of the one that is referenced
        only = {phrase for phrase in (_ABSENT, _REFERENCED) if phrase in detail}
        if only != {_ABSENT}:
            shown += catalog.referenced_by(relation)
        if only == {_REFERENCED}:
            shown.remove(relation)
    return tuple(access_to(found, Privilege.SELECT, _columns(fields, found)) for found in shown) or None


def _columns(fields: Mapping[str, str], relation: Relation) -> tuple[str, ...]:
    # by hand: a regular expression would look from each parenthesis of the values to the end of them
    key, is_key, _ = fields.get("D", "").partition("(")[2].partition(")=(")
    plain = not any(mark in column for column in relation.columns for mark in ', ()"')
    named = tuple(key.split(", ")) if is_key and plain and fields.get("C") in _OF_KEYS else ()
    return named if named and set(named) <= set(relation.columns) else relation.columns
