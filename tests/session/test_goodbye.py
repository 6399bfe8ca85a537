"""Terminate: what was sent before it runs to its end, and is answered."""

from judges import AllowAll
from raw import Direct, Through

from pgguard.lab.postgres import Postgres
from pgguard.wire import frontend
from pgguard.wire.constants import Backend
from pgguard.wire.framing import Message


def ready(found: list[Message]) -> bool:
    return any(message.type == Backend.READY_FOR_QUERY for message in found)


def test_a_statement_before_the_goodbye_is_answered(postgres: Postgres):
    """The session ended with the Terminate: its statement ran, but the client read nothing of it, not even an error."""
    script = frontend.query(b"select pg_sleep(0.05), 'answer'") + frontend.terminate()
    direct, through = Direct(postgres.port, "postgres"), Through(postgres.port, "postgres", AllowAll())
    direct.send(script)
    through.send(script)
    assert through.session.leaving
    assert [m.raw for m in through.until(ready)] == [m.raw for m in direct.until(ready)]
    direct.close()
    through.close()


def test_a_goodbye_of_an_idle_session_ends_it_at_once(postgres: Postgres):
    through = Through(postgres.port, "postgres", AllowAll())
    through.send(frontend.terminate())
    assert through.session.over
    through.close()


def test_nothing_is_taken_behind_a_goodbye(postgres: Postgres):
    through = Through(postgres.port, "postgres", AllowAll())
    through.send(frontend.query(b"select pg_sleep(0.05)") + frontend.terminate() + frontend.query(b"select 1"))
    found = through.until(ready)
    assert [m.type for m in found if m.type == Backend.DATA_ROW] == [Backend.DATA_ROW]
    assert through.session.backlog == 0
    through.close()
