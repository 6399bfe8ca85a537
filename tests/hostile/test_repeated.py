"""What a client repeats is judged as if it were new: the same answers, the same records, whatever came between.

A piece that is known by rote goes by its precedent. The same piece behind a Flush, which changes nothing else, is taken
apart each time: so one session that sends the one, and another that sends the other, must see the same.
"""

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import pq

from pgguard.audit.reading import records
from pgguard.audit.records import DecisionMade, SessionEnded, SessionStarted, StatementEnded
from pgguard.lab.lab import Lab
from pgguard.model.decision import Effect
from pgguard.wire import frontend
from pgguard.wire.constants import Frontend
from pgguard.wire.framing import message
from tests.audit.collectors import wait_for

SEEDS = max(1, int(os.environ.get("PGGUARD_FUZZ", "200")) // 100)


def _extended(statement: str, *values: str | None, portal: str = "", middle: bytes = b"", rows: int = 0) -> bytes:
    bound = tuple(None if value is None else value.encode() for value in values)
    bind = frontend.bind(portal.encode(), statement.encode(), bound)
    return bind + middle + frontend.execute(portal.encode(), rows) + frontend.sync()


def _parse(name: str, text: str) -> bytes:
    return frontend.parse(name.encode(), text.encode())


_SYNC = frontend.sync()
_PREPARED = {
    "c": "select name from sales.customers where id = $1",
    "n": "insert into lab.notes values ($1, $2) returning id",
    "o": "select id from sales.orders",
    "b": "begin",
    "e": "commit",
    "u": "select * from mine",
    "f": "select lab.built_in(1)",
    "s": "select pg_catalog.set_config('search_path', $1, false)",
}
_DESCRIBE = message(Frontend.DESCRIBE, b"P\0")
_QUERIES = (
    "select name from sales.customers where id = 1", "select card_number from sales.customers", "begin", "commit",
    "rollback", "savepoint a", "rollback to a", "release a", "begin read only", "begin isolation level repeatable read",
    "select id, body from lab.notes order by id limit 1", "select * from mine", "set search_path = lab, public",
    "set search_path = vault", "set local search_path = vault", "reset all", "discard all", "discard temp",
    "deallocate all", "deallocate c", "prepare c as select id from sales.orders", "execute c(1)", "execute c",
    "create table if not exists lab.mine (id int)", "drop table if exists lab.mine",
    "create temp table if not exists mine (code text)", "drop table if exists pg_temp.mine",
    "alter table lab.mine add column if not exists more int", "alter table lab.mine drop column if exists more",
    "select 1; select 2", "begin; select 1; commit", "set application_name = 'one'", "set application_name = 'two'",
    "set role app", "reset role", "select 1/0", "select wrong from", "", ";",
    "declare w cursor with hold for select id from sales.customers", "fetch 1 from w", "close w", "close all",
    "create function lab.reads() returns bigint language sql as 'select 1::bigint'", "select lab.reads()",
    "drop function if exists lab.reads()", "copy (select id from sales.customers) to stdout", "listen l", "notify l",
    "unlisten *", "show search_path", "set standard_conforming_strings = off", "set standard_conforming_strings = on",
    r"select 'a\b'", "truncate lab.notes", "insert into lab.watched values (1)", "set statement_timeout = '10s'",
    "explain select id from sales.orders", "table secrets", "select code from secrets", "select * from vault.secrets",
)  # fmt: skip
_PORTALS = (
    *[_extended("c", value) for value in ("1", "2", None, "x")],
    _extended("c", "1", middle=_DESCRIBE), _extended("c", "1", portal="p"), _extended("c", "1", portal="w"),
    _extended("n", "1", "one"), _extended("n", "2", None), _extended("o"), _extended("o", rows=2),
    _extended("b"), _extended("e"), _extended("u"), _extended("f"), _extended("s", "lab"), _extended("s", "vault, lab"),
    _extended("", "1"), _extended("missing"),
)  # fmt: skip
_OTHERS = (
    *[_parse(name, text) + _SYNC for name, text in _PREPARED.items()],
    _parse("", _PREPARED["c"]) + _SYNC,
    _parse("", "select id from sales.orders where id = $1") + _SYNC,
    *[frontend.close_statement(name.encode()) + _parse(name, text) + _SYNC for name, text in _PREPARED.items()],
    frontend.close_statement(b"c") + _parse("c", "select card_number from sales.customers where id = $1") + _SYNC,
    frontend.close_statement(b"c") + _SYNC,
    frontend.bind(b"p", b"o") + frontend.execute(b"p", 1) + frontend.execute(b"p", 3) + _SYNC,
)
_NUMBERED = (b"A", b"T")
"""Messages that carry the number of a backend, or of a table that is made anew: NotificationResponse, RowDescription."""

_UNKEPT = tuple(
    _parse("", _PREPARED[name]) + _extended("", *values)
    for name, *values in (
        ("u",), ("c", "1"), ("n", "1", "x"), ("b",), ("e",), ("s", "vault"), ("s", "lab, public"), ("o",), ("f",),
    )
)  # fmt: skip
"""Statements that are not kept prepared."""

_REPEATED = (
    *_UNKEPT[:3], _parse("k", _PREPARED["u"]) + _extended("k"),
    _extended("u"), frontend.query(b"select * from mine"), _extended("c", "1"), _extended("", "1"),
    frontend.query(b"select id, body from lab.notes order by id limit 1"),
)  # fmt: skip
_START = (
    frontend.query(b"create table lab.mine (id int)"), frontend.query(b"set search_path = lab, public"),
    *[_parse(name, text) + _SYNC for name, text in _PREPARED.items()],
)  # fmt: skip
_MEND = (
    frontend.query(b"rollback"), frontend.query(b"set search_path = lab, public"), frontend.query(b"reset role"),
    *[_parse(name, _PREPARED[name]) + _SYNC for name in ("u", "c")], _parse("", _PREPARED["c"]) + _SYNC,
)  # fmt: skip


def _pieces(seed: int) -> list[bytes]:
    """Each of all in between repetitions, in any order; that a transaction fails is half of the time undone at once."""
    chance = random.Random(seed)
    others = [*map(frontend.query, map(str.encode, _QUERIES)), *_PORTALS, *_OTHERS, *_UNKEPT]
    chance.shuffle(others)
    pieces = list(_START)
    for other in others:
        repeated = chance.choice(_REPEATED)
        pieces += [repeated, repeated, repeated, other, repeated, repeated]
        pieces += _MEND if chance.random() < 0.5 else []
    return pieces


class _Client:
    def __init__(self, lab: Lab) -> None:
        environment = lab.environment("trudy")
        words = f"host=localhost port={environment['PGPORT']} dbname=shop user=trudy gssencmode=disable"
        self._connection = pq.PGconn.connect(words.encode())
        assert self._connection.status == pq.ConnStatus.OK, self._connection.error_message
        self._wire = socket.socket(fileno=os.dup(self._connection.socket))
        self._wire.settimeout(20)

    def ask(self, piece: bytes, rounds: int) -> list[bytes]:
        """The messages of the answer, down to so many ReadyForQuery."""
        self._wire.sendall(piece)
        answer, rest = [], b""
        while rounds:
            received = self._wire.recv(1 << 16)
            assert received, f"the session has ended behind {piece!r}"
            rest += received
            while len(rest) > 4 and len(rest) > (size := int.from_bytes(rest[1:5], "big")):
                answer.append(rest[: size + 1])
                rounds -= rest[:1] == b"Z"
                rest = rest[size + 1 :]
        return answer

    def close(self) -> None:
        self._wire.close()
        self._connection.finish()


def _plain(value: Any, session: str) -> Any:
    """Without the moment, and the session's name."""
    if isinstance(value, DecisionMade):
        value = msgspec.structs.replace(value, context=msgspec.structs.replace(value.context, at=0.0))
    if isinstance(value, StatementEnded):
        value = msgspec.structs.replace(value, seconds=0.0)
    text = msgspec.json.encode(msgspec.structs.replace(value, at="")).decode()
    return text.replace(session, "S")


@pytest.fixture
def tidy(besieged: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    environment = besieged.environment("trudy")
    for name in ("KRB5_CONFIG", "KRB5CCNAME"):
        monkeypatch.setenv(name, environment[name])
    with psycopg.connect(besieged.postgres.dsn("shop"), autocommit=True) as direct:
        yield direct


def _told(lab: Lab, direct: psycopg.Connection, pieces: list[bytes], before: bytes) -> tuple[list[Any], list[str]]:
    """What a session is told that sends these, and what is recorded of it."""
    for sql in (
        "drop table if exists lab.mine",
        "drop function if exists lab.reads()",
        "truncate lab.notes, lab.watched",
    ):
        direct.execute(sql)
    seen = set(_sessions(lab))
    client = _Client(lab)
    try:
        answers = [client.ask(before + piece, max(1, piece.count(_SYNC))) for piece in pieces]
    finally:
        client.close()
    wait_for(lambda: any(over and session not in seen for session, over in _sessions(lab).items()))
    (session,) = _sessions(lab).keys() - seen
    mine = [r for r in records([lab.audit]) if getattr(r, "session", "") == session]
    plain = [
        [each.replace(session.encode(), b"S") for each in answer if each[:1] not in _NUMBERED] for answer in answers
    ]
    return plain, [_plain(record, session) for record in _of_one_second(mine)]


def _of_one_second(mine: list[Any]) -> list[Any]:
    """An Execute that comes in the next second has a record beside its Bind's, in either session: as if it had not."""
    made = {record.id: record for record in mine if isinstance(record, DecisionMade)}
    again: dict[str, str] = {}
    for one in made.values():
        session, _, number = one.id.rpartition("-")
        before = made.get(f"{session}-{int(number) - 1}")
        if one.moment == "execute" and one.effect is Effect.ALLOW and before is not None and before.moment == "bind":
            again[one.id] = before.id
    return [
        msgspec.structs.replace(record, id=again.get(record.id, record.id)) if hasattr(record, "id") else record
        for record in mine
        if not (isinstance(record, DecisionMade) and record.id in again)
    ]


def _sessions(lab: Lab) -> dict[str, bool]:
    """Of trudy, and whether they have ended."""
    found: dict[str, bool] = {}
    for record in records([Path(lab.audit)]):
        if isinstance(record, SessionStarted) and record.user == "trudy":
            found[record.session] = False
        elif isinstance(record, SessionEnded) and record.session in found:
            found[record.session] = True
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_repeated_is_judged_as_if_it_were_new(besieged: Lab, tidy: psycopg.Connection, seed: int) -> None:
    pieces = _pieces(seed)
    by_rote, records_by_rote = _told(besieged, tidy, pieces, b"")
    anew, records_anew = _told(besieged, tidy, pieces, frontend.flush())
    for piece, one, other in zip(pieces, by_rote, anew, strict=True):
        assert one == other, piece
    assert records_by_rote == records_anew
