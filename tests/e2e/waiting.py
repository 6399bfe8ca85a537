"""bob, whose statements wait, and dora, who decides: psycopg on libpq, and the console by psql."""

import os
import re
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue

import psycopg
from psycopg.pq import TransactionStatus

from pgguard.lab.lab import Lab
from tests.e2e.psql import run_psql

RULES = """
rules:
  - {name: writers-lock, who: {group: writers}, allow: lock, on: sales.orders}
  - {name: held, who: {group: writers}, hold: [select, delete], on: sales.orders, approvers: {group: dba}}
  - {name: held-shortly, who: {group: writers}, hold: select, on: sales.products, approvers: {group: dba}, timeout: 1s}
  - {name: held-a-transaction, who: {group: writers}, hold: insert, on: sales.orders, approvers: {group: dba}, covers: transaction}
  - {name: held-a-session, who: {group: writers}, hold: update, on: sales.orders, approvers: {group: dba}, covers: session, for: 30m}
"""


class Asking:
    """bob's session, whose statements are sent beside, and the notices it gets."""

    def __init__(self, lab: Lab, pool: ThreadPoolExecutor) -> None:
        self.lab = lab
        self._pool = pool
        where = f"host=localhost port={lab.proxy.port} user=bob dbname=shop gssencmode=prefer"
        self.session = psycopg.connect(where, autocommit=True)
        self.notices: Queue[str] = Queue()
        self.session.add_notice_handler(lambda told: self.notices.put(told.message_primary or ""))

    def beside(self, work: Callable[..., object], *arguments: object) -> "Future[object]":
        self.notices = Queue()  # what was told before is over
        return self._pool.submit(work, *arguments)

    def send(self, shape: str, table: str) -> "Future[object]":
        return self.beside(SHAPES[shape], self.session, f"select from {table}")

    def run(self, text: str) -> "Future[object]":
        return self.beside(self.session.execute, text)

    def do(self, text: str, values: Sequence[object] | None = None) -> psycopg.Cursor:
        """What is not to wait."""
        return self._pool.submit(self.session.execute, text, values).result(20)

    def number(self) -> str:
        """That of the hold, once the client has been told of it."""
        told = self.notices.get(timeout=20)
        found = re.match(r"held as #(\d+) by rule held", told)
        assert found is not None, told
        return found[1]

    def leave(self) -> None:
        """Go without a word, whatever waits."""
        if not self.session.closed:
            with socket.socket(fileno=os.dup(self.session.fileno())) as same:
                same.shutdown(socket.SHUT_RDWR)

    def decide(self, command: str) -> str:
        """What dora is told."""
        return run_psql(self.lab, "dora", command, PGDATABASE="pgguard").stderr

    def is_free(self) -> None:
        """The session works, and waits no more."""
        assert self.session.info.transaction_status is TransactionStatus.IDLE
        assert self.do("select 42").fetchone() == (42,)
        assert not run_psql(self.lab, "dora", "show holds", PGDATABASE="pgguard").stdout


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


SHAPES: dict[str, Callable[[psycopg.Connection, str], None]] = {
    "simple": _simple,
    "extended": _extended,
    "transaction": _transaction,
    "pipeline": _pipeline,
    "cursor": _cursor,
}
