"""The cursors that exist, as the session knows them and as PostgreSQL tells, after whatever transactions do to them."""

import random
import re

import pytest
from judges import AllowAll
from raw import Through
from test_goodbye import ready

from pgguard.lab.postgres import Postgres
from pgguard.model.control import CloseCursor, Control, DeclareCursor, Transaction, TransactionVerb
from pgguard.session.judgement import Allow, Names, Request, TransactionStatus, Verdict
from pgguard.wire import backend, frontend
from pgguard.wire.constants import Backend

_NAMES = ("c", "d")
_EXISTING = "select name || ': ' || statement from pg_cursors order by name"


def _transaction(verb: TransactionVerb, savepoint: str | None = None) -> Transaction:
    return Transaction(verb, ends=False, savepoint=savepoint)


def _declared(name: str, query: str, how: str = "") -> tuple[str, Control]:
    return f"declare {name} cursor {how} for {query}", DeclareCursor(name, query, holdable=bool(how))


STATEMENTS: dict[str, Control | None] = {
    "begin": _transaction(TransactionVerb.BEGIN),
    "commit": _transaction(TransactionVerb.COMMIT),
    "commit and chain": _transaction(TransactionVerb.COMMIT),
    "rollback": _transaction(TransactionVerb.ROLLBACK),
    "rollback and chain": _transaction(TransactionVerb.ROLLBACK),
    **{f"savepoint {name}": _transaction(TransactionVerb.SAVEPOINT, name) for name in "st"},
    **{f"release {name}": _transaction(TransactionVerb.RELEASE, name) for name in "st"},
    **{f"rollback to {name}": _transaction(TransactionVerb.ROLLBACK_TO, name) for name in "st"},
    **dict(_declared(name, query) for name in _NAMES for query in ("select 1", "select 2")),
    **dict(_declared(name, "select 3", "with hold") for name in _NAMES),
    **{f"close {name}": CloseCursor(name) for name in _NAMES},
    "close all": CloseCursor(None),
    "select 1/0": None,
}
_OFTEN = [text for text in STATEMENTS if text.startswith(("savepoint", "declare", "rollback to", "release"))]


class Known(AllowAll):
    """Allows all, with what it does to names."""

    def judge(self, request: Request, names: Names) -> Verdict:
        self.names = names
        return Allow(tuple(STATEMENTS.get(text.strip()) for text in request.text.decode().split(";")))

    def cursors(self) -> list[str]:
        found = ((name, self.names.portal(name)) for name in _NAMES)
        return [f"{name}: {portal.prepared.text.decode()}" for name, portal in found if portal is not None]


class Client:
    def __init__(self, postgres: Postgres) -> None:
        self.judge = Known()
        self.through = Through(postgres.port, "postgres", self.judge)

    def run(self, text: str) -> list[str]:
        self.through.send(frontend.query(text.encode()))
        rows = [backend.read_data_row(m.raw) for m in self.through.until(ready) if m.type == Backend.DATA_ROW]
        return [row[0].decode() for row in rows]

    def agrees(self) -> bool:
        """As far as PostgreSQL can be asked: in a failed transaction it says nothing."""
        if self.through.session.status is TransactionStatus.FAILED:
            return True
        return self.judge.cursors() == [_query(*told.split(": ")) for told in self.run(_EXISTING)]


def _query(name: str, string: str) -> str:
    """PostgreSQL tells the whole string that had the DECLARE."""
    return f"{name}: {re.findall(rf'declare {name} cursor .*?for (select .)', string)[-1]}"


@pytest.fixture
def client(postgres: Postgres):
    made = Client(postgres)
    yield made
    made.through.close()


@pytest.mark.parametrize(
    "story",
    [
        ("begin", "savepoint s", "declare c cursor  for select 1", "rollback to s"),
        ("begin", "savepoint s", "savepoint t", "declare c cursor  for select 1", "release t", "rollback to s"),
        ("begin", "declare c cursor  for select 1", "savepoint s", "close c", "rollback to s"),
        ("begin", "declare c cursor  for select 1", "savepoint s", "rollback to s"),
        ("begin", "savepoint s", "savepoint s", "declare c cursor  for select 1", "release s", "rollback to s"),
        ("begin", "savepoint s", "declare c cursor  for select 1", "select 1/0", "rollback to s"),
        ("begin", "declare c cursor  for select 1", "commit and chain"),
        ("begin", "declare c cursor  for select 1", "rollback and chain"),
        ("begin", "declare c cursor with hold for select 3", "commit", "begin", "savepoint s", "rollback to s"),
        ("begin", "declare c cursor with hold for select 3", "rollback"),
    ],
    ids="; ".join,
)
def test_what_a_transaction_has_closed_is_known_no_more(client: Client, story: tuple[str, ...]):
    """A cursor that went with its savepoint, or with a transaction whose end another follows at once, was still known.

    A function could open another under its name, of which a FETCH was judged by the query of the one before.
    """
    for text in story:
        client.run(text)
    assert client.agrees()


@pytest.mark.parametrize("seed", range(12))
def test_the_session_knows_the_cursors_that_exist(client: Client, seed: int):
    choice = random.Random(seed)
    done = []
    for _ in range(60):
        texts = choice.choices(choice.choice([list(STATEMENTS), _OFTEN]), k=choice.choice([1, 1, 1, 2]))
        done.append("; ".join(texts))
        client.run(done[-1])
        assert client.agrees(), done
