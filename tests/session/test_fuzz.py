"""Sessions under any input: whole messages in any order, broken bytes, verdicts of every kind, replies at any time.

Held in every sequence: nothing is raised; what must not run does not reach the database, as text or by a name; what
does reach it is whole messages in a place where it takes them; what the client gets is whole messages; and when
everybody has answered, nothing waits.
"""

import itertools
import os
from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st
from imitation import Server

from pgguard.model.control import CopyIn
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.session.events import Event
from pgguard.session.expected import Entry
from pgguard.session.judgement import (
    Allow,
    Answer,
    Ask,
    Later,
    Moment,
    Names,
    Precedent,
    Question,
    Refuse,
    Repeated,
    Request,
    TransactionStatus,
    Verdict,
)
from pgguard.session.session import Session
from pgguard.wire import frontend
from pgguard.wire.constants import Frontend
from pgguard.wire.framing import message

EXAMPLES = int(os.environ.get("PGGUARD_FUZZ", "150"))
"""Of each test: more on demand."""

NEVER, NOT_RUN = b"never", b"not run"
"""What is refused at every moment, and what is refused only when it would run."""
TEXTS = (b"select 1", b"wrong", b"fails", b"", b"copy in", NEVER, NOT_RUN, b"never copy", b"limited")
NAMES = (b"", b"a", b"b")
FORBIDDEN = 666


class Case(Precedent, frozen=True):
    requests: int


class Moods:
    """A judge that decides by text, and takes the way to its verdict that `ways` says, over and over.

    What it allows at once is a precedent while that is the way to judge, if there are to be any.
    """

    def __init__(self, ways: Sequence[str], *, precedents: bool) -> None:
        self._ways = ways
        self._asked = 0
        self._precedents = precedents
        self._at_once: dict[int, Request] = {}
        self._cases: list[Case] = []
        self.followed = 0
        self.at_rest = lambda: True
        """Whether nothing is in flight and no segment is open: then alone may precedents be asked for."""
        self.always_at_rest = True

    def judge(self, request: Request, names: Names) -> Verdict:
        del names
        self._asked += 1
        match self._ways[self._asked % len(self._ways)]:
            case "later":
                return Later()
            case "ask":
                return Ask((Question(b"select question"),))
            case "quiet":
                return Ask()
            case "raise":
                raise RuntimeError("a judge that fails")
            case _:
                if request.moment is not Moment.EXECUTE:  # which counts with its Bind
                    self._at_once[request.number] = request
                return self.verdict(request)

    def precedent(self, number: int) -> Precedent | None:
        request = self._at_once.get(number)
        if not self._precedents or request is None:
            return None
        if self.verdict(request) != Allow((None,)):
            return None
        self._cases.append(Case((None,), (), 1 + (request.moment is Moment.BIND)))
        return self._cases[-1]

    def follows(self, precedents: tuple[Precedent, ...], repeated: Repeated) -> bool:
        del repeated
        self.always_at_rest &= self.at_rest()
        count = sum(case.requests for case in precedents)
        asked = range(self._asked + 1, self._asked + 1 + count)
        if any(self._ways[each % len(self._ways)] != "at once" for each in asked):
            return False
        self._asked += count
        self.followed += 1
        return True

    def answered(self, request: Request, names: Names, answers: tuple[Answer, ...]) -> Verdict:
        del names
        return Later() if len(answers) == 1 and self._asked % 3 == 0 else self.verdict(request)

    @staticmethod
    def verdict(request: Request) -> Verdict:
        runs = request.moment in {Moment.BIND, Moment.EXECUTE, Moment.QUERY}
        if NEVER in request.text or (NOT_RUN in request.text and runs) or request.function == FORBIDDEN:
            return Refuse(Refusal(SqlState.INSUFFICIENT_PRIVILEGE, "no"), "x")
        control = CopyIn() if b"copy" in request.text else None
        return Allow((control,), 1 if request.text == b"limited" else None)


def must_not(moment: str, text: bytes) -> bool:
    return NEVER in text or (moment == "E" and text == NOT_RUN) or (moment == "F" and text == b"%d" % FORBIDDEN)


texts, names = st.sampled_from(TEXTS), st.sampled_from(NAMES)
messages = st.one_of(
    st.builds(frontend.query, texts),
    st.builds(frontend.parse, names, texts),
    st.builds(frontend.bind, names, names),
    st.builds(frontend.execute, names, st.integers(0, 2)),
    st.builds(lambda kind, name: message(Frontend.DESCRIBE, kind + name + b"\0"), st.sampled_from([b"S", b"P"]), names),
    st.builds(frontend.close_statement, names),
    st.builds(frontend.close_portal, names),
    st.builds(frontend.function_call, st.sampled_from([0, 1, FORBIDDEN])),
    st.sampled_from([
        frontend.sync(), frontend.sync(), frontend.flush(), message(Frontend.COPY_DATA, b"1\n"),
        message(Frontend.COPY_DONE), frontend.copy_fail(b"why"),
    ]),
)  # fmt: skip
ways = st.lists(st.sampled_from(["at once", "at once", "later", "ask", "quiet", "raise"]), min_size=1, max_size=6)
moves = st.lists(st.sampled_from(["client", "client", "server", "resolve", "turn"]), max_size=60)
turns = st.sampled_from([16, 1, 2])


class Run:
    """One session, its judge and its server; the client's bytes come in pieces, the server's when `server` is drawn."""

    def __init__(self, ways: Sequence[str], piece: int, turn: int, *, precedents: bool = True) -> None:
        self.judge = Moods(ways, precedents=precedents)
        self.session = Session(self.judge, limit=1 << 20, parameters={}, turn=turn)
        self.judge.at_rest = lambda: not self.session.running and not self.session._segment
        self.server = Server(must_not)
        self.sent = b""
        self.events: list[Event] = []
        self._piece = piece
        self._shown = b""
        self._pump()

    def client(self, data: bytes) -> None:
        for start in range(0, len(data), self._piece):
            self.session.client_data(data[start : start + self._piece])
            self._pump()

    def server_answers(self) -> bool:
        data = self.server.take()
        for start in range(0, len(data), self._piece):
            self.session.server_data(data[start : start + self._piece])
            self._pump()
        return bool(data)

    def resolve(self) -> bool:
        request = self.session.waiting
        if request is not None:
            self.session.resolve(request.number, self.judge.verdict(request))
            self._pump()
        return request is not None

    def turn(self) -> bool:
        unfinished = self.session.unfinished
        if unfinished:
            self.session.go_on()
            self._pump()
        return unfinished

    def settle(self) -> None:
        while self.turn() or self.resolve() or self.server_answers():
            pass

    def _pump(self) -> None:
        sent = b"".join(self.session.take_server())
        self.sent += sent
        self.server.receive(sent)
        self._shown += b"".join(self.session.take_client())
        self.events += self.session.take_events()

    def shown(self) -> list[bytes]:
        """What the client has got, cut into messages."""
        found, rest = [], self._shown
        while rest:
            end = 1 + int.from_bytes(rest[1:5], "big")
            assert len(rest) >= end >= 5, "the client got half a message"
            found.append(rest[:end])
            rest = rest[end:]
        return found


def play(run: Run, stream: bytes, moves: Sequence[str]) -> None:
    """The client's bytes in as many parts as there are `client` moves, among the other moves."""
    parts = max(1, moves.count("client"))
    size = -(-len(stream) // parts) or 1
    rest = stream
    for move in moves:
        match move:
            case "client":
                run.client(rest[:size])
                rest = rest[size:]
            case "server":
                run.server_answers()
            case "turn":
                run.turn()
            case _:
                run.resolve()
    run.client(rest)
    run.settle()


@settings(max_examples=EXAMPLES)
@given(st.lists(messages, max_size=25), ways, moves, st.sampled_from([1, 3, 1000]), turns)
def test_any_messages_in_any_order(sent: list[bytes], ways: list[str], moves: list[str], piece: int, turn: int):
    run = Run(ways, piece, turn)
    play(run, b"".join(sent), moves)
    run.client(frontend.copy_fail(b"the end") + frontend.sync() + frontend.query(b"select 1"))
    run.settle()
    run.shown()
    if not run.session.over:
        assert not run.session.running
        assert run.session.backlog == 0
        assert run.shown()[-1][:1] == b"Z"


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Messages with some bytes changed, left out or put in."""
    stream = bytearray(b"".join(draw(st.lists(messages, min_size=1, max_size=12))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(stream) - 1)) if stream else 0
        match draw(st.sampled_from(["change", "remove", "insert"])):
            case "change" if stream:
                stream[at] = draw(st.integers(0, 255))
            case "remove":
                del stream[at : at + draw(st.integers(1, 9))]
            case _:
                stream[at:at] = draw(st.binary(max_size=9))
    return bytes(stream)


@settings(max_examples=EXAMPLES)
@given(broken(), ways, moves, st.sampled_from([1, 3, 1000]), turns)
@example(b"D\0\0\0\7Sa\0E\0\0\0\n\x80\0\0\0\6S\0", ["at once"], [], 1, 16)
def test_broken_bytes(stream: bytes, ways: list[str], moves: list[str], piece: int, turn: int):
    """The example: an unknown portal whose name is no UTF-8 could not be named in its refusal, and raised."""
    run = Run(ways, piece, turn)
    play(run, stream, moves)
    shown = run.shown()
    if run.session.over and not run.server.closed:
        assert shown[-1][:1] == b"E", "a session that ends on its own says why"


@settings(max_examples=EXAMPLES)
@given(st.lists(messages, max_size=25), ways, moves, st.integers(0, 60), turns)
def test_a_session_that_is_ended_anywhere_ends(
    sent: list[bytes], ways: list[str], moves: list[str], at: int, turn: int
):
    run = Run(ways, 1000, turn)
    play(run, b"".join(sent), moves[:at])
    if run.session.over:
        return
    run.session.end(Refusal(SqlState.ADMIN_SHUTDOWN, "the end"))
    run._pump()
    run.client(frontend.query(b"select 1"))
    run.settle()
    assert run.session.over
    assert b"the end" in run.shown()[-1]
    assert run.server.closed


class Whole(Run):
    """One that finishes all turns before anything else happens."""

    def _pump(self) -> None:
        super()._pump()
        self.turn()


@settings(max_examples=EXAMPLES)
@given(broken(), ways, moves, st.sampled_from([1, 3, 1000]))
def test_in_turns_or_in_one_go_is_the_same(stream: bytes, ways: list[str], moves: list[str], piece: int):
    one_go, in_turns = Run(ways, piece, 1 << 20), Whole(ways, piece, 1)
    for run in (one_go, in_turns):
        play(run, stream, moves)
    assert in_turns.sent == one_go.sent
    assert in_turns.shown() == one_go.shown()


PREPARED = b"".join([frontend.parse(name, b"select 1") for name in NAMES]) + frontend.sync()
values = st.lists(st.one_of(st.none(), st.binary(max_size=3)), max_size=2).map(tuple)
repeated = st.one_of(
    st.builds(frontend.query, st.sampled_from([b"select 1", b"fails", b""])),
    st.builds(
        lambda parses, portal, name, given, middle: b"".join((
            frontend.parse(name, b"select 1") if parses else b"",
            frontend.bind(portal, name, given), middle, frontend.execute(portal), frontend.sync(),
        )),
        st.booleans(), st.sampled_from([b"", b"a"]), names, values,
        st.sampled_from([b"", message(Frontend.DESCRIBE, b"P\0"), message(Frontend.DESCRIBE, b"S\0")]),
    ),
)  # fmt: skip
others = st.one_of(
    st.lists(messages, min_size=1, max_size=2).map(b"".join),
    st.just(frontend.parse(b"", b"select 1") + frontend.flush()),  # a segment stays open with nothing in flight
)
often_at_once = st.lists(st.sampled_from(["at once"] * 8 + ["later", "ask", "quiet"]), min_size=1, max_size=20)


@settings(max_examples=2 * EXAMPLES)
@given(
    st.lists(st.one_of(repeated, repeated, repeated, others), max_size=8),
    st.lists(st.integers(0, 7), max_size=30),
    often_at_once,
    st.lists(st.sampled_from(["server", "resolve", "turn"]), max_size=3),
)
def test_what_goes_by_a_precedent_goes_as_it_would_without(
    pieces: list[bytes], order: list[int], ways: list[str], between: list[str]
):
    """Pieces that come again and again, among others: all that the session tells is equal at each step."""
    by_rote, anew = (Run(ways, 1 << 20, 16, precedents=precedents) for precedents in (True, False))
    for each in (-1, *order):
        piece = PREPARED if each < 0 or not pieces else pieces[each % len(pieces)]
        for run in (by_rote, anew):
            run.client(piece)
            for move in between or ["settle"]:
                getattr(run, {"server": "server_answers"}.get(move, move))()
        assert state_of(by_rote) == state_of(anew)
        assert by_rote.judge.always_at_rest
    by_rote.settle()
    anew.settle()
    assert state_of(by_rote) == state_of(anew)


@settings(max_examples=EXAMPLES)
@given(
    st.lists(st.one_of(repeated, repeated, others), min_size=1, max_size=3),
    st.lists(st.integers(0, 2), min_size=1, max_size=20),
    st.lists(st.one_of(st.just(0), st.integers(-12, 12)), max_size=20),
)
def test_repeated_pieces_that_are_cut_or_joined_go_as_they_would_without(
    pieces: list[bytes], order: list[int], shifts: list[int]
):
    """The network keeps no piece together: each ends so many bytes before or behind its end."""
    by_rote, anew = (Run(["at once"], 1 << 20, 16, precedents=precedents) for precedents in (True, False))
    stream = [PREPARED, *[pieces[each % len(pieces)] for each in order]]
    rest = b"".join(stream)
    for each, shift in itertools.zip_longest(stream, shifts[: len(stream)], fillvalue=0):
        size = max(0, len(each) + shift)
        for run in (by_rote, anew):
            run.client(rest[:size])
            run.settle()
        rest = rest[size:]
        assert state_of(by_rote) == state_of(anew)


def state_of(run: Run) -> tuple[object, ...]:
    """All that has left the session, and all in it that is a number, a flag or a text: what it goes on by."""
    session, replies = run.session, run.session._replies
    waiting = None if session.waiting is None else session.waiting.number
    plain = [
        (name, value)
        for each in (session, replies, replies.expected, replies.names)
        for name, value in vars(each).items()
        if isinstance(value, bool | int | bytes | str | TransactionStatus | None)
    ]
    entries = [_plain(entry) for entry in replies.expected._entries]
    return run.sent, run.shown(), run.events, waiting, session.backlog, plain, entries


def _plain(entry: Entry) -> tuple[object, ...]:
    portal = entry.portal
    bound = None if portal is None else (portal.prepared.origin, portal.parameters, portal.formats)
    prepared = None if entry.prepared is None else (entry.prepared.text, entry.prepared.origin)
    return entry.awaits, entry.number, entry.name, bound, prepared, entry.controls, entry.rows, entry.place


def test_a_repeated_piece_goes_by_its_precedent():
    """What the test above compares does happen; and a statement that is prepared anew is judged anew."""
    run = Run(["at once"], 1 << 20, 16)
    run.client(PREPARED)
    run.settle()
    pieces = [frontend.bind(b"", b"a", (b"%d" % n,)) + frontend.execute(b"") + frontend.sync() for n in range(4)]
    for piece in (*pieces, *[frontend.query(b"select 1")] * 3):
        run.client(piece)
        run.settle()
    assert run.judge.followed == 3 + 2
    run.client(frontend.close_statement(b"a") + frontend.parse(b"a", b"select 1") + frontend.sync())
    run.settle()
    run.client(pieces[0])
    assert run.judge.followed == 5
