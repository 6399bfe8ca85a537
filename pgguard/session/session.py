"""One client and its database connection as a state machine: bytes in, bytes and events out.

Theory of operation. Client messages are taken one by one, in order. One that carries or runs SQL is judged
(judgement.py): allowed, its very bytes go to the database; refused, a poison goes in its place (refusing.py). Each
message sent appends to the queue of expected replies (expected.py), by which `Replies` (replies.py) knows whose answer
each server message is. The database stays the one source of truth: transaction status, skipping until Sync and the
names that exist are read from its replies, never imitated.

While one message waits (for a quiet moment, an answer, a verdict, the start of a COPY) the ones after it wait behind
it, unread by anybody; `backlog` tells how much that is, so that whoever feeds the session can stop. And of a long
pipeline only so many messages are taken in one go: `unfinished` tells that more could be, `go_on` takes them, so that
whoever has other sessions to serve can do so in between.

What a client repeats word for word, but for the values that it binds, is known by rote (rote.py): such a piece is
judged by its precedent, and sent as it is.

# INVARIANT: the only ways from the client to `_to_server` are `_relay` with an Allow in hand, `_repeat` with a
precedent that the judge follows, and messages without SQL.
"""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import ClassVar

import msgspec

from pgguard.model.control import CopyIn
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.session import refusing
from pgguard.session.events import Ended, Event, Outcome, WaitsInVain
from pgguard.session.expected import Awaits, Barrier, Entry
from pgguard.session.judgement import (
    Allow,
    Answer,
    Ask,
    Failed,
    Judge,
    Later,
    Meaning,
    Moment,
    Portal,
    Precedent,
    Prepared,
    Question,
    Refuse,
    Repeated,
    Request,
    TransactionStatus,
    Verdict,
)
from pgguard.session.names import known_as
from pgguard.session.replies import Replies
from pgguard.session.rote import Known, Rote, Rotes, beginning
from pgguard.wire import backend, frontend
from pgguard.wire.constants import Frontend
from pgguard.wire.framing import FrontendFramer, Malformed, Message, ProtocolViolation

_QUESTION_NAME = b"pgguard.question"

_TURN = 16
"""Messages taken in one go: a millisecond of statements that are known, some ten of such as nobody has seen before."""

_ENDS_SKIPPING = frozenset({Frontend.SYNC, Frontend.FLUSH, Frontend.TERMINATE})
_PREPARING = frozenset({Awaits.PARSE, Awaits.DESCRIBE, Awaits.CLOSE})
_OF_PREPARED = frozenset({Moment.PARSE, Moment.BIND, Moment.EXECUTE})
_OF_PORTALS = frozenset({Moment.BIND, Moment.EXECUTE})
_SIMPLE = frozenset({Moment.QUERY, Moment.FUNCTION_CALL})
_RUNS = frozenset({Moment.QUERY, Moment.EXECUTE})

# constants of their own: see Awaits
_AT_QUERY, _AT_PARSE, _AT_BIND, _AT_EXECUTE = Moment.QUERY, Moment.PARSE, Moment.BIND, Moment.EXECUTE
_QUERY, _PARSE, _BIND, _DESCRIBE = Awaits.QUERY, Awaits.PARSE, Awaits.BIND, Awaits.DESCRIBE
_EXECUTE, _CLOSE, _SYNC = Awaits.EXECUTE, Awaits.CLOSE, Awaits.SYNC
_IDLE = TransactionStatus.IDLE
_COPY_MESSAGES = frozenset({Frontend.COPY_DATA, Frontend.COPY_DONE, Frontend.COPY_FAIL})


class _Stage(Enum):
    DRAINING = auto()
    """Until no reply is outstanding."""
    ASKING = auto()
    """Until the questions are answered."""
    ELSEWHERE = auto()
    """Until `resolve`."""


class _Waiting(msgspec.Struct):
    """A message on its way to a verdict."""

    message: Message
    request: Request
    entry: Entry
    stage: _Stage = _Stage.ELSEWHERE
    questions: tuple[Question, ...] = ()


class Session:
    """See the module. `limit`: the largest client message in bytes. `parameters`: the server's at login.

    `walsender`: a replication connection, whose server takes no extended protocol and may start a stream.
    `processes`: the number of the session's backend, and the one that its client was told at login.
    `turn`: how many messages are taken in one go.
    """

    def __init__(  # noqa: PLR0913  # what it is told at its beginning
        self,
        judge: Judge,
        *,
        limit: int,
        parameters: Mapping[str, str],
        walsender: bool = False,
        processes: tuple[int, int] = (0, 0),
        turn: int = _TURN,
    ) -> None:
        self._judge = judge
        self._walsender = walsender
        self._turn = turn
        self._framer = FrontendFramer(limit)
        self._pending: deque[Message] = deque()
        self._pending_bytes = 0
        self._to_server: list[bytes] = []
        self._preparing = 0
        """How many of the last ones there run nothing: Parse, Describe, Close."""
        self._replies = Replies(
            dict(parameters), self._may_show, self._may_hear, walsender=walsender, processes=processes
        )
        self._waiting: _Waiting | None = None
        self._requests = 0
        self._draining = False
        self._cancelling = 0
        self._segment = False
        self._segment_runs = False
        """Something that runs was relayed in the open segment."""
        self._segment_binds = False
        """A Bind or what is behind one was: a Sync would take its portal."""
        self._rounds = 0
        self._flushed = False
        self._skipping = False
        self._violation: ProtocolViolation | None = None
        """What the client sent behind the messages that are pending is no protocol."""
        self._rotes = Rotes()
        self._ending: Refusal | None = None
        self._ends_at_rest: Refusal | None = None
        self._leaving = False
        self._over = False

    # what the runtime sees

    @property
    def backlog(self) -> int:
        """Bytes from the client that wait behind a message, or for their turn.

        A message whose end is still to come waits for nothing but that: not to read on would never end.
        """
        return self._pending_bytes + self._framer.held if self._pending or self._stalled else 0

    @property
    def unfinished(self) -> bool:
        """Messages of the client's wait for nothing but their turn: call `go_on`."""
        return bool(self._pending) and not self._blocked

    @property
    def status(self) -> TransactionStatus:
        return self._replies.status

    @property
    def parameters(self) -> Mapping[str, str]:
        return self._replies.parameters

    @property
    def running(self) -> bool:
        """The database works on something of the client's."""
        return len(self._replies.expected) > 0

    @property
    def only_prepares(self) -> bool:
        """All of it prepares the request that waits, and lies here with that: nothing is to be cancelled."""
        return self.waiting is not None and len(self._replies.expected) == self._preparing

    @property
    def runs(self) -> int:
        """The number of the request that the database works on; 0 where it is none that was judged."""
        head = self._replies.expected.head
        return 0 if head is None else head.number

    @property
    def answered(self) -> int:
        """The number of the latest request that the database has finished with."""
        return self._replies.expected.answered

    @property
    def waiting(self) -> Request | None:
        """The request that waits for `resolve`, if one does."""
        waiting = self._waiting
        return waiting.request if waiting is not None and waiting.stage is _Stage.ELSEWHERE else None

    @property
    def streaming(self) -> bool:
        """A replication stream runs: it ends when either side wants it to."""
        return self._replies.streaming

    @property
    def leaving(self) -> bool:
        """The client has said goodbye, and the database still works on what it sent before."""
        return self._leaving

    @property
    def over(self) -> bool:
        return self._over

    def take_client(self) -> list[bytes]:
        return self._replies.take_output()

    def take_server(self) -> list[bytes]:
        """What goes to the database now.

        What only prepares the message that waits elsewhere stays behind with it: with a Parse PostgreSQL begins to
        count statement_timeout, which is not meant for people's time. So does what prepares a message whose turn is
        still to come: that one may have to wait.
        """
        output = self._to_server
        waits = self._waiting is not None and self._waiting.stage is _Stage.ELSEWHERE
        if self._preparing and (waits or self.unfinished):
            cut = len(output) - self._preparing
            output, self._to_server = output[:cut], output[cut:]
        else:
            self._to_server, self._preparing = [], 0
        return output

    def take_events(self) -> list[Event]:
        return self._replies.take_events()

    # what happens to it

    def client_data(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._over or self._leaving or self._violation is not None:
            return
        key = beginning(data) if self._clear else None
        known = None if key is None else self._rotes.known(key)
        if known is not None and self._repeat(data, known):
            return
        number = self._requests + 1
        self._take_in(data)
        if key is not None and self._requests >= number:
            with suppress(Exception):  # its requests have been judged, and others are judged as any then
                self._rotes.learn(key, data, number, self._judge, self._replies.names)

    def _take_in(self, data: bytes) -> None:
        try:
            for message in self._framer.feed(data):
                self._pending.append(message)
                self._pending_bytes += len(message.raw)
        except ProtocolViolation as violation:
            self._violation = violation
        self._advance()

    def go_on(self) -> None:
        """Take the next of the client's messages: where these are `unfinished`."""
        self._advance()

    def server_data(self, data: bytes) -> None:
        """Bytes from the database."""
        if self._over:
            return
        self._replies.receive(data)
        self._after_replies()

    def resolve(self, number: int, verdict: Verdict) -> None:
        """The verdict that was announced by Later."""
        waiting = self._waiting
        if waiting is not None and waiting.request.number == number and not self._over:
            self._decided(waiting, verdict)
            self._advance()

    def hold_input(self) -> None:
        """Release no more of the client's messages until `cancelled`: a late cancel would hit the next statement."""
        self._cancelling += 1

    def cancelled(self) -> None:
        """The cancel request's connection has ended."""
        self._cancelling -= 1
        self._advance()

    def notice(self, message: str, *, detail: str | None = None, hint: str | None = None) -> None:
        """Tell the client something between two server messages."""
        fields = {"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": message}
        fields |= {code: text for code, text in (("D", detail), ("H", hint)) if text}
        if not self._over:
            self._replies.insert(backend.notice(fields))

    def end(self, refusal: Refusal) -> None:
        """End the session with this FATAL error, once the statement that runs has been answered."""
        self._ending = self._ending or refusal
        self._waiting = None
        self._advance()

    def end_at_rest(self, refusal: Refusal) -> None:
        """End the session with this FATAL error as soon as it is outside a transaction, with nothing under way."""
        self._ends_at_rest = self._ends_at_rest or refusal
        self._advance()

    # the client's messages, in order

    @property
    def _blocked(self) -> bool:
        """None of them may be taken now."""
        return self._over or self._leaving or self._ending is not None or self._stalled

    @property
    def _stalled(self) -> bool:
        return (
            self._waiting is not None
            or self._cancelling > 0
            or (self._draining and len(self._replies.expected) > 0)
            or (self._replies.copy_starts is not None and not self._replies.copying_in)
            or (self._replies.limited is not None and not self._replies.copying_in)
        )

    @property
    def _at_rest(self) -> bool:
        return (
            self._waiting is None
            and not len(self._replies.expected)
            and not self._segment
            and self._replies.status is _IDLE
        )

    def _advance(self) -> None:
        """Take as many of the waiting messages as may be taken now, in one go."""
        try:
            for _ in range(self._turn):
                if self._ends_at_rest is not None and self._at_rest:
                    self._ending = self._ending or self._ends_at_rest
                if not self._pending or self._blocked:
                    break
                self._draining = False
                message = self._pending.popleft()
                self._pending_bytes -= len(message.raw)
                self._take(message)
        except ProtocolViolation as violation:
            self._violated(violation)
        if self._ending is not None and not self._over:
            self._end_when_quiet()
        if self._violation is not None and not self.unfinished:
            self._violated(self._violation)

    def _take(self, message: Message) -> None:
        kind = message.type
        if self._replies.copying_in:
            self._take_in_copy(message)
        elif kind in _COPY_MESSAGES or (self._skipping and kind in _KNOWN and kind not in _ENDS_SKIPPING):
            return  # the database would ignore it (PostgreSQL docs, sections 55.2.4 and 55.2.7)
        else:
            try:
                self._take_command(message)
            except Malformed as malformed:
                self._unreadable(message, malformed)

    def _take_in_copy(self, message: Message) -> None:
        kind = message.type
        if kind in _COPY_MESSAGES:
            self._replies.copied_in(message)
            self._put(message.raw)
        elif kind == Frontend.TERMINATE:
            self._terminate()
        elif kind not in {Frontend.SYNC, Frontend.FLUSH}:
            # in COPY the database swallows Sync and Flush, and loses synchronisation over anything else
            refusal = Refusal(
                SqlState.PROTOCOL_VIOLATION, f"unexpected message type 0x{kind:02X} during COPY from stdin"
            )
            self._replies.insert(refusing.refusal_error(refusal))
            raise ProtocolViolation("terminating connection because protocol synchronization was lost")

    def _take_command(self, message: Message) -> None:
        take = self._COMMANDS.get(message.type)
        if take is None:
            raise ProtocolViolation(f"invalid frontend message type {message.type}")
        take(self, message)

    def _take_query(self, message: Message) -> None:
        self._ask_for(message, _AT_QUERY, Prepared(frontend.read_query(message.raw).text), Entry(_QUERY))

    def _take_describe(self, message: Message) -> None:
        frontend.read_target(message.raw)
        self._send(message.raw, Entry(_DESCRIBE))
        self._segment = True

    def _take_close(self, message: Message) -> None:
        target = frontend.read_target(message.raw)
        entry = Entry(_CLOSE, name=known_as(target.name), closes_portal=target.kind == ord("P"))
        self._send(message.raw, entry)
        self._segment = True

    def _take_sync(self, message: Message) -> None:
        self._send(message.raw, Entry(_SYNC))
        self._segment = self._segment_runs = self._segment_binds = False
        self._skipping = self._replies.skipping = False
        self._rounds += 1

    def _take_flush(self, message: Message) -> None:
        self._put(message.raw)

    def _take_terminate(self, message: Message) -> None:
        del message
        self._leave()

    def _take_parse(self, message: Message) -> None:
        parse = frontend.read_parse(message.raw)
        prepared = Prepared(parse.text, parse.types, origin=self._requests + 1)
        entry = Entry(_PARSE, name=known_as(parse.name), prepared=prepared)
        self._ask_for(message, _AT_PARSE, prepared, entry)

    def _take_bind(self, message: Message) -> None:
        bind = frontend.read_bind(message.raw)
        name = known_as(bind.statement)
        found = self._replies.expected.parse_in_flight(name)
        if isinstance(found, Barrier):
            self._drain_first(message)
            return
        prepared = found.prepared if found is not None else self._replies.names.prepared(name)
        if prepared is None:
            what = f'prepared statement "{name}"' if name else "unnamed prepared statement"
            self._unknown(message, SqlState.INVALID_SQL_STATEMENT_NAME, f"{what} does not exist")
            return
        portal = Portal(prepared, bind.values, bind.formats)
        entry = Entry(_BIND, name=known_as(bind.portal), portal=portal)
        self._ask_for(message, _AT_BIND, prepared, entry, portal)

    def _take_execute(self, message: Message) -> None:
        execute = frontend.read_execute(message.raw)
        name = known_as(execute.portal)
        found = self._replies.expected.bind_in_flight(name)
        if isinstance(found, Barrier):
            self._drain_first(message)
            return
        portal = found.portal if found is not None else self._replies.names.portal(name)
        if portal is None:
            self._unknown(message, SqlState.INVALID_CURSOR_NAME, f'portal "{name}" does not exist')
            return
        entry = Entry(_EXECUTE, name=name, portal=portal)
        self._ask_for(message, _AT_EXECUTE, portal.prepared, entry, portal, row_limit=execute.row_limit)

    def _take_function_call(self, message: Message) -> None:
        call = frontend.read_function_call(message.raw)
        request = self._request(Moment.FUNCTION_CALL, Prepared(b""), Portal(Prepared(b""), call.values), 0)
        request = msgspec.structs.replace(request, function=call.function)
        self._judged(_Waiting(message, request, Entry(Awaits.QUERY, number=request.number, call=True)))

    def _drain_first(self, message: Message) -> None:
        """Take this message again when nothing is in flight any more."""
        self._pending.appendleft(message)
        self._pending_bytes += len(message.raw)
        self._draining = True
        self._flush_segment()

    def _flush_segment(self) -> None:
        """Make the database answer what it has: without a Sync it would hold its replies back."""
        if self._segment and not self._flushed:
            self._put(frontend.flush())
            self._flushed = True

    def _leave(self) -> None:
        """The client's Terminate: the database runs to its end what it was sent before, and its answers still go out.

        It closes the connection then, which ends the session.
        """
        if not len(self._replies.expected):
            self._terminate()
            return
        self._leaving = True
        self._pending.clear()
        self._pending_bytes = 0
        self._put(frontend.terminate())

    def _terminate(self) -> None:
        self._put(frontend.terminate())
        self.finish()

    # what is known by rote

    @property
    def _clear(self) -> bool:
        """The client's next message would be taken at once, with nothing in flight and no segment open."""
        return (
            self._replies.expected.head is None
            and not self._segment
            and not self._pending
            and not self._framer.held
            and not self._skipping
            and not self._blocked
            and self._ends_at_rest is None
            and self._replies.hidden_failure is None
        )

    def _repeat(self, piece: bytes, known: Known) -> bool:
        """Send a piece as it is, if it is this one again but for its values, and is allowed by its precedents.

        All is as if its messages had been taken one by one.
        """
        rote, replies, prepared = known.rote, self._replies, known.prepared
        values = rote.values(piece)
        precedents = tuple([precedent for kept in known.precedents if (precedent := kept()) is not None])
        if values is None or len(precedents) < len(known.precedents):
            return False
        first = self._requests + 1
        origin = 0
        if rote.parse is not None:
            origin = first
        elif rote.statement is not None:
            if prepared is None or replies.names.prepared(rote.statement) is not prepared:
                return False
            origin = prepared.origin
        try:
            allowed = self._judge.follows(precedents, Repeated(first, replies.status, values, origin))
        except Exception:  # noqa: BLE001  # they are judged as any others then, which refuses what cannot be judged
            allowed = False
        if not allowed:
            return False
        if prepared is None:
            self._requests = first
            replies.expected.append(Entry(_QUERY, number=first, controls=precedents[0].controls))
        else:
            self._expect_again(rote, precedents, prepared, values)
        self._to_server.append(piece)
        self._preparing = 0
        self._segment_runs = self._segment_binds = False
        self._rounds += 1
        return True

    def _expect_again(
        self, rote: Rote, precedents: tuple[Precedent, ...], prepared: Prepared, values: tuple[bytes | None, ...]
    ) -> None:
        """The replies to a piece that executes a statement: none of it starts a COPY, or is limited."""
        expect = self._replies.expected.append
        number = self._requests + 1
        if rote.parse is not None:
            first = precedents[0]
            meaning = Meaning(first.accesses)
            prepared = Prepared(prepared.text, prepared.parameter_types, meaning, origin=number)
            name = rote.statement or ""
            expect(Entry(_PARSE, number=number, name=name, prepared=prepared, controls=first.controls))
            number += 1
        portal, controls = Portal(prepared, values, rote.formats), precedents[-1].controls
        expect(Entry(_BIND, number=number, name=rote.portal, portal=portal, controls=controls))
        if rote.describes:
            expect(Entry(_DESCRIBE))
        self._requests = number + 1
        expect(Entry(_EXECUTE, number=number + 1, name=rote.portal, portal=portal, controls=controls))
        expect(Entry(_SYNC))

    # judgement

    def _request(self, moment: Moment, prepared: Prepared, portal: Portal | None, row_limit: int) -> Request:
        self._requests += 1
        return Request(
            number=self._requests,
            moment=moment,
            text=prepared.text,
            status=self._replies.status,
            quiet=len(self._replies.expected) == 0,
            segment=self._segment,
            parameters=() if portal is None else portal.parameters,
            formats=() if portal is None else portal.formats,
            parameter_types=prepared.parameter_types,
            row_limit=row_limit,
            meaning=prepared.meaning if moment in _OF_PREPARED else None,
            steady=self._replies.expected.only_prepare,
            portal=portal,
            origin=0 if moment is _AT_PARSE else prepared.origin,
            behind=self._segment_runs,
            round=self._rounds,
        )

    def _ask_for(  # noqa: PLR0913  # the parts of one request
        self,
        message: Message,
        moment: Moment,
        prepared: Prepared,
        entry: Entry,
        portal: Portal | None = None,
        *,
        row_limit: int = 0,
    ) -> None:
        request = self._request(moment, prepared, portal, row_limit)
        entry.number = request.number
        self._judged(_Waiting(message, request, entry))

    def _may_show(self, number: int, error: Mapping[str, str]) -> bool:
        try:
            return self._judge.may_show(number, error)
        except Exception:  # noqa: BLE001  # INVARIANT: a judge that raises refuses
            return False

    def _may_hear(self, channel: str) -> bool:
        try:
            return self._judge.may_hear(channel)
        except Exception:  # noqa: BLE001  # INVARIANT: a judge that raises refuses
            return False

    def _judged(self, waiting: _Waiting) -> None:
        try:
            verdict = self._judge.judge(waiting.request, self._replies.names)
        except Exception as error:  # noqa: BLE001  # INVARIANT: a judge that raises refuses
            verdict = _judge_failed(error)
        self._decided(waiting, verdict)

    def _answered(self, waiting: _Waiting, answers: tuple[Answer, ...]) -> None:
        waiting.request = msgspec.structs.replace(
            waiting.request, status=self._replies.status, quiet=True, segment=self._segment
        )
        try:
            verdict = self._judge.answered(waiting.request, self._replies.names, answers)
        except Exception as error:  # noqa: BLE001  # INVARIANT: a judge that raises refuses
            verdict = _judge_failed(error)
        self._decided(waiting, verdict)

    def _decided(self, waiting: _Waiting, verdict: Verdict) -> None:
        self._waiting = None
        if self._skipping:
            # an error came while it waited: the database would skip it, and no reply would ever be its own
            self._replies.events.append(Outcome(waiting.request.number, 0, None))
            return
        match verdict:
            case Allow():  # by far the most, and so the first
                self._relay(waiting, verdict)
            case Refuse():
                self._refuse(waiting, verdict)
            case Later():
                waiting.stage = _Stage.ELSEWHERE
                self._waiting = waiting
            case Ask():
                waiting.stage = _Stage.DRAINING
                waiting.questions = verdict.questions
                self._waiting = waiting
                self._ask_when_quiet()

    def _relay(self, waiting: _Waiting, allow: Allow) -> None:
        if self._replies.hidden_failure is not None:
            # the database skips until Sync since a question of pgguard's own failed: the client must learn of it
            self._refuse(waiting, _failed_question(self._replies.hidden_failure))
            return
        entry = waiting.entry
        entry.controls = allow.controls
        entry.touched = allow.touched
        entry.max_rows = allow.max_rows
        if allow.controls and waiting.request.moment in _RUNS:
            entry.copies_in = any(isinstance(control, CopyIn) for control in allow.controls)
        self._send(waiting.message.raw, entry)
        self._segment = waiting.request.moment not in _SIMPLE
        self._rounds += not self._segment
        self._segment_runs = self._segment and (self._segment_runs or waiting.request.moment is _AT_EXECUTE)
        self._segment_binds = self._segment and (self._segment_binds or waiting.request.moment in _OF_PORTALS)
        if self._replies.limited is entry:
            self._flush_segment()

    def _refuse(self, waiting: _Waiting, refuse: Refuse) -> None:
        moment = waiting.request.moment
        if refuse.terminate:
            self._ending = self._ending or refuse.refusal
            return
        if self._replies.hidden_failure is not None:
            self._replies.insert(refusing.refusal_error(refuse.refusal))
            self._replies.hidden_failure = None
            self._skipping = self._replies.skipping = True
            return
        extended = moment not in _SIMPLE
        awaits = Awaits.PARSE if extended else Awaits.QUERY
        entry = Entry(awaits, number=waiting.request.number, call=moment is Moment.FUNCTION_CALL, poison=refuse)
        self._send(refusing.poison(moment, refuse.audit_id), entry)
        self._segment = extended
        self._rounds += not extended
        self._skipping = extended  # the poison is certain to fail, so the database is certain to skip

    def _unknown(self, message: Message, sqlstate: SqlState, text: str) -> None:
        """A name that does not exist here is refused: what it would run cannot be judged."""
        request = self._request(Moment.PARSE, Prepared(b""), None, 0)
        refuse = Refuse(Refusal(sqlstate, text), audit_id="unknown-name")
        self._refuse(_Waiting(message, request, Entry(Awaits.PARSE)), refuse)

    def _unreadable(self, message: Message, malformed: Malformed) -> None:
        """An error like any other, as for PostgreSQL: the session goes on.

        In the place of a Query stands a call, since a Query would drop the client's unnamed statement.
        """
        extended = message.type not in {Frontend.QUERY, Frontend.FUNCTION_CALL}
        request = self._request(Moment.PARSE if extended else Moment.FUNCTION_CALL, Prepared(b""), None, 0)
        refuse = Refuse(Refusal(SqlState.PROTOCOL_VIOLATION, str(malformed)), audit_id="malformed-message")
        self._refuse(_Waiting(message, request, Entry(Awaits.PARSE)), refuse)

    def _send(self, raw: bytes, entry: Entry) -> None:
        self._to_server.append(raw)
        self._preparing = self._preparing + 1 if entry.awaits in _PREPARING else 0
        self._flushed = False
        self._replies.expect(entry)

    def _put(self, raw: bytes) -> None:
        """What needs no entry: no reply belongs to it by its position."""
        self._to_server.append(raw)
        self._preparing = 0

    # questions of pgguard's own

    def _after_replies(self) -> None:
        if self._replies.poison_wanted:
            self._replies.poison_wanted = False
            refuse = Refuse(Refusal(SqlState.CONFIGURATION_LIMIT_EXCEEDED, "too many rows"), "too-many-rows")
            poison = refusing.poison(Moment.EXECUTE, refuse.audit_id)
            self._send(poison, Entry(Awaits.PARSE, hidden=True, poison=refuse))
            self._segment = self._skipping = True
        if self._replies.skipping and not self._skipping:
            self._skipping = self._segment = True
            waiting = self._waiting
            if waiting is not None and waiting.stage is _Stage.DRAINING:
                self._waiting = None  # the database would skip it too
            elif waiting is not None and waiting.stage is _Stage.ELSEWHERE:
                self._replies.events.append(WaitsInVain())
        if self._waiting is not None:
            self._ask_when_quiet()
        self._advance()

    def _ask_when_quiet(self) -> None:
        waiting = self._waiting
        if waiting is None or waiting.stage is _Stage.ELSEWHERE:
            return
        if len(self._replies.expected):
            if waiting.stage is _Stage.DRAINING:
                self._flush_segment()
            return
        if waiting.stage is _Stage.ASKING:
            self._answered(waiting, self._collect(waiting))
        elif not waiting.questions:
            self._answered(waiting, ())
        elif self._replies.hidden_failure is not None:
            # the database skips until Sync since an earlier question failed: to this one it would say nothing
            self._answered(waiting, (self._replies.hidden_failure,) * len(waiting.questions))
        elif self._replies.status is TransactionStatus.FAILED and not self._segment:
            failed = Failed(SqlState.IN_FAILED_SQL_TRANSACTION, "current transaction is aborted")
            self._answered(waiting, (failed,) * len(waiting.questions))
        else:
            waiting.stage = _Stage.ASKING
            self._replies.answers.clear()
            for question in waiting.questions:
                self._ask(question)
            self._flush_segment()

    def _ask(self, question: Question) -> None:
        if self._walsender:
            assert not question.parameters, "a simple query has no values, and the question is none of its client's"
            self._send(frontend.query(question.text), Entry(Awaits.QUERY, hidden=True))
            return
        name = _QUESTION_NAME
        text = name.decode()
        if self._replies.question_failed:
            self._replies.question_failed = False
            self._close_question()
        self._send(
            frontend.parse(name, question.text, question.parameter_types), Entry(Awaits.PARSE, name=text, hidden=True)
        )
        self._send(
            frontend.bind(name, name, question.parameters, question.formats), Entry(Awaits.BIND, name=text, hidden=True)
        )
        self._send(frontend.execute(name), Entry(Awaits.EXECUTE, name=text, hidden=True))
        self._close_question()
        if not self._segment_binds:
            # where nothing is bound a Sync takes nothing; without it VACUUM and its like would run behind the question
            self._send(frontend.sync(), Entry(Awaits.SYNC, hidden=True))

    def _close_question(self) -> None:
        name, text = _QUESTION_NAME, _QUESTION_NAME.decode()
        self._send(frontend.close_statement(name), Entry(Awaits.CLOSE, name=text, hidden=True))
        self._send(frontend.close_portal(name), Entry(Awaits.CLOSE, name=text, hidden=True, closes_portal=True))

    def _collect(self, waiting: _Waiting) -> tuple[Answer, ...]:
        answers: list[Answer] = list(self._replies.answers)
        missing = Failed(SqlState.INTERNAL_ERROR, "the database skipped the question")
        return (*answers, *[missing] * (len(waiting.questions) - len(answers)))

    # the end

    def _violated(self, violation: ProtocolViolation) -> None:
        """As PostgreSQL: FATAL, and the connection is gone."""
        if not self._over:
            refusal = Refusal(SqlState.PROTOCOL_VIOLATION, str(violation))
            self._replies.insert(refusing.refusal_error(refusal, "FATAL"))
            self._terminate()

    def _end_when_quiet(self) -> None:
        if self._replies.copying_in and not self._replies.streaming:
            # the database would wait for the client's data, of which none is taken any more
            self._replies.copying_in = False
            self._put(frontend.copy_fail(b"the session ends"))
        if len(self._replies.expected) and not self._replies.streaming:
            self._flush_segment()
            return
        assert self._ending is not None
        self._replies.insert(refusing.refusal_error(self._ending, "FATAL"))
        self._terminate()

    def finish(self) -> None:
        """Nothing more is taken, from whichever side."""
        self._over = True
        self._waiting = None
        self._pending.clear()
        self._pending_bytes = 0
        self._replies.events.append(Ended())

    _COMMANDS: ClassVar[dict[int, Callable[["Session", Message], None]]] = {
        Frontend.QUERY: _take_query,
        Frontend.PARSE: _take_parse,
        Frontend.BIND: _take_bind,
        Frontend.EXECUTE: _take_execute,
        Frontend.FUNCTION_CALL: _take_function_call,
        Frontend.DESCRIBE: _take_describe,
        Frontend.CLOSE: _take_close,
        Frontend.SYNC: _take_sync,
        Frontend.FLUSH: _take_flush,
        Frontend.TERMINATE: _take_terminate,
    }


_KNOWN = frozenset(Frontend) - {Frontend.PASSWORD}


def _judge_failed(error: Exception) -> Refuse:
    del error  # the judge's own log has it; the client learns nothing of the inside
    return Refuse(Refusal(SqlState.INTERNAL_ERROR, "the statement could not be judged and was refused"), "internal")


def _failed_question(failure: Failed) -> Refuse:
    return Refuse(Refusal(failure.sqlstate, failure.message), "question")
