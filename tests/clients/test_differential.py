"""The same bytes to PostgreSQL and to pgguard: the same replies, message for message."""

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from pgguard.lab.lab import Lab
from pgguard.session.server_login import ServerLogin
from pgguard.wire import frontend, startup
from pgguard.wire.backend import read_fields
from pgguard.wire.constants import PROTOCOL_3_0, Backend, Frontend
from pgguard.wire.framing import Message, message
from pgguard.wire.trace import Sender, describe

from .conftest import Connect

Q, P, B, E, S, H = (
    frontend.query, frontend.parse, frontend.bind, frontend.execute, frontend.sync(), frontend.flush(),
)  # fmt: skip
DONE, FAIL = message(Frontend.COPY_DONE), frontend.copy_fail(b"given up")
COPY = b"copy t from stdin"
TABLE = Q(b"create temp table t (a int primary key)")
END = frontend.close_statement(b"the end") * 7 + S


def data(text: bytes) -> bytes:
    return message(Frontend.COPY_DATA, text)


def describe_of(kind: bytes, name: bytes) -> bytes:
    return message(Frontend.DESCRIBE, kind + name + b"\0")


def call(function: int, *values: bytes) -> bytes:
    arguments = b"".join(struct.pack("!i", len(value)) + value for value in values)
    return message(Frontend.FUNCTION_CALL, struct.pack("!IHH", function, 0, len(values)) + arguments + b"\0\0")


COMMANDS_ON_NOTHING = (
    b"copy nope to stdout", b"copy nope from stdin", b"begin", b"lock table nope", b"rollback", b"truncate nope", b"alter table nope add x int",
    b"vacuum nope", b"analyze nope", b"create index on nope (x)", b"comment on table nope is 'x'", b"cluster nope",
    b"grant select on nope to public", b"refresh materialized view nope", b"reindex table nope",
    b"create trigger t before insert on nope for each row execute function f()", b"create table t (like nope)",
    b"create table t (a int references nope)", b"create view v as select * from nope", b"explain select * from nope",
    b"insert into nope values (1)", b"update nope set x = 1", b"delete from nope", b"select * from nope",
    b"copy (select * from nope) to stdout", b"create table t () inherits (nope)",
)  # fmt: skip
DROPS_OF_NOTHING = [
    b"drop trigger if exists t on nope",
    *(
        b"drop " + kind + name
        for kind in (b"table", b"view", b"materialized view", b"sequence", b"index", b"foreign table")
        for name in (b" nope", b" public.nope", b" nosuch.nope", b" if exists nope")
    ),
]

SCRIPTS = {
    "commands on what does not exist": b"".join(map(Q, COMMANDS_ON_NOTHING)),
    "drops of what does not exist": b"".join(map(Q, DROPS_OF_NOTHING)),
    "several statements": Q(b"select 1; select 2, 'b'; select") + Q(b""),
    "empty queries": Q(b"") + Q(b" ; ; ") + P(b"", b"") + B(b"", b"") + describe_of(b"P", b"") + E(b"") + S,
    "an error in a string": Q(b"select 1; select 1/0; select 2") + Q(b"select 3"),
    "a parse error": Q(b"selec 1") + P(b"", b"selec 1") + B(b"", b"") + E(b"") + S,
    "named statements": P(b"s", b"select $1::int", (23,)) + describe_of(b"S", b"s") + B(b"", b"s", (b"7",)) + E(b"")
    + S + P(b"s", b"select 2") + S + B(b"", b"s", (b"8",)) + E(b"") + frontend.close_statement(b"s") + S
    + B(b"", b"s", (b"8",)) + S,
    "unnamed statements": P(b"", b"select 1") + B(b"", b"") + E(b"") + P(b"", b"select 2") + B(b"", b"") + E(b"") + S,
    "an unnamed statement behind a query": P(b"", b"select 1") + S + Q(b"select 2") + B(b"", b"") + S,
    "row limits": Q(b"begin") + P(b"", b"select generate_series(1, 5)") + B(b"p", b"") + E(b"p", 2) + E(b"p", 2)
    + E(b"p", 2) + S + E(b"p", 2) + S + Q(b"commit"),
    "a portal ends with its transaction": P(b"", b"select 1") + B(b"p", b"") + S + E(b"p") + S,
    "a pipeline with an error": TABLE + P(b"", b"insert into t values ($1)", (23,)) + B(b"", b"", (b"1",)) + E(b"")
    + B(b"", b"", (b"1",)) + E(b"") + B(b"", b"", (b"2",)) + E(b"") + Q(b"select 1") + S + Q(b"select a + 0 from t"),
    "flush": P(b"", b"select 1") + H + B(b"", b"") + H + E(b"") + H + S,
    "copy in": TABLE + Q(COPY) + data(b"1\n2\n3") + data(b"\n") + DONE + Q(b"select a + 0 from t"),
    "copy that the client fails": TABLE + Q(COPY) + data(b"1\n") + FAIL + Q(b"select a + 0 from t"),
    "copy of what is no number": TABLE + Q(COPY) + data(b"x\n") + data(b"2\n") + DONE + Q(b"select a + 0 from t"),
    "copy in the middle of a string": TABLE + Q(b"select 1; copy t from stdin; select 2") + data(b"1\n") + DONE,
    "copy extended": TABLE + P(b"", COPY) + B(b"", b"") + E(b"") + data(b"1\n") + DONE + S + Q(b"select a + 0 from t"),
    "copy extended, failed": TABLE + P(b"", COPY) + B(b"", b"") + E(b"") + data(b"1\n") + FAIL + S + Q(b"select 1"),
    "copy extended, bad data": TABLE + P(b"", COPY) + B(b"", b"") + E(b"") + data(b"x\n") + DONE + S + Q(b"select 1"),
    "sync in copy": TABLE + P(b"", COPY) + B(b"", b"") + E(b"") + S + data(b"1\n") + H + DONE + S,
    "copy messages outside of copy": data(b"1\n") + DONE + FAIL + Q(b"select 1"),
    "copy out": TABLE + Q(b"insert into t values (1), (2)") + Q(b"copy t to stdout") + P(b"", b"copy t to stdout")
    + B(b"", b"") + E(b"") + S,
    "copy out with an error in it": Q(b"copy (select 1/(3-n) from generate_series(1, 5) n) to stdout") + Q(b"select 1"),
    "copy refused by the server": TABLE + Q(b"copy t from stdin (format nonsense)") + Q(b"select 1"),
    "cursors of both kinds": Q(b"begin") + Q(b"declare c cursor for select generate_series(1, 5)") + E(b"c", 2)
    + describe_of(b"P", b"c") + S + P(b"", b"select generate_series(1, 5)") + B(b"p", b"") + S + Q(b"fetch 2 from p")
    + Q(b"close c") + E(b"c") + S + Q(b"rollback"),
    "prepared in SQL, bound by message": Q(b"prepare x as select 7") + B(b"", b"x") + E(b"") + S
    + Q(b"execute x; deallocate x") + B(b"", b"x") + S,
    "prepared by message, executed in SQL": P(b"y", b"select 8") + S + Q(b"execute y") + Q(b"deallocate all")
    + Q(b"execute y"),
    "function calls": call(1317, b"four") + call(1317) + call(0) + Q(b"select 1"),
    "an unnamed statement outlives function calls": P(b"", b"select 7") + S + call(1317, b"four") + B(b"", b"") + E(b"") + S
    + call(0) + B(b"", b"") + E(b"") + S,
    "a function call in a failed transaction": Q(b"begin") + Q(b"select 1/0") + call(1317, b"a") + Q(b"rollback"),
    "a function call that is skipped": P(b"", b"selec") + call(1317, b"a") + S,
    "void parameters": P(b"v", b"select date_trunc($1, $2, $3)", (25, 1184, 2278))
    + B(b"", b"v", (b"day", b"2000-01-02 03:04", None)) + E(b"") + S
    + P(b"", b"select date_trunc('day', $1::void, timestamp '2000-01-02 03:04')") + B(b"", b"", (None,)) + E(b"") + S,
    "large objects": Q(b"begin") + Q(b"select lo_create(777001)") + call(964, struct.pack("!I", 777001)) + Q(b"rollback"),
    "notices and settings": Q(b"do $$ begin raise notice 'told'; end $$") + Q(b"set timezone to 'Asia/Tokyo'")
    + Q(b"begin; set local timezone to 'UTC'") + Q(b"rollback"),
    "notifications": Q(b"listen differential") + Q(b"notify differential, 'payload'") + Q(b"unlisten *"),
    "malformed messages": P(b"", b"select 7") + S + message(ord("Q"), b"select 1\0select 2\0") + B(b"", b"") + E(b"") + S
    + message(ord("Q"), b"select 1") + message(ord("F"), b"\0\0") + Q(b"begin") + message(ord("Q"), b"")
    + Q(b"select 1") + Q(b"rollback") + P(b"", b"select 8") + message(ord("B"), b"\0\0\0") + E(b"") + Q(b"select 1")
    + S + B(b"", b"") + E(b"") + S + message(ord("P"), b"\0select 1\0\0\0x") + S + message(ord("E"), b"\0\0") + S
    + P(b"one", b"select $1::int", (23,)) + S
    + message(ord("B"), b"\0one\0\0\0\0\1\xff\xff\xff\xfe\0\0") + S + message(ord("D"), b"X\0") + S
    + message(ord("C"), b"X\0") + S,
    "commands on a catalog that fail in a transaction": Q(b"begin") + Q(b"create table zz (a int)")
    + Q(b"create table zz (a int)") + Q(b"select 1") + Q(b"rollback") + Q(b"begin; savepoint s") + Q(b"create table zz (a int)")
    + Q(b"create table zz (a int)") + Q(b"rollback to s") + Q(b"select 1") + Q(b"create table zz (a int)")
    + Q(b"drop table nope") + P(b"", b"rollback to s") + B(b"", b"") + E(b"") + S + Q(b"create table zz (a int)")
    + Q(b"create table zz (a int)") + P(b"", b"commit") + B(b"", b"") + E(b"") + S + Q(b"select * from zz"),
    "a failed transaction": Q(b"begin") + Q(b"select 1/0") + Q(b"select 1") + P(b"", b"select 1") + S + Q(b"commit"),
    "savepoints": Q(b"begin") + Q(b"savepoint s") + Q(b"selec") + Q(b"rollback to s") + Q(b"select 1") + Q(b"commit"),
}  # fmt: skip

ENDINGS = {
    "an unknown message": message(ord("z")),
    "a password out of place": frontend.password(b"x\0"),
    "a query in a COPY": TABLE + Q(COPY) + data(b"1\n") + Q(b"select 1"),
    "a parse in an extended COPY": TABLE + P(b"", COPY) + B(b"", b"") + E(b"") + data(b"1\n") + P(b"", b"select 1") + S,
    "an unknown message in a COPY": TABLE + Q(COPY) + message(ord("z")),
    "goodbye behind a statement": Q(b"select 1") + frontend.terminate(),
}


class Raw:
    """A logged-in connection, byte by byte."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(10)
        self._buffer = b""

    def messages(self, sent: bytes) -> list[Message]:
        """What comes back, until the marks of END or the end of the connection."""
        self._socket.sendall(sent)
        found: list[Message] = []
        while [m.type for m in found[-8:]] != [Backend.CLOSE_COMPLETE] * 7 + [Backend.READY_FOR_QUERY]:
            while len(self._buffer) < 5 or len(self._buffer) <= int.from_bytes(self._buffer[1:5], "big"):
                try:
                    more = self._socket.recv(65536)
                except ConnectionResetError:
                    return found
                if not more:
                    return found
                self._buffer += more
            end = 1 + int.from_bytes(self._buffer[1:5], "big")
            found.append(Message(self._buffer[0], self._buffer[:end]))
            self._buffer = self._buffer[end:]
        return found


@pytest.fixture
def direct(open_lab: Lab) -> Iterator[Raw]:
    made = socket.create_connection((open_lab.postgres.host, open_lab.postgres.port), 10)
    made.sendall(
        startup.startup_message(PROTOCOL_3_0, {"user": "postgres", "database": "shop", "client_encoding": "UTF8"})
    )
    raw, login = Raw(made), ServerLogin("postgres", None, encrypted=False)
    while not login.ready:
        header = made.recv(5, socket.MSG_WAITALL)
        login.receive(Message(header[0], header + made.recv(int.from_bytes(header[1:], "big") - 4, socket.MSG_WAITALL)))
    with made:
        yield raw


@pytest.fixture
def through(connect: Connect) -> Iterator[Raw]:
    with socket.socket(fileno=os.dup(connect().pgconn.socket)) as made:
        yield Raw(made)


only_plain = pytest.mark.parametrize("client", ["plain"], indirect=True)


def comparable(found: list[Message]) -> list[object]:
    """All of each message, but for the place in the server's source, and the process that notifies."""
    seen: list[object] = []
    for reply in found:
        if reply.type in {Backend.ERROR_RESPONSE, Backend.NOTICE_RESPONSE}:
            fields = read_fields(reply.raw)
            seen.append((describe(Sender.SERVER, reply.raw)[:1], *(fields.get(code) for code in "SVCMDHP")))
        elif reply.type == Backend.NOTIFICATION_RESPONSE:
            seen.append((reply.type, reply.raw[9:]))
        else:
            seen.append(reply.raw)
    return seen


@only_plain
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_same_bytes_get_the_same_replies(direct: Raw, through: Raw, script: str):
    expected = comparable(direct.messages(SCRIPTS[script] + END))
    assert comparable(through.messages(SCRIPTS[script] + END)) == expected


@only_plain
@pytest.mark.parametrize("script", ENDINGS)
def test_the_same_bytes_end_the_connection_alike(direct: Raw, through: Raw, script: str):
    """Severity and SQLSTATE of what is said last: the words may be pgguard's own."""

    def said(found: list[Message]) -> list[object]:
        return [
            (m.type, *(read_fields(m.raw).get(c) for c in "SC")) if m.type == Backend.ERROR_RESPONSE else m.raw
            for m in found
        ]

    expected = said(direct.messages(ENDINGS[script]))
    assert said(through.messages(ENDINGS[script])) == expected
