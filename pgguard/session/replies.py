"""The server's half of a session: whose answer each message is, and what the client sees of it.

Theory of operation. Headers are scanned in place; what the client shall see is forwarded in runs of whole buffers,
rows undecoded. Only messages that end or change something are read: completions, errors, ReadyForQuery. A message that
is not whole yet waits, but for rows, COPY data and results of function calls, whose parts go on at once, or are dropped
at once, so that a large value is never held. An error or notice may be as large: the database takes texts of a gigabyte
into its messages. Of one over a megabyte the beginning is read and told, and the rest is dropped.
"""

import struct
from collections.abc import Callable, Mapping
from typing import ClassVar

from pgguard.model.control import FetchCursor
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.session import refusing
from pgguard.session.events import CancelWanted, Event, Outcome, ParameterChanged
from pgguard.session.expected import Awaits, Entry, Expected
from pgguard.session.judgement import Answer, Failed, Rows, TransactionStatus
from pgguard.session.names import NameMap
from pgguard.wire import backend
from pgguard.wire.constants import Backend, Frontend
from pgguard.wire.framing import Message, ProtocolViolation, headers_alike

_DATA_ROW = int(Backend.DATA_ROW)
_COPY_DATA = int(Backend.COPY_DATA)
_ROWS = frozenset({_DATA_ROW, _COPY_DATA})
_RESULT = int(Backend.FUNCTION_CALL_RESPONSE)
_TOLD = frozenset({int(Backend.ERROR_RESPONSE), int(Backend.NOTICE_RESPONSE)})
_LONGEST_TOLD = 1 << 20
"""Bytes of an error or notice."""

_LONGEST_WHY = 2000
"""Characters of what the database says of a question that failed: it is recorded, and redacted, as a refusal."""
_HEADER = 5
_unpack = struct.Struct("!BI").unpack_from
"""The type and the length of the message that begins there."""

_FEW_ROWS = 1024
"""Bytes in which it does not pay to look whether rows are of one length."""

_ONE_BY_ONE = range(1, 129)
"""Rows between looks whether those that follow are of one length."""

_SHOWING_ROWS = ("23", "44")
"""The SQLSTATE classes whose errors show values of a row: integrity constraint and WITH CHECK OPTION violations."""

_WITHHELD = "The values are not shown: the rules do not let you read all of them."

_QUERY_CANCELED = SqlState.QUERY_CANCELED.value
_TOO_MANY = SqlState.CONFIGURATION_LIMIT_EXCEEDED.value

# constants of their own: see Awaits
_QUERY, _PARSE, _BIND, _DESCRIBE = Awaits.QUERY, Awaits.PARSE, Awaits.BIND, Awaits.DESCRIBE
_EXECUTE, _CLOSE, _SYNC = Awaits.EXECUTE, Awaits.CLOSE, Awaits.SYNC
_IDLE = TransactionStatus.IDLE
_STATUS = {status.value: status for status in TransactionStatus}


class Replies:
    """Reads what the database sends, by the queue of what it was sent. `may_show`, `may_hear`: see `Judge`."""

    def __init__(
        self,
        parameters: dict[str, str],
        may_show: Callable[[int, Mapping[str, str]], bool],
        may_hear: Callable[[str], bool],
        *,
        walsender: bool = False,
        processes: tuple[int, int] = (0, 0),
    ) -> None:
        self.parameters = parameters
        self._backend, self._shown_as = (number.to_bytes(4, "big") for number in processes)
        self._may_show = may_show
        self._may_hear = may_hear
        self._walsender = walsender
        self.streaming = False
        """Both sides send CopyData, until each has said CopyDone or the database ReadyForQuery."""
        self.expected = Expected()
        self.names = NameMap()
        self.status = TransactionStatus.IDLE
        self.skipping = False
        """An error in the extended protocol: the database skips until the next Sync."""
        self.copying_in = False
        self.copy_starts: Entry | None = None
        """The entry that may start, or has started, a COPY FROM STDIN: until it ends, its replies decide."""
        self.limited: Entry | None = None
        """The entry whose result may be cut: nothing is sent behind it, since it may yet end in an error."""
        self.hidden_failure: Failed | None = None
        """A question inside a segment failed: the database skips, and the client does not know yet."""
        self.poison_wanted = False
        """The client was told of an error that the database does not know of: it must be made to skip."""
        self.question_failed = False
        """A question of pgguard's own failed: the database skipped the Close of its statement, which may be left."""
        self.answers: list[Answer] = []
        self.events: list[Event] = []
        self._output: list[bytes] = []
        self._held = bytearray()
        """The beginning of a message that is to be read, and `_wanted`: how much of it."""
        self._wanted = 0
        self._passing = 0
        self._dropping = 0
        """Bytes of the message under way, which the client sees or not."""

    def take_output(self) -> list[bytes]:
        output, self._output = self._output, []
        return output

    def take_events(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    def insert(self, message: bytes) -> None:
        """A message of pgguard's own to the client: between two of the server's.

        In the middle of a row whose rest is still to come nothing may be said: it is left out (only notices can fall
        there, since everything else waits until the session is quiet).
        """
        if self._passing == 0:
            self._output.append(message)

    def expect(self, entry: Entry) -> None:
        self.expected.append(entry)
        if entry.copies_in:
            self.copy_starts = entry
        if entry.max_rows is None:
            return
        if entry.awaits is _QUERY or (entry.awaits is _EXECUTE and not entry.copies_in):
            self.limited = entry

    def copied_in(self, message: Message) -> None:
        head = self.expected.head
        if head is not None:
            head.copied += len(message.raw) - message.parts * _HEADER
        if message.type != Frontend.COPY_DATA:
            self.copying_in = False
            if head is not None and head.awaits is Awaits.EXECUTE:
                self.copy_starts = None  # no other COPY can follow, and the database tells the end behind a Sync only

    def receive(self, data: bytes) -> None:
        """Bytes from the database."""
        start = 0
        if self._passing:
            start = min(self._passing, len(data))
            self._passing -= start
            if self._passing:
                self._output.append(data)
                return
        elif self._dropping:
            dropped = min(self._dropping, len(data))
            self._dropping -= dropped
            data = data[dropped:]
        elif self._held:
            self._held += data  # joined piece by piece, a large message would be copied as often as it has pieces
            if len(self._held) < self._wanted:
                return
            data, self._held = bytes(self._held), bytearray()
        self._scan(data, start)

    def _scan(self, data: bytes, at: int) -> None:
        """Forward `data` in runs; `begin` is where the run starts that has not been forwarded yet."""
        begin, size = 0, len(data)
        while size - at >= _HEADER:
            kind, length = _unpack(data, at)
            end = at + 1 + length
            if kind in _ROWS and self._plain_rows:
                at = self._pass_rows(data, at)
                continue
            if end > size and self._waits_for_more(kind, size - at):
                break
            if kind in _ROWS:
                shown = self._row(data, at, end) if kind == _DATA_ROW else self._copy_out(end - at)
                replacement = None if shown else b""
            elif end > size:
                replacement = self._begun(kind, data[at:])
            else:
                read = self._READERS.get(kind)
                replacement = self._as_head() if read is None else read(self, data[at:end])
            if replacement is not None:
                self._forward(data, begin, at)
                if replacement:
                    self._output.append(replacement)
                begin = min(end, size)
            if end > size and replacement is None:
                self._passing = end - size
            elif end > size:
                self._dropping = end - size
            at = min(end, size)
        self._forward(data, begin, at)
        self._hold(data[at:])

    def _waits_for_more(self, kind: int, here: int) -> bool:
        """Whether of a message that is not whole more than what is `here` must come before it can be dealt with."""
        if kind in _ROWS:
            head = self.expected.head
            return head is not None and head.hidden  # it answers a question of pgguard's own
        return kind != _RESULT and (kind not in _TOLD or here < _LONGEST_TOLD)

    def _begun(self, kind: int, beginning: bytes) -> bytes | None:
        """What of a message goes on whose rest nobody waits for; as of `_reply`."""
        if kind == _RESULT:
            return self._as_head()
        told = backend.cut_short(beginning)
        read = self._READERS[kind]
        replacement = read(self, told)
        return told if replacement is None else replacement

    def _hold(self, rest: bytes) -> None:
        """Keep the beginning of a message until it can be dealt with."""
        if not rest:
            return
        self._held += rest
        self._wanted = _HEADER
        if len(rest) >= _HEADER:
            kind, length = _unpack(rest)
            self._wanted = min(1 + length, _LONGEST_TOLD) if kind in _TOLD else 1 + length

    @property
    def _plain_rows(self) -> bool:
        """Whether each row that comes now is the client's, and none is counted against a limit."""
        head = self.expected.head
        return head is not None and not (head.hidden or head.failed or head.cut or head.max_rows is not None)

    def _pass_rows(self, data: bytes, at: int) -> int:
        """A run of rows or COPY data that all go to the client; where it ends. The last may still be under way."""
        head = self.expected.head
        assert head is not None, "it has been looked at"
        unpack, size, begin, rows, single = _unpack, len(data), at, 0, 0
        first, length = unpack(data, at)
        kind = first
        try:
            while kind == first:
                alike = headers_alike(data, at) if size - at > _FEW_ROWS else 1
                rows, single = rows + single + alike, 0
                at += alike * (1 + length)
                kind, length = unpack(data, at)
                if kind != first:
                    break
                for single in _ONE_BY_ONE:  # noqa: B007  # it counts, also where the end of `data` ends it
                    at += 1 + length
                    kind, length = unpack(data, at)
                    if kind != first:
                        break
        except struct.error:
            pass  # the end of `data`: to look for it at each row would be dear
        rows += single
        head.rows += rows
        if first == _COPY_DATA:
            head.copied += at - begin - rows * _HEADER
        if at > size:
            self._passing = at - size
            return size
        return at

    def _forward(self, data: bytes, begin: int, end: int) -> None:
        if end > begin:
            self._output.append(data if begin == 0 and end == len(data) else data[begin:end])

    def _row(self, data: bytes, at: int, end: int) -> bool:
        """One DataRow; whether the client sees it. A row that is not whole is counted when its start is here."""
        head = self.expected.head
        if head is None:
            return True
        if head.hidden:
            row = backend.read_data_row(data[at:end])
            head.gathered.append(tuple(None if v is None else v.decode("utf-8", "replace") for v in row))
            return False
        return self._counted(head)

    def _copy_out(self, length: int) -> bool:
        """One CopyData of the database; whether the client sees it."""
        head = self.expected.head
        if head is None:
            return True
        head.copied += length - _HEADER
        return self._counted(head)

    def _counted(self, head: Entry) -> bool:
        """Count a row; whether it is still among those that the rules allow."""
        if head.max_rows is not None and not head.cut:
            portal = _portal_name(head)
            if head.rows == 0 and portal is not None:
                head.before = self.names.rows_read(portal)
            if head.before + head.rows >= head.max_rows:
                head.cut = True
                self.events.append(CancelWanted())
        if head.cut or head.failed:
            return False
        head.rows += 1
        return True

    # everything but rows: returns None to let the message pass, b"" to hide it, other bytes to replace it

    def _as_head(self) -> bytes | None:
        """Shown or not as all that is answered to the entry that stands first."""
        head = self.expected.head
        return b"" if head is not None and (head.hidden or head.failed) else None

    def _parsed(self, raw: bytes) -> bytes | None:
        del raw
        entry = self._pop(_PARSE)
        if entry.prepared is not None:
            self.names.parsed(entry.name, entry.prepared)
        return b"" if entry.hidden else None

    def _bound(self, raw: bytes) -> bytes | None:
        del raw
        entry = self._pop(_BIND)
        if entry.portal is not None:
            self.names.bound(entry.name, entry.portal)
        return b"" if entry.hidden else None

    def _closed(self, raw: bytes) -> bytes | None:
        del raw
        entry = self._pop(_CLOSE)
        # also of pgguard's own: a client that has given its question's name to a statement has it no more
        if entry.closes_portal:
            self.names.close_portal(entry.name)
        else:
            self.names.close_statement(entry.name)
        return b"" if entry.hidden else None

    def _described(self, raw: bytes) -> bytes | None:
        del raw
        shown = self._as_head()
        head = self.expected.head
        if head is not None and head.awaits is _DESCRIBE:
            self.expected.done()
        return shown

    def _copying_in(self, raw: bytes) -> bytes | None:
        del raw
        self.copying_in = True
        self.copy_starts = self.expected.head
        return self._as_head()

    def _copying_both(self, raw: bytes) -> bytes | None:
        del raw
        head = self.expected.head
        if not self._walsender or head is None or head is not self.copy_starts:
            raise ProtocolViolation("the server started a replication stream that was not asked for")
        self.copying_in = self.streaming = True
        return self._as_head()

    def _parameter(self, raw: bytes) -> bytes | None:
        name, value = backend.read_parameter_status(raw)
        self.parameters[name] = value
        self.events.append(ParameterChanged(name, value))
        return None

    def _notice(self, raw: bytes) -> bytes | None:
        del raw
        return None

    def _notified(self, raw: bytes) -> bytes | None:
        """A client hears what it may hear now: its LISTEN was judged once.

        It knows its own by the number that it was told at login: among nodes another than the backend's.
        """
        if not self._may_hear(backend.read_channel(raw)):
            return b""
        own = raw[_HEADER : _HEADER + 4] == self._backend
        return raw[:_HEADER] + self._shown_as + raw[_HEADER + 4 :] if own else None

    def _pop(self, awaits: Awaits) -> Entry:
        head = self.expected.head
        if head is None or head.awaits is not awaits:
            raise ProtocolViolation(f"the server answered a {awaits.name} that was not next")
        self.expected.done()
        return head

    def _ready(self, raw: bytes) -> bytes | None:
        head = self.expected.head
        if head is None or (head.awaits is not _SYNC and head.awaits is not _QUERY):
            raise ProtocolViolation("the server was ready for a query out of turn")
        self.expected.done()
        status = _STATUS.get(raw[_HEADER:])
        if status is None:
            raise ProtocolViolation(f"the server has an unknown transaction status {raw[_HEADER:]!r}")
        self.status = status
        if head.awaits is _QUERY:
            if not head.call:
                self.names.close_statement("")
            self.streaming = False
            self._over(head)
        if status is _IDLE:
            self.names.transaction_ended()
        return b"" if head.hidden else None

    def _complete(self, raw: bytes) -> bytes | None:
        return self._ended(backend.read_command_tag(raw))

    def _empty(self, raw: bytes) -> bytes | None:
        del raw
        return self._ended("")

    def _ended(self, tag: str) -> bytes | None:
        head = self.expected.head
        if head is None:
            raise ProtocolViolation("the server completed a command that was not sent")
        if head.hidden:
            self.answers.append(Rows(tuple(head.gathered)))
            if head.awaits is not _QUERY:
                self.expected.done()
            return b""
        if head.control is not None:
            touched = head.touched[head.index] if head.touched else ()
            self.names.completed(head.control, head.number, touched, head.portal)
        replacement = self._ran(head, tag)
        head.index += 1
        head.rows = head.before = head.copied = 0
        if head.awaits is _EXECUTE:
            self.expected.done()
            self._over(head)
        return replacement

    def _suspended(self, raw: bytes) -> bytes | None:
        del raw
        head = self._pop(_EXECUTE)
        self._over(head)
        if head.hidden:
            self.answers.append(Rows(tuple(head.gathered)))
            return b""
        return self._ran(head, "PORTAL SUSPENDED")

    def _ran(self, head: Entry, tag: str) -> bytes | None:
        """A statement has run.

        Where the cancel came too late for a result that grew too long, the client gets its error all the same: of a
        Query it sees nothing more, and an Execute is followed by a poison, so that the database skips what the client
        will take for skipped.
        """
        portal = None if head.max_rows is None else _portal_name(head)
        if portal is not None:
            self.names.read_rows(portal, head.before + head.rows)
        error = _TOO_MANY if head.cut else None
        if not head.failed:
            self.events.append(Outcome(head.number, head.index, tag, head.rows, error, head.copied))
        if not head.cut:
            return b"" if head.failed else None
        head.cut = False
        head.failed = True
        self.poison_wanted = head.awaits is Awaits.EXECUTE
        return refusing.refusal_error(_too_many_rows(head))

    def _error(self, raw: bytes) -> bytes | None:
        fields = backend.read_fields(raw)
        head = self.expected.head
        if head is None or fields.get("V", fields.get("S")) in {"FATAL", "PANIC"}:
            return None
        self.names.failed()
        replacement: bytes | None = b"" if head.hidden else None
        sqlstate = fields.get("C", "")
        if head.poison is not None:
            replacement = b"" if head.hidden else refusing.refusal_error(head.poison.refusal)
        elif head.hidden:
            self.question_failed = True
            self.answers.append(Failed(sqlstate, fields.get("M", "")[:_LONGEST_WHY]))
        else:
            if head.cut and sqlstate == _QUERY_CANCELED:
                sqlstate = _TOO_MANY
                replacement = refusing.refusal_error(_too_many_rows(head))
            elif "D" in fields and sqlstate[:2] in _SHOWING_ROWS and not self._may_show(head.number, fields):
                replacement = backend.error({**fields, "D": _WITHHELD})
            self._failed(head, sqlstate)
        self.copying_in = False
        if head.awaits is Awaits.QUERY:
            head.failed = True
        else:
            self._over(head)
            self._skip_to_sync(head)
        return replacement

    def _failed(self, head: Entry, sqlstate: str) -> None:
        if head.awaits is Awaits.PARSE and not head.name:
            self.names.close_statement("")
        if head.number and head.awaits in {Awaits.QUERY, Awaits.EXECUTE, Awaits.BIND, Awaits.PARSE}:
            self.events.append(Outcome(head.number, head.index, None, head.rows, sqlstate, head.copied))

    def _skip_to_sync(self, failed: Entry) -> None:
        for entry in self.expected.skip_to_sync():
            self._over(entry)
            if entry.number and not entry.failed and entry.poison is None:
                self.events.append(Outcome(entry.number, 0, None))
        if len(self.expected) == 0:
            if failed.hidden and failed.poison is None:
                failure = self.answers[-1]
                assert isinstance(failure, Failed)
                self.hidden_failure = failure
            else:
                self.skipping = True

    def _over(self, entry: Entry) -> None:
        if entry is self.copy_starts:
            self.copy_starts = None
            self.copying_in = False
        if entry is self.limited:
            self.limited = None

    _READERS: ClassVar[dict[int, Callable[["Replies", bytes], bytes | None]]] = {
        Backend.ERROR_RESPONSE: _error,
        Backend.READY_FOR_QUERY: _ready,
        Backend.COMMAND_COMPLETE: _complete,
        Backend.EMPTY_QUERY_RESPONSE: _empty,
        Backend.PORTAL_SUSPENDED: _suspended,
        Backend.PARSE_COMPLETE: _parsed,
        Backend.BIND_COMPLETE: _bound,
        Backend.CLOSE_COMPLETE: _closed,
        Backend.NO_DATA: _described,
        Backend.ROW_DESCRIPTION: _described,
        Backend.COPY_IN_RESPONSE: _copying_in,
        Backend.COPY_BOTH_RESPONSE: _copying_both,
        Backend.PARAMETER_STATUS: _parameter,
        Backend.NOTICE_RESPONSE: _notice,
        Backend.NOTIFICATION_RESPONSE: _notified,
    }


def _portal_name(entry: Entry) -> str | None:
    """The portal that a statement reads through: an Execute's own, or the cursor that a FETCH names.

    None where nothing can be read on: a Query's statements run in portals that end with them.
    """
    if isinstance(entry.control, FetchCursor):
        return entry.control.name
    return entry.name if entry.awaits is Awaits.EXECUTE else None


def _too_many_rows(entry: Entry) -> Refusal:
    return Refusal(
        SqlState.CONFIGURATION_LIMIT_EXCEEDED,
        f"result is longer than the {entry.max_rows} rows that the rules allow",
        hint="Ask for fewer rows, for example with LIMIT, or ask for a rule that allows more.",
    )
