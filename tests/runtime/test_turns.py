"""A long pipeline: the other sessions are served meanwhile, and nothing of it is forgotten."""

import asyncio
from pathlib import Path

from bench.known import READY, TEXT, make_house, prepared
from pgguard.runtime.connection import Connection
from pgguard.wire import backend, frontend

COUNT = 1000
STATEMENT = frontend.bind(b"", b"p", (b"7",)) + frontend.execute(b"")
PIPELINE = STATEMENT * COUNT + frontend.sync()
ANSWERS = (b"2\0\0\0\4" + backend.data_row(("Ann",)) + backend.command_complete("SELECT 1")) * COUNT + READY


def to_server(connection: Connection) -> list[bytes]:
    return connection._database.endpoint.transport.pieces


async def others_served(connection: Connection) -> int:
    """How often another session could have been served before the pipeline was through."""
    served = 0
    while connection.session.unfinished:
        await asyncio.sleep(0)
        served += 1
    return served


async def test_others_are_served_between_the_turns_of_a_pipeline(tmp_path: Path):
    """A thousand statements that came at once held the event loop for 0.4 s, in which nobody else was served."""
    connection, client = await prepared(make_house(tmp_path))
    to_server(connection).clear()
    client.pieces.clear()
    connection.from_client(PIPELINE)
    assert await others_served(connection) > 50
    assert b"".join(to_server(connection)) == PIPELINE
    connection.from_database(ANSWERS)
    assert b"".join(client.pieces) == ANSWERS


async def test_a_client_that_sends_faster_than_its_turns_come_is_not_read(tmp_path: Path):
    connection, _ = await prepared(make_house(tmp_path))
    piece = (frontend.bind(b"", b"p", (b"7" * 10_000,)) + frontend.execute(b"")) * 50
    while connection.session.backlog <= 1 << 20:
        connection.from_client(piece)
    assert connection._client._paused
    assert connection._client._watch is None, "whether it hangs up is seen when it is read again"
    await others_served(connection)
    assert not connection._client._paused


async def test_each_statement_of_a_long_pipeline_has_its_outcome(tmp_path: Path):
    """Of the requests that were in flight only the latest 1,024 were remembered, and the others' outcomes never
    recorded; nor did a lost group end such a statement."""
    house = make_house(tmp_path)
    connection, _ = await prepared(house)
    before = house.audit.path.read_text().count('"type":"outcome"')
    connection.from_client(PIPELINE)
    await others_served(connection)
    assert connection.session.runs > 0
    assert connection._approval.running.of(connection.session.runs) is not None
    connection.from_database(ANSWERS)
    assert house.audit.path.read_text().count('"type":"outcome"') - before == COUNT
    assert len(connection._approval.running) == 0, "an idle session remembers none"


async def test_a_goodbye_at_the_end_of_a_pipeline_is_one_also_when_the_client_is_gone_before_its_turn(tmp_path: Path):
    connection, _ = await prepared(make_house(tmp_path))
    to_server(connection).clear()
    connection.from_client(PIPELINE + frontend.terminate())
    assert connection.client_hung_up(), "what it sent before is still to be taken"
    connection.client_lost()
    await others_served(connection)
    await asyncio.sleep(0)
    assert connection.session.leaving
    assert b"".join(to_server(connection)) == PIPELINE + frontend.terminate()
    assert not connection.ended.is_set()
    connection.from_database(ANSWERS)
    connection.database_lost()
    assert connection.ended.is_set()


async def test_nothing_is_judged_behind_the_end(tmp_path: Path):
    house = make_house(tmp_path)
    connection, _ = await prepared(house)
    connection.from_client(PIPELINE)
    connection.database_lost()
    recorded = house.audit.path.read_bytes()
    connection.session.go_on()
    await asyncio.sleep(0)
    assert house.audit.path.read_bytes() == recorded


async def test_statements_that_are_prepared_and_never_run_are_not_remembered(tmp_path: Path):
    """They have no outcome."""
    connection, _ = await prepared(make_house(tmp_path))
    connection.from_client(frontend.parse(b"", TEXT) + frontend.bind(b"", b"", (b"7",)) + frontend.sync())
    connection.from_database(b"1\0\0\0\x042\0\0\0\4" + READY)
    assert len(connection._approval.running) == 0
