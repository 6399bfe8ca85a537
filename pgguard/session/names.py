"""The names that protocol and SQL share: prepared statements, and portals with the cursors among them.

A map changes only when the database has confirmed the change (ParseComplete, BindComplete, CloseComplete,
CommandComplete): Parse of an existing name fails and the old statement survives, a failed Parse of the unnamed one
drops it, DEALLOCATE may fail (field notes, section 1).
"""

from pgguard.model.access import Access
from pgguard.model.control import (
    CloseCursor,
    Control,
    Deallocate,
    DeclareCursor,
    Discard,
    Prepare,
)
from pgguard.session.judgement import Meaning, Portal, Prepared

_NAMING = (Prepare, Deallocate, DeclareCursor, CloseCursor, Discard)


_NAME_BYTES = 63


def known_as(name: bytes) -> str:
    """The name as the database knows it: it tells statements and portals apart by NAMEDATALEN - 1 bytes.

    # INVARIANT: two names that are one to the database are one here, or one would be judged and the other run.
    """
    return name[:_NAME_BYTES].decode("utf-8", "surrogateescape")


def changes_names(control: Control | None) -> bool:
    """Whether a statement with this control adds or removes names when it completes."""
    return isinstance(control, _NAMING)


class NameMap:
    """What exists in the database's session, as far as confirmed. Implements `judgement.Names`."""

    def __init__(self) -> None:
        self._statements: dict[str, Prepared] = {}
        self._portals: dict[str, Portal] = {}
        self._holdable: set[str] = set()
        self._rows: dict[str, int] = {}
        self._idle = 0

    @property
    def idle(self) -> int:
        return self._idle

    def prepared(self, name: str) -> Prepared | None:
        return self._statements.get(name)

    def portal(self, name: str) -> Portal | None:
        return self._portals.get(name)

    def parsed(self, name: str, prepared: Prepared) -> None:
        self._statements[name] = prepared

    def bound(self, name: str, portal: Portal) -> None:
        self._portals[name] = portal
        self._rows.pop(name, None)

    def rows_read(self, name: str) -> int:
        """Rows that were fetched through this portal before: a row limit counts over all fetches."""
        return self._rows.get(name, 0)

    def read_rows(self, name: str, rows: int) -> None:
        self._rows[name] = rows

    def close_statement(self, name: str) -> None:
        self._statements.pop(name, None)

    def close_portal(self, name: str) -> None:
        self._portals.pop(name, None)
        self._holdable.discard(name)
        self._rows.pop(name, None)

    def transaction_ended(self) -> None:
        """All portals are gone but the cursors declared WITH HOLD (PostgreSQL docs, DECLARE)."""
        self._idle += 1
        if len(self._portals) > len(self._holdable):
            self._portals = {name: portal for name, portal in self._portals.items() if name in self._holdable}
        if len(self._rows) > len(self._holdable):
            self._rows = {name: rows for name, rows in self._rows.items() if name in self._holdable}

    def completed(
        self, control: Control, number: int, touched: tuple[Access, ...] = (), portal: Portal | None = None
    ) -> None:
        """A statement with this control has completed; `number` is that of its request.

        `touched`: what it was judged to touch, if it named another. `portal`: of an Execute, what it ran, whose values
        are those of the query of a cursor that it declared.
        """
        match control:
            case Prepare():
                prepared = Prepared(control.query.encode(), meaning=Meaning(touched), origin=number)
                self._statements[control.name] = prepared
            case Deallocate(name=None):
                self._statements.clear()
            case Deallocate(name=str(name)):
                self._statements.pop(name, None)
            case DeclareCursor():
                self._declared(control, number, touched, portal or Portal(Prepared(b"")))
            case CloseCursor(name=None):
                self._close_all_portals()
            case CloseCursor(name=str(name)):
                self.close_portal(name)
            case Discard(what="ALL"):
                self._statements.clear()
                self._close_all_portals()
            case _:
                pass  # leaves the names as they are

    def _declared(self, cursor: DeclareCursor, number: int, touched: tuple[Access, ...], by: Portal) -> None:
        types = by.prepared.parameter_types
        query = Prepared(cursor.query.encode(), types, meaning=Meaning(touched), origin=number)
        self._portals[cursor.name] = Portal(query, by.parameters, by.formats)
        self._rows.pop(cursor.name, None)
        if cursor.holdable:
            self._holdable.add(cursor.name)

    def _close_all_portals(self) -> None:
        self._portals.clear()
        self._holdable.clear()
        self._rows.clear()
