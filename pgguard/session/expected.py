"""The queue of expected replies: what was sent to the database and has not been answered yet, in order.

Theory of operation. The database answers in the order in which it was asked, so the reply to each message is known by
position. Each message relayed (or poisoned, or asked by pgguard itself) appends an entry; the reply that ends it takes
it off. After an error in the extended protocol the database skips everything up to the next Sync: so do the entries.
NoticeResponse, NotificationResponse and ParameterStatus belong to no entry and never take one off.

What stands in flight about a name is asked for each Bind and Execute, and a pipeline may have thousands of entries in
flight: entries are numbered as they are sent, and for each name and each kind that matters the latest one is kept.
"""

from collections import deque
from enum import Enum, IntEnum, auto

import msgspec

from pgguard.model.access import Access
from pgguard.model.control import Control
from pgguard.session.judgement import Portal, Prepared, Refuse
from pgguard.session.names import changes_names


class Awaits(IntEnum):
    """The kind of message an entry stands for, by the replies that end it.

    Code that runs for each message reads the members from constants of its module: before Python 3.12 reading a member
    of an enum is a call.
    """

    QUERY = auto()
    """Query or FunctionCall: ends with ReadyForQuery."""
    PARSE = auto()
    BIND = auto()
    DESCRIBE = auto()
    EXECUTE = auto()
    CLOSE = auto()
    SYNC = auto()


_QUERY, _PARSE, _BIND, _CLOSE, _SYNC = Awaits.QUERY, Awaits.PARSE, Awaits.BIND, Awaits.CLOSE, Awaits.SYNC
_RUNNING = frozenset({Awaits.QUERY, Awaits.EXECUTE, Awaits.SYNC})


class Entry(msgspec.Struct, eq=False):
    """One message that the database has not finished answering.

    `number` is that of the judged request, 0 for messages that are not judged. `hidden`: a question of pgguard's own,
    whose replies the client never sees. `call`: a FunctionCall, which the unnamed statement outlives.
    `controls`, `touched`, `index`: of each statement of the string, and which one runs.
    `rows`: sent to the client of this statement; `before`: by earlier fetches from the same portal. `cut`: the result
    grew too long, and the database has been asked to stop. `failed`: the client got its error, and sees no more.
    """

    awaits: Awaits
    number: int = 0
    name: str = ""
    hidden: bool = False
    call: bool = False
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
    gathered: list[tuple[str | None, ...]] = []
    place: int = 0
    """Which one of all that were sent."""

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
        self._sent = 0
        self._answered_place = 0
        self._last_boundary = self._last_query = self._last_change = 0
        """The places of the latest Sync or Query, the latest Query, and the latest one that changes names."""
        self.answered = 0
        """The number of the latest request that the database has finished with."""
        self._statements: dict[str, Entry] = {}
        self._portals: dict[str, Entry] = {}
        """The latest entry in flight that is about a name: its Parse or Bind, or its Close."""
        self.head: Entry | None = None

    @property
    def only_prepare(self) -> bool:
        """None of them runs anything, or ends what has run."""
        return self._running == 0

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry) -> None:
        """# INVARIANT: its controls are known by now."""
        self._sent += 1
        place = entry.place = self._sent
        self._entries.append(entry)
        if self.head is None:
            self.head = entry
        awaits = entry.awaits
        if awaits in _RUNNING:
            self._running += 1
        if awaits is _SYNC:
            self._last_boundary = place
        elif awaits is _QUERY:
            self._last_boundary = self._last_query = place
        elif awaits is _PARSE:
            self._statements[entry.name] = entry
        elif awaits is _BIND:
            self._portals[entry.name] = entry
        elif awaits is _CLOSE:
            (self._portals if entry.closes_portal else self._statements)[entry.name] = entry
        if entry.controls and entry.changes_names:
            self._last_change = place

    def done(self) -> None:
        entry = self._entries.popleft()
        self.head = self._entries[0] if self._entries else None
        self._answered_place = entry.place
        self.answered = entry.number or self.answered
        awaits = entry.awaits
        if awaits in _RUNNING:
            self._running -= 1
        elif self._statements.get(entry.name) is entry:
            del self._statements[entry.name]
        elif self._portals.get(entry.name) is entry:
            del self._portals[entry.name]

    def skip_to_sync(self) -> list[Entry]:
        """Take off all entries before the next Sync, and return them; also all if no Sync was sent yet."""
        skipped = []
        while self.head is not None and self.head.awaits is not _SYNC:
            skipped.append(self.head)
            self.done()
        return skipped

    def parse_in_flight(self, name: str) -> "Entry | Barrier | None":
        """What stands in flight about a prepared statement's name.

        The entry of its Parse, if a failure of that Parse would also make the database skip what is sent now; BARRIER
        if only the reply can tell what the name will mean (# INVARIANT: a Bind is judged by the text it will run);
        None if nothing in flight can change it.
        """
        changed = self._last_change if name else max(self._last_change, self._last_query)
        found = self._statements.get(name)
        if found is not None and found.place > changed:
            return self._unless_cut_off(found)
        return BARRIER if changed > self._answered_place else None

    def bind_in_flight(self, name: str) -> "Entry | Barrier | None":
        """The same for a portal's name."""
        found = self._portals.get(name)
        if found is not None and found.place > self._last_change:
            return self._unless_cut_off(found)
        return BARRIER if max(self._last_change, self._last_boundary) > self._answered_place else None

    def _unless_cut_off(self, found: Entry) -> "Entry | Barrier":
        """An entry, unless it takes the name away, or a failure of it would not reach what is sent now."""
        return BARRIER if found.awaits is _CLOSE or self._last_boundary > found.place else found


class Barrier(Enum):
    BARRIER = auto()


BARRIER = Barrier.BARRIER
