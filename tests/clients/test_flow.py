"""Slow readers, slow databases, and clients that vanish: bounded memory, and nothing left running."""

import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import pq

from pgguard.lab.lab import Lab

from .conftest import Connect

MEGABYTE = 1 << 20


def memory(lab: Lab) -> int:
    """The proxy's resident bytes."""
    pages = Path(f"/proc/{lab.proxy.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def wait_for(lab: Lab, query: str, wanted: str, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while lab.postgres.run(query, "shop").strip() != wanted:
        assert time.monotonic() < end, f"{query} is not {wanted}"


@contextmanager
def grows_less_than(lab: Lab, limit: int) -> Iterator[None]:
    before = memory(lab)
    yield
    assert memory(lab) - before < limit


def backend_of(connection: psycopg.Connection) -> int:
    row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


RESULT = b"select repeat('x', 10000) from generate_series(1, %d)"


def test_a_client_that_never_reads_holds_bounded_memory_and_stops_nobody(connect: Connect, open_lab: Lab):
    idle = connect()
    pid = backend_of(idle)
    with grows_less_than(open_lab, 30 * MEGABYTE):
        idle.pgconn.send_query(RESULT % 30000)
        wait_for(open_lab, f"select wait_event from pg_stat_activity where pid = {pid}", "ClientWrite")
        assert connect().execute("select 1").fetchone() == (1,)


def test_a_large_result_passes_through_bounded_memory(connect: Connect, open_lab: Lab):
    connection = connect()
    with (
        grows_less_than(open_lab, 30 * MEGABYTE),
        connection.cursor().copy(b"copy (" + RESULT % 8000 + b") to stdout") as copy,
    ):
        assert sum(len(block) for block in copy) == 8000 * 10001


def test_a_database_that_takes_nothing_stops_the_client(connect: Connect, open_lab: Lab):
    """Each piece from the client used to undo the database side's wish to pause it: a COPY was read without bound."""
    connection, lock = connect(), connect()
    _stalling(connection)
    lock.execute("select pg_advisory_lock(77)")
    pgconn = connection.pgconn
    pgconn.exec_(b"copy stalled from stdin")
    pgconn.nonblocking = 1
    with grows_less_than(open_lab, 30 * MEGABYTE):
        sent = _send_until_blocked(pgconn, 80 * MEGABYTE)
        assert sent < 80 * MEGABYTE
    lock.execute("select pg_advisory_unlock(77)")
    while pgconn.flush():
        select.select([], [pgconn.socket], [], 10)
    pgconn.nonblocking = 0
    pgconn.put_copy_end()
    assert pgconn.get_result().status == pq.ExecStatus.COMMAND_OK
    assert pgconn.get_result() is None
    assert connection.execute("select count(*) from stalled").fetchone() == (sent // len(ROW),)


ROW = b"y" * 99_999 + b"\n"


def _stalling(connection: psycopg.Connection) -> None:
    """A table that takes rows only while nobody holds the advisory lock 77."""
    connection.execute("create temp table stalled (t text)")
    connection.execute(
        "create function pg_temp.stall() returns trigger language plpgsql as "
        "$$ begin perform pg_advisory_xact_lock(77); return new; end $$"
    )
    connection.execute("create trigger stall before insert on stalled for each row execute function pg_temp.stall()")


def _send_until_blocked(pgconn: pq.abc.PGconn, limit: int) -> int:
    """Bytes given to a non-blocking connection before it has not taken any for half a second."""
    sent, last = 0, time.monotonic()
    while sent < limit and time.monotonic() - last < 0.5:
        if pgconn.flush() == 0:
            pgconn.put_copy_data(ROW)
            sent += len(ROW)
            last = time.monotonic()
    return sent


def _vanish(connection: psycopg.Connection) -> None:
    """Hang up without a word."""
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as same:
        same.shutdown(socket.SHUT_RDWR)


def test_a_client_that_vanishes_leaves_nothing_running(connect: Connect, open_lab: Lab):
    connection = connect()
    pid = backend_of(connection)
    connection.pgconn.send_query(b"select pg_sleep(300)")
    wait_for(open_lab, f"select wait_event from pg_stat_activity where pid = {pid}", "PgSleep")
    _vanish(connection)
    wait_for(open_lab, f"select count(*) from pg_stat_activity where pid = {pid}", "0")


def test_a_client_that_vanishes_while_it_is_not_read_is_noticed(connect: Connect, open_lab: Lab):
    """pause_reading() hides a hang-up.

    A plain FIN would wait behind what the client has sent and nobody reads (TCP): so it resets, as a host that goes.
    """
    connection, lock = connect(), connect()
    pid = backend_of(connection)
    _stalling(connection)
    lock.execute("select pg_advisory_lock(77)")
    connection.pgconn.exec_(b"copy stalled from stdin")
    connection.pgconn.nonblocking = 1
    assert _send_until_blocked(connection.pgconn, 80 * MEGABYTE) < 80 * MEGABYTE
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.pgconn.finish()
    wait_for(open_lab, f"select count(*) from pg_stat_activity where pid = {pid}", "0")


def test_a_statement_before_a_goodbye_runs_to_its_end(connect: Connect, open_lab: Lab):
    """The goodbye used to look like a client that vanished: its statement was cancelled."""
    connection, other = connect(), connect()
    other.execute("create table if not exists goodbye (a int)")
    other.execute("truncate goodbye")
    other.execute("select pg_advisory_lock(7)")
    pid = backend_of(connection)
    connection.pgconn.send_query(b"insert into goodbye select 1 from (select pg_advisory_lock(7)) as waited")
    wait_for(open_lab, f"select wait_event from pg_stat_activity where pid = {pid}", "advisory")
    connection.pgconn.finish()
    other.execute("select 1")  # pgguard has read the goodbye before
    other.execute("select pg_advisory_unlock(7)")
    wait_for(open_lab, f"select count(*) from pg_stat_activity where pid = {pid}", "0")
    assert open_lab.postgres.run("select count(*) from goodbye", "shop").strip() == "1"


def _pipeline(connection: psycopg.Connection, statement: bytes, count: int, last: bytes) -> None:
    """Send a statement so many times and another one, and read nothing."""
    pgconn = connection.pgconn
    pgconn.nonblocking = 1
    pgconn.enter_pipeline_mode()
    for number in range(count):
        pgconn.send_query_params(statement, [b"%d" % number])
    pgconn.send_query_params(last, [])
    pgconn.pipeline_sync()
    while pgconn.flush():
        select.select([], [pgconn.socket], [], 10)


def test_a_pipeline_before_a_goodbye_runs_to_its_end(connect: Connect, open_lab: Lab):
    """Its statements are taken in turns: the client is gone before the last of these, in which it says goodbye."""
    connection = connect()
    connection.execute("create table if not exists goodbye (a int)")
    connection.execute("truncate goodbye")
    pid = backend_of(connection)
    _pipeline(connection, b"insert into goodbye values ($1)", 1000, b"select 1")
    connection.pgconn.finish()
    wait_for(open_lab, f"select count(*) from pg_stat_activity where pid = {pid}", "0")
    assert open_lab.postgres.run("select count(*) from goodbye", "shop").strip() == "1000"


def test_a_client_that_vanishes_behind_a_pipeline_leaves_nothing_running(connect: Connect, open_lab: Lab):
    connection = connect()
    pid = backend_of(connection)
    _pipeline(connection, b"select $1::int", 1000, b"select pg_sleep(300)")
    _vanish(connection)
    wait_for(open_lab, f"select count(*) from pg_stat_activity where pid = {pid}", "0")


@pytest.mark.slow
def test_a_slow_reader_of_three_hundred_megabytes(connect: Connect, open_lab: Lab):
    connection, total = connect(), 0
    statement = b"copy (" + RESULT % 30000 + b") to stdout"
    with grows_less_than(open_lab, 30 * MEGABYTE), connection.cursor().copy(statement) as copy:
        for block in copy:
            total += len(block)
            if total % (60 * 10001) == 0:
                time.sleep(0.01)  # the slowness is the test's subject, not its synchronisation
    assert total == 30000 * 10001


def test_a_client_that_sends_no_more_and_never_reads_is_gone(connect: Connect, open_lab: Lab):
    """The transport waited for the client to take what was written, and the backend with it, without end."""
    connection = connect()
    pid = backend_of(connection)
    connection.pgconn.send_query(RESULT % 30000)
    wait_for(open_lab, f"select wait_event from pg_stat_activity where pid = {pid}", "ClientWrite")
    _vanish(connection)
    wait_for(open_lab, f"select count(*) from pg_stat_activity where pid = {pid}", "0")
