"""A session that is to end at rest: no transaction is cut, and nothing of the next one begins."""

import pytest
from judges import AllowAll

from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.session.session import Session
from pgguard.wire import backend, frontend

_SHUTDOWN = Refusal(SqlState.ADMIN_SHUTDOWN, "terminating connection because pgguard is shutting down")


@pytest.fixture
def session() -> Session:
    return Session(AllowAll(), limit=1 << 20, parameters={})


def _answer(session: Session, tag: str, status: bytes) -> bytes:
    session.server_data(backend.command_complete(tag) + backend.ready_for_query(status))
    return b"".join(session.take_client())


def test_an_idle_session_ends_at_once(session: Session):
    session.end_at_rest(_SHUTDOWN)
    assert session.over
    assert b"57P01" in b"".join(session.take_client())


def test_a_transaction_is_let_go_on_to_its_end(session: Session):
    session.client_data(frontend.query(b"begin"))
    session.end_at_rest(_SHUTDOWN)
    assert b"57P01" not in _answer(session, "BEGIN", b"T")
    session.client_data(frontend.query(b"commit"))
    assert not session.over
    assert b"57P01" in _answer(session, "COMMIT", b"I")
    assert session.over


def test_a_failed_transaction_too(session: Session):
    session.client_data(frontend.query(b"begin"))
    _answer(session, "BEGIN", b"E")
    session.end_at_rest(_SHUTDOWN)
    assert not session.over


def test_what_waits_behind_the_end_does_not_run(session: Session):
    """The client learns that it did not, from the error it gets in its place."""
    session.client_data(frontend.parse(b"", b"select 1") + frontend.bind(b"", b"") + frontend.execute(b""))
    session.take_server()
    session.end_at_rest(_SHUTDOWN)
    assert not session.over, "the pipeline has no Sync yet"
    session.client_data(frontend.sync())
    session.hold_input()
    session.client_data(frontend.query(b"delete from t"))
    session.server_data(b"1\0\0\0\x042\0\0\0\4" + backend.command_complete("SELECT 1") + backend.ready_for_query(b"I"))
    session.cancelled()
    assert b"57P01" in b"".join(session.take_client())
    assert b"delete" not in b"".join(session.take_server())
