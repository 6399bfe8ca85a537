"""What is much goes through in runs: all of it, and counted right, however it was cut."""

from hypothesis import given
from hypothesis import strategies as st
from judges import AllowAll

from pgguard.model.control import CopyIn
from pgguard.session.events import Outcome
from pgguard.session.judgement import Allow, Names, Request, Verdict
from pgguard.session.session import Session
from pgguard.wire import backend, frontend
from pgguard.wire.constants import Backend, Frontend
from pgguard.wire.framing import message

END = backend.command_complete("DONE") + backend.ready_for_query(b"I")
BODIES = st.sampled_from([b"", b"1", b"22", b"D\0\0\0\4", b"d\0\0\0\4", b"C" * 300])
RUNS = st.lists(st.tuples(BODIES, st.sampled_from([1, 2, 3, 4, 5, 16, 17, 129, 200])), max_size=5)
SIZES = st.sampled_from([1, 7, 64, 1000, 1 << 20])


class AllowCopy(AllowAll):
    def judge(self, request: Request, names: Names) -> Verdict:
        del names
        return Allow((CopyIn() if b"copy" in request.text else None,))


def bodies(runs: list[tuple[bytes, int]]) -> list[bytes]:
    return [body for body, count in runs for _ in range(count)]


def outcome(session: Session) -> Outcome:
    (found,) = (event for event in session.take_events() if isinstance(event, Outcome))
    return found


@given(RUNS, SIZES, st.sampled_from([Backend.DATA_ROW, Backend.COPY_DATA]))
def test_rows(runs: list[tuple[bytes, int]], size: int, kind: Backend):
    session, sent = Session(AllowCopy(), limit=1 << 20, parameters={}), bodies(runs)
    stream = b"".join(message(kind, body) for body in sent) + END
    session.client_data(frontend.query(b"select 1"))
    shown = b""
    for start in range(0, len(stream), size):
        session.server_data(stream[start : start + size])
        shown += b"".join(session.take_client())
    assert shown == stream
    ended = outcome(session)
    assert ended.rows == len(sent)
    assert ended.copied == (sum(map(len, sent)) if kind == Backend.COPY_DATA else 0)


@given(RUNS, SIZES)
def test_copy_from_the_client(runs: list[tuple[bytes, int]], size: int):
    session, sent = Session(AllowCopy(), limit=1 << 20, parameters={}), bodies(runs)
    stream = b"".join(message(Frontend.COPY_DATA, body) for body in sent) + message(Frontend.COPY_DONE)
    session.client_data(frontend.query(b"copy"))
    session.server_data(message(Backend.COPY_IN_RESPONSE, b"\0\0\0"))
    session.take_server()
    relayed = b""
    for start in range(0, len(stream), size):
        session.client_data(stream[start : start + size])
        while session.unfinished:
            session.go_on()
        relayed += b"".join(session.take_server())
    assert relayed == stream
    session.server_data(END)
    assert outcome(session).copied == sum(map(len, sent))
