"""What the database has of a message that waits elsewhere: nothing."""

import pytest
from judges import AllowAll

from pgguard.session.events import WaitsInVain
from pgguard.session.judgement import (
    Allow,
    Answer,
    Ask,
    Failed,
    Later,
    Moment,
    Names,
    Question,
    Request,
    Rows,
    Verdict,
)
from pgguard.session.session import Session
from pgguard.wire import backend, frontend
from pgguard.wire.constants import Backend

_PARSE = frontend.parse(b"", b"select 1")
_BIND = frontend.bind(b"", b"")
_EXECUTE = frontend.execute(b"")


class HoldAtBind(AllowAll):
    """`allows`: how many Binds pass before one waits."""

    def __init__(self, allows: int) -> None:
        super().__init__()
        self._allows = allows

    def judge(self, request: Request, names: Names) -> Verdict:
        if request.moment is not Moment.BIND:
            return Allow((None,))
        self._allows -= 1
        return Allow((None,)) if self._allows >= 0 else Later()


@pytest.mark.parametrize("piece", [1000, 1])
def test_a_parse_waits_with_the_bind_behind_it(piece: int):
    """A Parse passed at once and the hold came at the Bind: PostgreSQL's statement_timeout ran while people decided."""
    session = Session(HoldAtBind(0), limit=1 << 20, parameters={})
    burst = _PARSE + _BIND + _EXECUTE + frontend.sync()
    for start in range(0, len(burst), piece):
        session.client_data(burst[start : start + piece])
    assert session.waiting is not None
    assert session.take_server() == []
    assert session.running
    assert session.only_prepares
    session.resolve(session.waiting.number, Allow((None,)))
    assert b"".join(session.take_server()) == burst


def test_what_was_sent_before_the_wait_may_be_cancelled():
    """And only that: the cancel of a Parse that had not been sent met it as it went, and its error was the client's."""
    session = Session(HoldAtBind(0), limit=1 << 20, parameters={})
    session.client_data(_PARSE)
    assert session.take_server() == [_PARSE]
    session.client_data(_BIND)
    assert session.waiting is not None
    assert not session.only_prepares


def test_what_ran_before_goes_on():
    session = Session(HoldAtBind(1), limit=1 << 20, parameters={})
    before, after = _PARSE + _BIND + _EXECUTE, frontend.parse(b"b", b"select 2") + frontend.bind(b"", b"b")
    session.client_data(before + after)
    assert b"".join(session.take_server()) == before
    assert session.waiting is not None
    session.resolve(session.waiting.number, Allow((None,)))
    assert b"".join(session.take_server()) == after


def test_a_flush_is_not_kept_back():
    """Whoever asks for its replies gets them."""
    session = Session(HoldAtBind(0), limit=1 << 20, parameters={})
    session.client_data(_PARSE + frontend.flush() + _BIND)
    assert b"".join(session.take_server()) == _PARSE + frontend.flush()


def test_what_waits_when_the_statement_before_it_fails_is_skipped_too():
    """It was relayed when its verdict came, to a database that skips until Sync: no reply was ever its own."""
    session = Session(HoldAtBind(1), limit=1 << 20, parameters={})
    session.client_data(_PARSE + _BIND + _EXECUTE + _PARSE + _BIND + _EXECUTE + frontend.sync())
    before = b"".join(session.take_server())
    assert before == _PARSE + _BIND + _EXECUTE
    failure = backend.error({"S": "ERROR", "V": "ERROR", "C": "22012", "M": "division by zero"})
    session.server_data(backend.empty(Backend.PARSE_COMPLETE) + backend.empty(Backend.BIND_COMPLETE) + failure)
    assert any(isinstance(event, WaitsInVain) for event in session.take_events())
    assert session.waiting is not None
    session.resolve(session.waiting.number, Allow((None,)))
    assert b"".join(session.take_server()).endswith(frontend.sync())
    session.server_data(backend.ready_for_query(b"I"))
    assert not session.running
    session.client_data(frontend.query(b"select 1"))
    assert b"".join(session.take_server()) == frontend.query(b"select 1")


class Asks(AllowAll):
    """Asks one question before each statement, and keeps what was answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Answer] = []

    def judge(self, request: Request, names: Names) -> Verdict:
        return Ask((Question(b"select 'who'"),))

    def answered(self, request: Request, names: Names, answers: tuple[Answer, ...]) -> Verdict:
        self.answers += answers
        return Allow((None,))


def test_a_question_that_fails_leaves_nothing_in_the_way_of_the_next():
    """The database skipped the Close of its statement, and each further question failed by the name that was left.

    A statement_timeout, or a cancel, in that moment made the session useless for good.
    """
    judge = Asks()
    session = Session(judge, limit=1 << 20, parameters={})
    close = frontend.close_statement(b"pgguard.question") + frontend.close_portal(b"pgguard.question")
    parsed, bound, closed = map(backend.empty, (Backend.PARSE_COMPLETE, Backend.BIND_COMPLETE, Backend.CLOSE_COMPLETE))
    ready = backend.ready_for_query(b"I")

    session.client_data(frontend.query(b"select 1"))
    assert not b"".join(session.take_server()).startswith(close)
    canceled = backend.error({"S": "ERROR", "V": "ERROR", "C": "57014", "M": "canceling statement"})
    session.server_data(parsed + bound + canceled + ready)
    assert judge.answers == [Failed("57014", "canceling statement")]
    assert b"".join(session.take_server()) == frontend.query(b"select 1")
    session.server_data(backend.command_complete("SELECT 1") + ready)

    session.client_data(frontend.query(b"select 2"))
    assert b"".join(session.take_server()).startswith(close)
    row = backend.data_row(("me",))
    session.server_data(closed * 2 + parsed + bound + row + backend.command_complete("SELECT 1") + closed * 2 + ready)
    assert judge.answers[1:] == [Rows((("me",),))]
    assert b"".join(session.take_server()) == frontend.query(b"select 2")
    session.server_data(backend.command_complete("SELECT 1") + ready)
    session.client_data(frontend.query(b"select 3"))
    assert not b"".join(session.take_server()).startswith(close)


def test_behind_a_question_that_failed_in_an_open_segment_no_other_is_asked():
    """The database skips until Sync: it never answered, and the session waited for good."""

    class AsksTwice(Asks):
        def judge(self, request: Request, names: Names) -> Verdict:
            return Ask((Question(b"select 'who'"),)) if request.text == b"select 2" else Allow((None,))

        def answered(self, request: Request, names: Names, answers: tuple[Answer, ...]) -> Verdict:
            self.answers += answers
            return Ask((Question(b"select 'and now'"),)) if len(self.answers) == 1 else Allow((None,))

    judge = AsksTwice()
    session = Session(judge, limit=1 << 20, parameters={})
    session.client_data(_PARSE + _BIND + _EXECUTE + frontend.parse(b"b", b"select 2") + frontend.sync())
    session.take_server()
    done = backend.command_complete("SELECT 1")
    session.server_data(backend.empty(Backend.PARSE_COMPLETE) + backend.empty(Backend.BIND_COMPLETE) + done)
    failure = backend.error({"S": "ERROR", "V": "ERROR", "C": "2201F", "M": "no root"})
    session.take_server()
    session.server_data(failure)
    assert judge.answers == [Failed("2201F", "no root")] * 2
    assert b"".join(session.take_server()) == frontend.sync()
    session.server_data(backend.ready_for_query(b"I"))
    told = b"".join(session.take_client())
    assert told.endswith(backend.ready_for_query(b"I"))
    assert b"C2201F\0" in told


def test_a_statement_of_the_questions_name_is_never_taken_for_it():
    """A client's statement of this name was closed in the way of a question, and stood in the session's names still:
    its Bind would have been judged by the client's text, and have run the question that had failed by then."""
    judge = Asks()
    session = Session(judge, limit=1 << 20, parameters={})
    parsed, closed = backend.empty(Backend.PARSE_COMPLETE), backend.empty(Backend.CLOSE_COMPLETE)
    bound, ready = backend.empty(Backend.BIND_COMPLETE), backend.ready_for_query(b"I")
    row = backend.data_row(("me",)) + backend.command_complete("SELECT 1")
    duplicate = backend.error({"S": "ERROR", "V": "ERROR", "C": "42P05", "M": "exists"})

    session.client_data(frontend.parse(b"pgguard.question", b"select 1") + frontend.sync())
    session.server_data(parsed + bound + row + closed * 2 + ready)
    session.server_data(parsed + ready)
    session.client_data(frontend.query(b"select 2"))
    session.server_data(duplicate + ready)
    session.server_data(backend.command_complete("SELECT 1") + ready)
    session.client_data(frontend.query(b"select 3"))
    session.server_data(closed * 2 + parsed + bound + row + closed * 2 + ready)
    session.server_data(backend.command_complete("SELECT 1") + ready)
    session.take_client()
    session.take_server()
    session.client_data(frontend.bind(b"", b"pgguard.question") + frontend.sync())
    assert b"pgguard refused" in b"".join(session.take_server())


def test_a_question_in_a_segment_that_has_bound_nothing_ends_with_a_sync():
    """Behind a question without one PostgreSQL takes what follows for a pipeline, and refuses VACUUM in it: pgjdbc closes
    old statements in the segment of the next."""
    session = Session(Asks(), limit=1 << 20, parameters={})
    ready = backend.ready_for_query(b"I")
    parsed, bound, closed = map(backend.empty, (Backend.PARSE_COMPLETE, Backend.BIND_COMPLETE, Backend.CLOSE_COMPLETE))
    answer = parsed + bound + backend.data_row(("me",)) + backend.command_complete("SELECT 1") + closed * 2
    session.client_data(frontend.close_statement(b"old") + _PARSE + frontend.sync())
    session.take_server()
    session.server_data(closed)
    assert frontend.sync() in b"".join(session.take_server())
    session.server_data(answer + ready)
    assert b"".join(session.take_server()) == _PARSE + frontend.sync()
    assert b"".join(session.take_client()) == closed
    session.server_data(parsed + ready)
    assert b"".join(session.take_client()) == parsed + ready
