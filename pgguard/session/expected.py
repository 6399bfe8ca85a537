"""The queue of expected replies: what was sent to the database and has not been answered yet, in order.

Theory of operation. The database answers in the order in which it was asked, so the reply to each message is known by
position. Each message relayed (or poisoned, or asked by pgguard itself) appends an entry; the reply that ends it takes
it off. After an error in the extended protocol the database skips everything up to the next Sync: so do the entries.
NoticeResponse, NotificationResponse and ParameterStatus belong to no entry and never take one off.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

from pgguard.model.access import Access
from pgguard.model.control import Control
from pgguard.session.judgement import Portal, Prepared, Refuse
from pgguard.session.names import changes_names


class Awaits(Enum):
    """The kind of message an entry stands for, by the replies that end it."""

    QUERY = auto()
    """Query or FunctionCall: ends with ReadyForQuery."""
    PARSE = auto()
    BIND = auto()
    DESCRIBE = auto()
    EXECUTE = auto()
    CLOSE = auto()
    SYNC = auto()


_RUNNING = frozenset({Awaits.QUERY, Awaits.EXECUTE, Awaits.SYNC})


@dataclass(slots=True)
class Entry:
    """One message that the database has not finished answering.

    `number` is that of the judged request, 0 for messages that are not judged. `hidden`: a question of pgguard's own,
    whose replies the client never sees. `controls`, `touched`, `index`: of each statement
    of the string, and which one runs.
    `rows`: sent to the client of this statement; `before`: by earlier fetches from the same portal. `cut`: the result
    grew too long, and the database has been asked to stop. `failed`: the client got its error, and sees no more.
    """

    awaits: Awaits
    number: int = 0
    name: str = ""
    hidden: bool = False
    poison: Refuse | None = None
    prepared: Prepared | None = None
    portal: Portal | None = None
    closes_portal: bool = False
    controls: tuple[Control | None, ...] = ()
    touched: tuple[tuple[Access, ...], ...] = ()
    max_rows: int | None = None
    copies_in: bool = False
    index: int = 0
    rows: int = 0
    before: int = 0
    cut: bool = False
    failed: bool = False
    copied: int = 0
    gathered: list[tuple[str | None, ...]] = field(default_factory=list)

    @property
    def control(self) -> Control | None:
        """The control of the statement that runs now."""
        return self.controls[self.index] if self.index < len(self.controls) else None

    @property
    def changes_names(self) -> bool:
        return any(changes_names(control) for control in self.controls)


class Expected:
    """The entries, first the one the database answers now."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._running = 0

    @property
    def only_prepare(self) -> bool:
        """None of them runs anything, or ends what has run."""
        return self._running == 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def head(self) -> Entry | None:
        return self._entries[0] if self._entries else None

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._running += entry.awaits in _RUNNING

    def done(self) -> None:
        self._running -= self._entries.popleft().awaits in _RUNNING

    def skip_to_sync(self) -> list[Entry]:
        """Take off all entries before the next Sync, and return them; also all if no Sync was sent yet."""
        skipped = []
        while self._entries and self._entries[0].awaits is not Awaits.SYNC:
            skipped.append(self._entries[0])
            self.done()
        return skipped

    def parse_in_flight(self, name: str) -> "Entry | Barrier | None":
        """What stands in flight about a prepared statement's name.

        The entry of its Parse, if a failure of that Parse would also make the database skip what is sent now; BARRIER
        if only the reply can tell what the name will mean (# INVARIANT: a Bind is judged by the text it will run);
        None if nothing in flight can change it.
        """
        barrier = False
        for entry in reversed(self._entries):
            if entry.changes_names:
                return BARRIER
            if entry.awaits in {Awaits.SYNC, Awaits.QUERY}:
                barrier = True
                if entry.awaits is Awaits.QUERY and not name:
                    return BARRIER
            elif entry.name == name and (
                entry.awaits is Awaits.PARSE or (entry.awaits is Awaits.CLOSE and not entry.closes_portal)
            ):
                return BARRIER if barrier or entry.awaits is Awaits.CLOSE else entry
        return None

    def bind_in_flight(self, name: str) -> "Entry | Barrier | None":
        """The same for a portal's name."""
        barrier = False
        for entry in reversed(self._entries):
            if entry.changes_names:
                return BARRIER
            if entry.awaits in {Awaits.SYNC, Awaits.QUERY}:
                barrier = True
            elif entry.name == name and (
                entry.awaits is Awaits.BIND or (entry.awaits is Awaits.CLOSE and entry.closes_portal)
            ):
                return BARRIER if barrier or entry.awaits is Awaits.CLOSE else entry
        return BARRIER if barrier else None


class Barrier(Enum):
    BARRIER = auto()


BARRIER = Barrier.BARRIER
