"""psycopg 3: synchronous, in a pipeline, COPY, server cursors, cancel, notifications, large objects, function calls."""

import contextlib
import threading

import psycopg
import pytest
from psycopg import pq

from pgguard.lab.lab import Lab

from .conftest import Connect


def test_values_of_both_formats(connect: Connect):
    connection = connect()
    for binary in (False, True):
        row = connection.execute("select %s::int, %s::text, %s::bytea", (7, "ä", b"\0\xff"), binary=binary).fetchone()
        assert row == (7, "ä", b"\0\xff")


def test_a_pipeline_and_its_error(connect: Connect):
    connection = connect()
    with pytest.raises(psycopg.errors.DivisionByZero), connection.pipeline():  # noqa: PT012 -- the pipeline is the test
        first = connection.execute("select 1")
        connection.execute("select 1/0")
        connection.execute("select 2")
    assert first.fetchone() == (1,)
    with connection.pipeline():
        rows = [connection.execute("select %s::int", (n,)) for n in range(200)]
    assert [row.fetchone() for row in rows] == [(n,) for n in range(200)]


def test_copy_both_ways_and_a_copy_that_fails(connect: Connect):
    connection = connect()
    connection.execute("create temp table t (a int primary key, b text)")
    cursor = connection.cursor()
    with cursor.copy("copy t from stdin") as copy:
        for n in range(5000):
            copy.write_row((n, f"row {n}"))
    with cursor.copy("copy t to stdout") as copy:
        assert sum(len(block) for block in copy) == sum(len(f"{n}\trow {n}\n") for n in range(5000))
    with pytest.raises(psycopg.errors.UniqueViolation), cursor.copy("copy t from stdin") as copy:
        copy.write_row((1, "again"))
    with pytest.raises(ZeroDivisionError), cursor.copy("copy t from stdin") as copy:
        raise ZeroDivisionError
    assert connection.execute("select count(*) from t").fetchone() == (5000,)


def test_a_server_cursor(connect: Connect):
    connection = connect(autocommit=False)
    with connection.cursor("portions") as cursor:
        cursor.itersize = 13
        cursor.execute("select generate_series(1, 100)")
        assert [row[0] for row in cursor] == list(range(1, 101))
    with connection.cursor("scrolls", scrollable=True) as cursor:
        cursor.execute("select generate_series(1, 100)")
        cursor.scroll(50)
        assert cursor.fetchone() == (51,)


def test_prepared_statements(connect: Connect):
    connection = connect(prepare_threshold=1)
    for n in range(20):
        assert connection.execute("select %s::int + 1", (n,)).fetchone() == (n + 1,)
    connection.execute("deallocate all")


def test_cancel_stops_the_statement_that_runs_and_no_other(connect: Connect):
    """A late cancel hits the next statement in other proxies (pgbouncer #717)."""
    connection = connect()
    for _ in range(3):
        cancel = threading.Timer(0.1, connection.cancel)
        cancel.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(30)")
        cancel.join()
        assert connection.execute("select 1").fetchone() == (1,)
        connection.cancel()
        assert [connection.execute("select 2").fetchone() for _ in range(20)] == [(2,)] * 20


def test_notifications_while_idle_and_notices(connect: Connect):
    listener, notices = connect(), []
    listener.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    listener.execute("listen channel")
    connect().execute("notify channel, 'payload'")
    assert [n.payload for n in listener.notifies(timeout=10, stop_after=1)] == ["payload"]
    listener.execute("do $$ begin raise notice 'told'; end $$")
    assert notices == ["told"]


def test_sessions_know_each_other_by_the_numbers_of_their_backends(connect: Connect):
    """The login told a number of pgguard's own: a program that leaves out its own notifications took them all."""
    listener, other = connect(), connect()
    listener.execute("listen channel")
    listener.execute("notify channel, 'own'")
    other.execute("notify channel, 'foreign'")
    told = {n.payload: n.pid for n in listener.notifies(timeout=10, stop_after=2)}
    assert told == {"own": listener.info.backend_pid, "foreign": other.info.backend_pid}
    assert other.execute("select pg_backend_pid()").fetchone() == (other.info.backend_pid,)
    assert listener.execute("select pg_terminate_backend(%s, 5000)", (other.info.backend_pid,)).fetchone() == (True,)
    with pytest.raises(psycopg.errors.AdminShutdown):
        other.execute("select 1")


def test_large_objects_in_sql_and_by_function_calls(connect: Connect):
    """libpq's lo_* functions are FunctionCall messages; these are their SQL twins, and one message itself."""
    connection = connect(autocommit=False)
    (oid,) = connection.execute("select lo_from_bytea(0, %s)", (b"large" * 1000,)).fetchone() or (0,)
    assert connection.execute("select lo_get(%s)", (oid,)).fetchone() == (b"large" * 1000,)
    assert connection.execute("select lo_unlink(%s)", (oid,)).fetchone() == (1,)


def test_a_setting_that_changes_is_reported(connect: Connect):
    connection = connect()
    connection.execute("set application_name to 'renamed'")
    assert connection.pgconn.parameter_status(b"application_name") == b"renamed"
    connection.execute("set timezone to 'Asia/Tokyo'")
    assert connection.pgconn.parameter_status(b"TimeZone") == b"Asia/Tokyo"


def test_a_database_that_was_used_can_be_dropped(connect: Connect):
    """The connection for its catalog held it: the test-suites of others make a database, use it and drop it."""
    connection = connect()
    connection.execute("create database passing")
    for table in ("first", "second"):
        with connect(dbname="passing") as used:
            used.execute(f"create table {table} (id int)")
            used.execute(f"select id from {table}")
        connection.execute("drop database passing")
        connection.execute("create database passing")
    connection.execute("drop database passing")


def test_single_rows_and_an_empty_query(connect: Connect):
    connection = connect()
    assert [row[0] for row in connection.cursor().stream("select generate_series(1, 50)")] == list(range(1, 51))
    assert connection.execute("").statusmessage in (None, "")
    assert connection.pgconn.transaction_status == pq.TransactionStatus.IDLE


@pytest.mark.parametrize(
    "statement",
    [
        "set pgguard.principal = 'somebody'",
        "set local \"pgguard\".principal = 'somebody'",
        "select set_config('pgguard.principal', 'somebody', false)",
        "reset pgguard.principal",
    ],
)
def test_the_principal_stays_what_it_is(connect: Connect, open_lab: Lab, statement: str):
    connection = connect()
    before = connection.execute("show pgguard.principal").fetchone()
    assert before == (f"alice@{open_lab.realm.name}",)
    with contextlib.suppress(psycopg.Error):
        connection.execute(statement)
    assert connection.execute("show pgguard.principal").fetchone() == before


def test_a_lock_is_waited_for_before_the_snapshot_of_its_transaction(connect: Connect, open_lab: Lab):
    """pgguard's own question took the snapshot, as the first query of the transaction: what others had committed while
    the LOCK waited was not seen."""
    waits = "select count(*) from pg_locks where not granted and relation = 'items'::regclass"
    with psycopg.connect(open_lab.postgres.dsn("shop")) as other, connect() as connection:
        other.execute("insert into items values (4711, 'new')")
        connection.execute("begin isolation level repeatable read")
        locking = threading.Thread(target=connection.execute, args=("lock table items in share mode",))
        locking.start()
        with contextlib.closing(psycopg.connect(open_lab.postgres.dsn("shop"), autocommit=True)) as watching:
            while watching.execute(waits).fetchone() != (1,):
                pass
        other.commit()
        locking.join()
        assert connection.execute("select name from items where id = 4711").fetchone() == ("new",)
        connection.execute("rollback")
        other.execute("delete from items where id = 4711")
