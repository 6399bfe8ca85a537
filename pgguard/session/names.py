"""The names that protocol and SQL share: prepared statements, and portals with the cursors among them.

A map changes only when the database has confirmed the change (ParseComplete, BindComplete, CloseComplete,
CommandComplete): Parse of an existing name fails and the old statement survives, a failed Parse of the unnamed one
drops it, DEALLOCATE may fail (field notes, section 1).

Prepared statements outlive transactions. Portals go with the transaction, or the savepoint, that made them; a cursor
WITH HOLD stays once its transaction has committed (PostgreSQL source, portalmem.c). So the savepoints that are open are
known as well.

# INVARIANT: a portal that the database has closed is known no more: a function could open another under its name, whose
rows would be judged by the query of the one before.
"""

from pgguard.model.access import Access
from pgguard.model.control import (
    CloseCursor,
    Control,
    Deallocate,
    DeclareCursor,
    Discard,
    Prepare,
    Transaction,
    TransactionVerb,
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
        """Cursors WITH HOLD of the open transaction, and `_held`: those of transactions that have committed."""
        self._held: set[str] = set()
        self._savepoints: list[str | None] = []
        self._depths: dict[str, int] = {}
        """How many savepoints are around a portal; it stands here where there is any."""
        self._failed = False
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
        if self._savepoints:
            self._depths[name] = len(self._savepoints)

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
        self._held.discard(name)
        self._depths.pop(name, None)
        self._rows.pop(name, None)

    def failed(self) -> None:
        """An error: the transaction, if it is not led back to a savepoint, will have made nothing."""
        self._failed = True

    def transaction_ended(self) -> None:
        """The database is idle: no transaction is open."""
        self._idle += 1
        self._leave_transaction(committed=not self._failed)

    def _leave_transaction(self, *, committed: bool) -> None:
        """All portals are gone but the cursors declared WITH HOLD (PostgreSQL docs, DECLARE)."""
        self._failed = False
        if self._savepoints:
            self._savepoints.clear()
            self._depths.clear()
        if self._holdable:
            self._held |= self._holdable if committed else set()
            self._holdable.clear()
        if len(self._portals) > len(self._held):
            self._portals = {name: portal for name, portal in self._portals.items() if name in self._held}
        if len(self._rows) > len(self._held):
            self._rows = {name: rows for name, rows in self._rows.items() if name in self._held}

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
            case Transaction():
                self._transaction(control)
            case _:
                pass  # leaves the names as they are

    def _declared(self, cursor: DeclareCursor, number: int, touched: tuple[Access, ...], by: Portal) -> None:
        types = by.prepared.parameter_types
        query = Prepared(cursor.query.encode(), types, meaning=Meaning(touched), origin=number)
        self.bound(cursor.name, Portal(query, by.parameters, by.formats))
        if cursor.holdable:
            self._holdable.add(cursor.name)

    def _close_all_portals(self) -> None:
        self._portals.clear()
        self._holdable.clear()
        self._held.clear()
        self._depths.clear()
        self._rows.clear()

    def _transaction(self, control: Transaction) -> None:
        match control.verb:
            case TransactionVerb.COMMIT | TransactionVerb.PREPARE:  # another may follow at once: AND CHAIN
                self._leave_transaction(committed=not self._failed)
            case TransactionVerb.ROLLBACK:
                self._leave_transaction(committed=False)
            case TransactionVerb.SAVEPOINT:
                self._savepoints.append(control.savepoint)
            case TransactionVerb.RELEASE:
                self._release(self._place_of(control.savepoint))
            case TransactionVerb.ROLLBACK_TO:
                self._roll_back_to(self._place_of(control.savepoint))
            case TransactionVerb.BEGIN:
                pass

    def _place_of(self, savepoint: str | None) -> int:
        """Of the innermost one of that name; if none is known, the first: that takes most along."""
        return max((place for place, name in enumerate(self._savepoints) if name == savepoint), default=0)

    def _release(self, place: int) -> None:
        """What was made since belongs to what is around the savepoint."""
        del self._savepoints[place:]
        self._depths = {name: min(depth, place) for name, depth in self._depths.items() if place}

    def _roll_back_to(self, place: int) -> None:
        """What was made since is gone; the savepoint itself stays."""
        self._failed = False
        del self._savepoints[place + 1 :]
        for name in [name for name, depth in self._depths.items() if depth > place]:
            self.close_portal(name)
