"""What the database sends in one message may be a gigabyte: none of it is gathered here."""

import tracemalloc
from collections.abc import Iterable

import pytest
from judges import AllowAll

from pgguard.session.session import Session
from pgguard.wire import backend, frontend
from pgguard.wire.constants import Backend

_PIECE = 1 << 16
_LARGE = 32 << 20
_READY = backend.ready_for_query(b"I")


def asked(text: bytes, max_rows: int | None = None) -> Session:
    session = Session(AllowAll(max_rows), limit=1 << 20, parameters={})
    session.client_data(text)
    session.take_server()
    return session


def received(session: Session, pieces: Iterable[bytes]) -> tuple[bytes, int]:
    """What the client gets, and how much the session has held meanwhile, in bytes at most."""
    told = bytearray()
    tracemalloc.start()
    for piece in pieces:
        session.server_data(piece)
        got = b"".join(session.take_client())
        if len(told) < 4 * _PIECE:
            told += got
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return bytes(told), peak


def large(kind: Backend, begins: bytes, ends: bytes = b"") -> Iterable[bytes]:
    """A message in pieces as they come from a socket, and what follows it."""
    size = 5 + len(begins) + _LARGE
    head = bytes((kind,)) + (size - 1).to_bytes(4, "big") + begins
    yield head + b"x" * (_PIECE - len(head))
    left = size - _PIECE
    while left > _PIECE:
        yield b"x" * _PIECE
        left -= _PIECE
    yield b"x" * left + ends


@pytest.mark.parametrize("kind", [Backend.ERROR_RESPONSE, Backend.NOTICE_RESPONSE])
def test_of_a_large_error_or_notice_the_beginning_is_told(kind: Backend):
    """It was gathered piece by piece, and copied as a whole with each: `select repeat('x', 500000000)::int` stopped all
    sessions of the process for minutes."""
    session = asked(frontend.query(b"select 1"))
    begins = b"SERROR\0VERROR\0C22P02\0Minvalid input: xx"
    told, peak = received(session, large(kind, begins))
    assert told[5:].startswith(begins)
    assert 1 << 18 < int.from_bytes(told[1:5], "big") <= (1 << 20) + _PIECE
    assert peak < 16 << 20
    session.server_data(_READY)
    assert b"".join(session.take_client()) == _READY
    assert not session.running


def test_the_result_of_a_function_call_goes_on_as_it_comes():
    session = asked(frontend.function_call(1622))
    begins = _LARGE.to_bytes(4, "big")
    told, peak = received(session, large(Backend.FUNCTION_CALL_RESPONSE, begins, _READY))
    assert told.startswith(b"V" + (_LARGE + 8).to_bytes(4, "big") + begins + b"xxxx")
    assert peak < 16 << 20
    assert not session.running


def test_a_row_too_many_is_dropped_as_it_comes():
    session = asked(frontend.query(b"select 1"), max_rows=1)
    row = b"\0\1" + _LARGE.to_bytes(4, "big")
    few = backend.data_row(("a",))
    session.server_data(few)
    assert b"".join(session.take_client()) == few
    told, peak = received(session, large(Backend.DATA_ROW, row, backend.command_complete("SELECT 2") + _READY))
    assert b"C53400\0" in told
    assert told.endswith(_READY)
    assert b"xxxx" not in told
    assert peak < 16 << 20
