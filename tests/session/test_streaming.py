"""What flows from the client while the database works on its statement: COPY data, and both ways in replication."""

import pytest
from judges import AllowAll

from pgguard.model.control import CopyIn
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.session.events import Ended
from pgguard.session.judgement import Allow, Answer, Ask, Names, Question, Request, Rows, Verdict
from pgguard.session.session import Session
from pgguard.wire import backend, frontend
from pgguard.wire.constants import Backend, Frontend
from pgguard.wire.framing import ProtocolViolation, message

START = frontend.query(b"START_REPLICATION 0/0")
BOTH = message(Backend.COPY_BOTH_RESPONSE, b"\0\0\0")
IN = message(Backend.COPY_IN_RESPONSE, b"\0\0\0")
DONE = message(Frontend.COPY_DONE)
READY = backend.ready_for_query(b"I")
SHUTDOWN = Refusal(SqlState.ADMIN_SHUTDOWN, "the end")


def data(text: bytes) -> bytes:
    return message(Frontend.COPY_DATA, text)


class CopiesIn(AllowAll):
    def judge(self, request: Request, names: Names) -> Verdict:
        return Allow((CopyIn(),), self._max_rows)


def session_of(max_rows: int | None = None, *, walsender: bool = True) -> Session:
    return Session(CopiesIn(max_rows), limit=1 << 20, parameters={}, walsender=walsender)


def sent(session: Session) -> bytes:
    return b"".join(session.take_server())


def shown(session: Session) -> bytes:
    return b"".join(session.take_client())


def test_both_sides_send_until_each_is_done():
    session = session_of()
    session.client_data(START + data(b"early"))
    assert sent(session) == START, "nothing goes behind it before the database has begun"
    session.server_data(BOTH + data(b"wal"))
    assert session.streaming
    assert shown(session) == BOTH + data(b"wal")
    assert sent(session) == data(b"early")
    session.client_data(data(b"status") + DONE + frontend.query(b"IDENTIFY_SYSTEM"))
    assert sent(session) == data(b"status") + DONE
    end = data(b"more") + DONE + backend.command_complete("COPY 0") + backend.command_complete("START_REPLICATION")
    session.server_data(end + READY)
    assert shown(session) == end + READY
    assert not session.streaming
    assert sent(session) == frontend.query(b"IDENTIFY_SYSTEM")


def test_a_stream_that_fails_leaves_a_session_that_goes_on():
    session = session_of()
    session.client_data(START)
    failure = backend.error({"S": "ERROR", "V": "ERROR", "C": "57014", "M": "canceled"})
    session.server_data(BOTH + failure + READY)
    session.client_data(data(b"late") + DONE + frontend.query(b"IDENTIFY_SYSTEM"))
    assert sent(session) == START + frontend.query(b"IDENTIFY_SYSTEM"), "the database would ignore what is late"


def test_a_session_ends_in_the_middle_of_its_stream():
    """It waited for the statement to end: a stream never does."""
    session = session_of()
    session.client_data(START)
    session.server_data(BOTH)
    sent(session)
    session.end(SHUTDOWN)
    assert b"the end" in shown(session)
    assert sent(session) == frontend.terminate()
    assert any(isinstance(event, Ended) for event in session.take_events())


@pytest.mark.parametrize("walsender", [True, False])
def test_a_stream_that_nobody_asked_for_is_no_protocol(walsender: bool):
    session = session_of(walsender=walsender)
    if not walsender:
        session.client_data(START)
    with pytest.raises(ProtocolViolation, match="not asked for"):
        session.server_data(BOTH)


class Asks(AllowAll):
    def __init__(self) -> None:
        super().__init__()
        self.answers: tuple[Answer, ...] = ()

    def judge(self, request: Request, names: Names) -> Verdict:
        return Ask((Question(b"select 1"), Question(b"select 2")))

    def answered(self, request: Request, names: Names, answers: tuple[Answer, ...]) -> Verdict:
        self.answers = answers
        return Allow((None,))


def test_a_replication_connection_is_asked_by_simple_queries():
    """Its server takes no others."""
    judge = Asks()
    session = Session(judge, limit=1 << 20, parameters={}, walsender=True)
    session.client_data(frontend.query(b"select x"))
    assert sent(session) == frontend.query(b"select 1") + frontend.query(b"select 2")
    for value in ("one", "two"):
        row = backend.row_description(["c"]) + backend.data_row([value])
        session.server_data(row + backend.command_complete("SELECT 1") + READY)
    assert judge.answers == (Rows((("one",),)), Rows((("two",),)))
    assert shown(session) == b""
    assert sent(session) == frontend.query(b"select x")


def test_a_copy_under_a_limit_of_rows_takes_its_data():
    """A limit lets nothing pass behind its statement, and the data of a COPY was taken for that: it waited for ever."""
    session = session_of(5, walsender=False)
    session.client_data(frontend.query(b"copy t from stdin"))
    session.server_data(IN)
    session.client_data(data(b"1\n") + DONE)
    assert sent(session) == frontend.query(b"copy t from stdin") + data(b"1\n") + DONE


def test_the_sync_behind_a_copy_under_a_limit_passes():
    session = session_of(5, walsender=False)
    begin = frontend.parse(b"", b"copy t from stdin") + frontend.bind(b"", b"") + frontend.execute(b"")
    session.client_data(begin)
    session.server_data(backend.empty(Backend.PARSE_COMPLETE) + backend.empty(Backend.BIND_COMPLETE) + IN)
    session.client_data(data(b"1\n") + DONE + frontend.sync())
    assert sent(session) == begin + data(b"1\n") + DONE + frontend.sync()


@pytest.mark.parametrize(("sender", "shown_as"), [(7, 1 << 21 | 7), (8, 8)])
def test_among_nodes_a_session_knows_its_own_notifications_by_the_number_of_its_login(sender: int, shown_as: int):
    session = Session(CopiesIn(), limit=1 << 20, parameters={}, processes=(7, 1 << 21 | 7))

    def told(process: int) -> bytes:
        return message(Backend.NOTIFICATION_RESPONSE, process.to_bytes(4, "big") + b"channel\0payload\0")

    session.server_data(told(sender))
    assert shown(session) == told(shown_as)
