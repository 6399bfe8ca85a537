"""Each way in which a hold ends, in each way in which a statement is sent, by psycopg on libpq."""

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import Queue

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from pgguard.lab.lab import Lab, Plan
from tests.e2e.conftest import run_psql

_RULES = """
rules:
  - {name: held, who: {group: writers}, hold: [select, delete], on: sales.orders, approvers: {group: dba}}
  - {name: held-shortly, who: {group: writers}, hold: select, on: sales.products, approvers: {group: dba}, timeout: 1s}
"""


@pytest.fixture(scope="module")
def lab(servers: Path) -> Iterator[Lab]:
    rules = servers / "endings-rules"
    shutil.copytree("rules", rules)
    (rules / "holds.yaml").write_text(_RULES)
    with Lab(Plan(servers / "endings", rules=rules, settings=("holds.remind_seconds=0.2",))) as running:
        yield running


class Asking:
    """bob's session, whose statements are sent beside, and the notices it gets."""

    def __init__(self, lab: Lab, pool: ThreadPoolExecutor) -> None:
        self.lab = lab
        self._pool = pool
        where = f"host=localhost port={lab.proxy.port} user=bob dbname=shop gssencmode=prefer"
        self.session = psycopg.connect(where, autocommit=True)
        self.notices: Queue[str] = Queue()
        self.session.add_notice_handler(lambda told: self.notices.put(told.message_primary or ""))

    def send(self, shape: str, table: str) -> "Future[None]":
        return self._pool.submit(_SHAPES[shape], self.session, f"select from {table}")

    def number(self) -> str:
        """That of the hold, once the client has been told of it."""
        told = self.notices.get(timeout=20)
        found = re.match(r"held as #(\d+) by rule held", told)
        assert found is not None, told
        return found[1]


def _simple(session: psycopg.Connection, text: str) -> None:
    psycopg.ClientCursor(session).execute(text)


def _extended(session: psycopg.Connection, text: str) -> None:
    session.execute(f"{text} where id > %s", [0])


def _transaction(session: psycopg.Connection, text: str) -> None:
    with session.transaction():
        session.execute(text)


def _pipeline(session: psycopg.Connection, text: str) -> None:
    with session.pipeline():
        session.execute("select 1")
        session.execute(text)
        session.execute("select 2")


def _cursor(session: psycopg.Connection, text: str) -> None:
    with session.transaction(), session.cursor("held") as cursor:
        cursor.execute(text)
        cursor.fetchall()


_SHAPES: dict[str, Callable[[psycopg.Connection, str], None]] = {
    "simple": _simple,
    "extended": _extended,
    "transaction": _transaction,
    "pipeline": _pipeline,
    "cursor": _cursor,
}
shapes = pytest.mark.parametrize("shape", sorted(_SHAPES))


@pytest.fixture
def asking(lab: Lab, as_user: Callable[[str], None]) -> Iterator[Asking]:
    as_user("bob")
    with ThreadPoolExecutor() as pool:
        one = Asking(lab, pool)
        yield one
        one.session.close()


def _decide(lab: Lab, command: str) -> str:
    return run_psql(lab, "dora", command, PGDATABASE="pgguard").stderr


def _is_free(asking: Asking) -> None:
    """Its session works, and it waits no more."""
    assert asking.session.info.transaction_status is TransactionStatus.IDLE
    assert asking.session.execute("select 42").fetchone() == (42,)
    assert not run_psql(asking.lab, "dora", "show holds", PGDATABASE="pgguard").stdout


@shapes
def test_approved(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    number = asking.number()
    assert "goes on" in _decide(asking.lab, f"approve {number}")
    if shape == "cursor":  # its FETCH is a statement of its own
        while (following := asking.number()) == number:
            pass
        assert "goes on" in _decide(asking.lab, f"approve {following}")
    waits.result(20)
    _is_free(asking)


@shapes
def test_refused(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    _decide(asking.lab, f"refuse {asking.number()} 'not now'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"dora refused hold #\d+: not now"):
        waits.result(20)
    _is_free(asking)


@shapes
def test_cancelled(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    asking.number()
    asking.session.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled, match="canceling statement due to user request"):
        waits.result(20)
    _is_free(asking)


@shapes
def test_expired_after_reminders(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.products")
    number = asking.number()
    assert asking.number() == number, "it is told again"
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="was not approved within 1 s"):
        waits.result(20)
    _is_free(asking)


@shapes
def test_left(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    number = asking.number()
    with socket.socket(fileno=os.dup(asking.session.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)
    with pytest.raises(psycopg.OperationalError):
        waits.result(20)
    while f'"hold":"{number}","event":"withdrawn"' not in asking.lab.audit.read_text():
        run_psql(asking.lab, "dora", "show holds", PGDATABASE="pgguard")  # its end is on its way
    assert not run_psql(asking.lab, "dora", "show holds", PGDATABASE="pgguard").stdout


@pytest.mark.slow
@shapes
def test_shut_down(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    number = asking.number()
    asking.lab.proxy.stop()
    try:
        with pytest.raises(psycopg.OperationalError) as raised:
            waits.result(20)
        # in a pipeline psycopg tells of the connection's end in the error's stead
        assert shape == "pipeline" or "pgguard is shutting down" in str(raised.value)
    finally:
        asking.lab.proxy.start()
    assert f'"hold":"{number}","event":"withdrawn"' in asking.lab.audit.read_text()


@pytest.mark.parametrize("shape", sorted(_SHAPES.keys() - {"cursor"}))
def test_the_databases_statement_timeout_is_not_for_the_time_of_people(
    lab: Lab, as_user: Callable[[str], None], shape: str
):
    """It ran from the Parse on, and the approved statement failed by it."""
    as_user("bob")
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        asking = Asking(lab, pool)
        stack.callback(asking.session.close)
        asking.session.execute("set statement_timeout = '300ms'")
        waits = asking.send(shape, "sales.orders")
        number = asking.number()
        for _ in range(3):
            asking.number()
        _decide(lab, f"approve {number}")
        waits.result(20)
        _is_free(asking)
