"""The model test: a refusal leaves the client exactly where a syntax error in its place would have left it.

Random sequences of client messages are sent twice: through a Session whose judge refuses one of them, and straight to
PostgreSQL with a syntax error in that place. Kinds and order of the replies, the transaction status, and what the
tables hold afterwards must be equal.
"""

import random
from typing import Any

import pytest
from judges import AllowAll
from raw import Direct, Through

from pgguard.lab.postgres import Postgres
from pgguard.model.control import CloseCursor, Deallocate, DeclareCursor, FetchCursor, Prepare
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.session.judgement import Allow, Answer, Ask, Moment, Names, Question, Refuse, Request, Verdict
from pgguard.wire import frontend
from pgguard.wire.constants import Backend, Frontend
from pgguard.wire.framing import Message, message

TEXTS: dict[bytes, Any] = {
    b"insert into t values (1)": None,
    b"insert into t values (2)": None,
    b"select * from t": None,
    b"begin": None,
    b"commit": None,
    b"rollback": None,
    b"savepoint s": None,
    b"rollback to s": None,
    b"select 1/0": None,
    b"": None,
    b"insert into t values (3); select 1": None,
    b"prepare p as select 7": Prepare("p", "select 7"),
    b"deallocate p": Deallocate("p"),
    b"declare c cursor for select generate_series(1, 5)": DeclareCursor("c", "select generate_series(1, 5)"),
    b"fetch 2 from c": FetchCursor("c"),
    b"close c": CloseCursor("c"),
}
NAMES = (b"", b"a", b"p")
POISON = b"pgguard refused statement x"


class Refusing(AllowAll):
    """Allows all but the message with the mark `refused`; asks now and then, to see that asking changes nothing."""

    def __init__(self, refused: int, ask: random.Random | None) -> None:
        super().__init__()
        self._refused = refused
        self._ask = ask

    def judge(self, request: Request, names: Names) -> Verdict:
        del names
        if self._ask is not None and self._ask.random() < 0.4:
            return Ask((Question(b"select pg_catalog.current_setting('search_path')"),))
        return self._verdict(request)

    def answered(self, request: Request, names: Names, answers: tuple[Answer, ...]) -> Verdict:
        del names
        assert len(answers) == 1
        return self._verdict(request)

    def _verdict(self, request: Request) -> Verdict:
        if mark_of(request) == self._refused:
            return Refuse(Refusal(SqlState.INSUFFICIENT_PRIVILEGE, "permission denied"), "x")
        text = request.text.partition(b"/*")[0]
        controls = [TEXTS.get(text)]
        if b";" in text:
            controls.append(None)
        return Allow(tuple(controls))


ROWS = 1000
"""Row limits above this one are marks."""


def mark_of(request: Request) -> int:
    """The index of the message in the sequence: a comment in its text, or its row limit."""
    if request.moment is Moment.EXECUTE:
        return request.row_limit - ROWS
    if request.moment is Moment.BIND:
        return -1
    return int(request.text.partition(b"/*")[2].partition(b"*/")[0])


def sequence(chance: random.Random, length: int) -> list[bytes]:
    """Client messages with their marks; a Sync ends them."""
    messages: list[bytes] = []
    for index in range(length):
        kind = chance.choice("QQPBEEDCSPBE")
        name, text = chance.choice(NAMES), chance.choice(list(TEXTS)) + b"/*%d*/" % index
        match kind:
            case "Q":
                messages.append(frontend.query(text))
            case "P":
                messages.append(frontend.parse(name, text))
            case "B":
                messages.append(frontend.bind(chance.choice(NAMES), name))
            case "E":
                messages.append(frontend.execute(name, ROWS + index))
            case "D":
                messages.append(message(Frontend.DESCRIBE, chance.choice((b"S", b"P")) + name + b"\0"))
            case "C":
                messages.append(frontend.close_statement(name))
            case _:
                messages.append(frontend.sync())
    return [*messages, frontend.sync()]


def in_its_place(raw: bytes) -> bytes:
    """The syntax error that stands for a refused message in the reference run."""
    return frontend.query(POISON) if raw[0] == Frontend.QUERY else frontend.parse(b"reference", POISON)


REFUSABLE = frozenset(map(int, (Frontend.QUERY, Frontend.PARSE, Frontend.EXECUTE)))


def seen(found: list[Message]) -> list[tuple[int, bytes]]:
    """What must be equal of the replies: their types, the SQLSTATE of errors, the status.

    A poison's SQLSTATE is its own; an Execute of a portal that does not exist is refused for that before it is judged.
    """
    replies = []
    for reply in found:
        detail = b""
        if reply.type == Backend.ERROR_RESPONSE:
            detail = next(f[1:] for f in reply.body.split(b"\0") if f[:1] == b"C")
            detail = b"refused" if detail in {b"42501", b"42601", b"34000"} else detail
        elif reply.type == Backend.READY_FOR_QUERY:
            detail = reply.body
        if reply.type not in {Backend.PARAMETER_STATUS, Backend.NOTICE_RESPONSE}:
            replies.append((reply.type, detail))
    return replies


def contents(postgres: Postgres, database: str) -> str:
    return postgres.run("select a from t order by 1", database)


@pytest.fixture
def tables(postgres: Postgres) -> list[str]:
    names = ["model_through", "model_direct"]
    for name in names:
        if not postgres.has_database(name):
            postgres.run(f"create database {name}")
            postgres.run("create table t (a int)", name)
        postgres.run("truncate t", name)
    return names


def run_both(postgres: Postgres, databases: list[str], messages: list[bytes], refused: int, judge: Refusing) -> None:
    """Segment by segment, so that both sides have the same replies to wait for."""
    chance = random.Random(refused)
    piece, turn = chance.choice((0, 0, 1, 7)), chance.choice((16, 1, 3))
    through = Through(postgres.port, databases[0], judge, piece, turn)
    direct = Direct(postgres.port, databases[1])
    try:
        segment: list[bytes] = []
        reference: list[bytes] = []
        for index, raw in enumerate(messages):
            segment.append(raw)
            reference.append(in_its_place(raw) if index == refused else raw)
            if raw[0] != Frontend.SYNC:
                continue
            direct.send(b"".join(reference) + END)
            through.send(b"".join(segment) + END)
            assert seen(through.until(ended)) == seen(direct.until(ended)), [describe(part) for part in segment]
            segment, reference = [], []
    finally:
        through.close()
        direct.close()
    assert contents(postgres, databases[0]) == contents(postgres, databases[1])


END = frontend.close_statement(b"the end") * 7 + frontend.sync()
"""Closes of a statement that never was: no state changes, and seven CloseComplete in a row come from nothing else."""


def ended(found: list[Message]) -> bool:
    return [m.type for m in found[-8:]] == [Backend.CLOSE_COMPLETE] * 7 + [Backend.READY_FOR_QUERY]


def describe(raw: bytes) -> str:
    return f"{chr(raw[0])} {raw[5:60]!r}"


def refusable(chance: random.Random, messages: list[bytes]) -> int:
    """The index of a message to refuse; beyond the end where there is none."""
    found = [index for index, raw in enumerate(messages) if raw[0] in REFUSABLE]
    return chance.choice(found) if found else len(messages)


@pytest.mark.parametrize("asks", [False, True], ids=["judged at once", "asks first"])
@pytest.mark.parametrize("seed", range(60))
def test_a_refusal_leaves_what_a_syntax_error_leaves(
    postgres: Postgres, tables: list[str], seed: int, asks: bool
) -> None:
    chance = random.Random(seed)
    messages = sequence(chance, chance.randrange(3, 24))
    refused = refusable(chance, messages)
    run_both(postgres, tables, messages, refused, Refusing(refused, random.Random(seed) if asks else None))


def test_nothing_is_changed_where_nothing_is_refused(postgres: Postgres, tables: list[str]) -> None:
    for seed in range(40):
        messages = sequence(random.Random(1000 + seed), 20)
        for name in tables:
            postgres.run("truncate t", name)
        run_both(postgres, tables, messages, len(messages), Refusing(len(messages), None))
