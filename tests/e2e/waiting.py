"""bob, whose statements wait, and dora, who decides: psycopg on libpq, and the console by psql."""

import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Queue

import psycopg
from psycopg.pq import TransactionStatus

from pgguard.lab.lab import Lab
from tests.e2e.psql import run_psql

RULES = """
rules:
  - {name: writers-lock, who: {group: writers}, allow: lock, on: [sales.orders, sales.products]}
  - {name: held-by-two, who: {group: writers}, hold: lock, on: sales.products, approvers: {group: dba, count: 2, alone: {group: oncall}}}
  - {name: held, who: {group: writers}, hold: [select, delete], on: sales.orders, approvers: {group: dba}}
  - {name: held-shortly, who: {group: writers}, hold: select, on: sales.products, approvers: {group: dba}, timeout: 1s}
  - {name: held-a-transaction, who: {group: writers}, hold: insert, on: sales.orders, approvers: {group: dba}, covers: transaction}
  - {name: held-a-session, who: {group: writers}, hold: update, on: sales.orders, approvers: {group: dba}, covers: session, for: 30m}
"""

PEOPLE = """
users:
  alice: {groups: [analysts]}
  bob: {groups: [writers]}
  ben: {groups: [dba]}            # who may be bob, too
  dora: {groups: [dba]}
  eve: {groups: [dba, oncall]}
"""
SETTINGS = (
    "holds.remind_seconds=0.2",
    "directory.refresh=0.2",
    'console.admin_groups=["dba"]',
    r"kerberos.map=['/(.*)@PGGUARD[.]TEST \1', 'ben@PGGUARD.TEST bob']",
)


_PAUSE = threading.Event()


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

    def run(self, text: str, values: Sequence[object] | None = None) -> "Future[object]":
        return self.beside(self.session.execute, text, values)

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

    def decide(self, command: str, who: str = "dora", **variables: str) -> str:
        """What an approver is told."""
        return run_psql(self.lab, who, command, PGDATABASE="pgguard", **variables).stderr

    def shown(self, number: str) -> list[tuple[str, str]]:
        """What dora sees of a hold."""
        lines = run_psql(self.lab, "dora", f"show hold {number}", PGDATABASE="pgguard").stdout.splitlines()
        return [(what, rest) for what, _, rest in (line.partition("|") for line in lines)]

    @contextmanager
    def outside(self, user: str, group: str) -> Iterator[None]:
        """Somebody has left a group for a time."""
        self.lab.slapd.remove_from_group(user, group)
        self._until_known(user, group, inside=False)
        try:
            yield
        finally:
            self.lab.slapd.add_to_group(user, group)
            self._until_known(user, group, inside=True)

    def _until_known(self, user: str, group: str, *, inside: bool) -> None:
        """pgguard has heard of it, of this user's sessions too."""
        for _ in range(100):
            groups = run_psql(self.lab, "ben", f"show groups of {user}", PGDATABASE="pgguard").stdout
            if (f"{group}|" in groups) is inside:
                return
        raise AssertionError(f"{user}: {groups}")

    @contextmanager
    def other_rules(self, text: str) -> Iterator[None]:
        """These beside those of the lab."""
        added = self.lab.rules / "added.yaml"
        added.write_text(f"rules:\n  - {text}\n")
        assert "rules in force" in self.decide("reload")
        try:
            yield
        finally:
            added.unlink()
            assert "rules in force" in self.decide("reload")

    def told(self, number: str, event: str) -> dict[str, object]:
        """What the hook was told of an event of this hold."""
        for _ in range(200):
            rest, found = (self.lab.folder / "hook.json").read_text(), []
            while rest:
                one, end = json.JSONDecoder().raw_decode(rest)
                found.append(one)
                rest = rest[end:]
            for one in found:
                if (str(one["hold"]), one["event"]) == (number, event):
                    return one
            _PAUSE.wait(0.05)
        raise AssertionError(f"the hook was not told {event} of #{number}")

    def until_event(self, number: str, event: str) -> None:
        """What is on its way into the audit has come."""
        for _ in range(200):
            if event in [what for what, _ in self.events(number)]:
                return
            _PAUSE.wait(0.05)
        raise AssertionError(f"no {event} of #{number}: {self.events(number)}")

    def events(self, number: str) -> list[tuple[str, str]]:
        """What the audit tells of a hold: events and by whom."""
        records = (json.loads(line) for line in self.lab.audit.read_text().splitlines())
        return [(r["event"], r.get("by", "")) for r in records if r["type"] == "hold" and r["hold"] == number]

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
