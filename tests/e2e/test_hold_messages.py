"""Held COPY statements and function calls: what is sent behind them waits, and comes where it would have come."""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import psycopg
import pytest

from pgguard.lab.lab import Lab
from pgguard.wire import frontend
from pgguard.wire.backend import read_command_tag, read_fields
from pgguard.wire.constants import Backend, Frontend
from pgguard.wire.framing import Message, message
from tests.e2e.waiting import Asking

COPY_IN = b"copy sales.orders (customer_id, product_id, total, status) from stdin"
ROWS = b"1\t1\t77.01\tnew\n2\t2\t77.02\tnew\n"
COPIED = "select count(*) from sales.orders where total between 77 and 78"
COPY_OUT = "copy sales.orders to stdout"
ADVISORY_LOCK = 2880
CALL_RULES = """{name: calls, who: {group: writers}, allow: execute, on: {function: pg_catalog.pg_advisory_lock}}
  - name: held-a-call
    who: {group: writers}
    hold: execute
    on: {function: pg_catalog.pg_advisory_lock}
    approvers: {group: dba}"""
LOCKED = "select count(*) from pg_locks where locktype = 'advisory' and objid = 777002"


@pytest.fixture(scope="module")
def lab(waiting_lab: Lab) -> Lab:
    return waiting_lab


class Raw:
    """bob's session, message by message; it reads until ReadyForQuery as often as asked."""

    def __init__(self, asking: Asking, connection: psycopg.Connection) -> None:
        self.asking = asking
        self._socket = socket.socket(fileno=os.dup(connection.pgconn.socket))
        self._socket.settimeout(20)

    def sent(self, data: bytes, ready: int = 1) -> "Future[object]":
        return self.asking.beside(self._exchange, data, ready)

    def _exchange(self, data: bytes, ready: int) -> list[Message]:
        self._socket.sendall(data)
        found: list[Message] = []
        while [one.type for one in found].count(Backend.READY_FOR_QUERY) < ready:
            header = self._socket.recv(5, socket.MSG_WAITALL)
            rest = int.from_bytes(header[1:], "big") - 4
            found.append(Message(header[0], header + self._socket.recv(rest, socket.MSG_WAITALL)))
            if found[-1].type == Backend.NOTICE_RESPONSE:
                self.asking.notices.put(read_fields(found.pop().raw)["M"])
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def raw(asking: Asking, lab: Lab) -> Iterator[Raw]:
    """A second session of bob's, in clear."""
    where = f"host=localhost port={lab.proxy.port} user=bob dbname=shop gssencmode=disable"
    with psycopg.connect(where, autocommit=True) as connection:
        made = Raw(asking, connection)
        yield made
        made.close()


@pytest.fixture(autouse=True)
def no_rows_left(lab: Lab) -> Iterator[None]:
    yield
    lab.postgres.run("delete from sales.orders where total between 77 and 78", "shop")


def told(found: object) -> list[str]:
    """Tags and errors, in order."""
    assert isinstance(found, list)
    return [
        read_command_tag(one.raw) if one.type == Backend.COMMAND_COMPLETE else read_fields(one.raw)["M"]
        for one in found
        if one.type in {Backend.COMMAND_COMPLETE, Backend.ERROR_RESPONSE}
    ]


def _copy_out(session: psycopg.Connection) -> bytes:
    with session.cursor().copy(COPY_OUT) as copy:
        return b"".join(bytes(block) for block in copy)


def _copy_in(session: psycopg.Connection) -> None:
    with session.cursor().copy(COPY_IN) as copy:
        copy.write(ROWS)


def _copied(lab: Lab) -> str:
    return lab.postgres.run(COPIED, "shop").strip()


def test_an_approved_copy_to_the_client(asking: Asking, lab: Lab):
    waits = asking.beside(_copy_out, asking.session)
    assert "goes on" in asking.decide(f"approve {asking.number()}")
    assert waits.result(20) == lab.postgres.run(COPY_OUT, "shop").encode()
    asking.is_free()


def test_an_approved_copy_from_the_client(asking: Asking, lab: Lab):
    waits = asking.beside(_copy_in, asking.session)
    number = asking.number()
    assert _copied(lab) == "0"
    assert "goes on" in asking.decide(f"approve {number}")
    waits.result(20)
    assert _copied(lab) == "2"
    asking.is_free()


@pytest.mark.parametrize("copy", [_copy_out, _copy_in])
def test_a_refused_copy(asking: Asking, lab: Lab, copy: Callable[[psycopg.Connection], object]):
    waits = asking.beside(copy, asking.session)
    asking.decide(f"refuse {asking.number()} 'not now'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"dora refused hold #\d+: not now"):
        waits.result(20)
    assert _copied(lab) == "0"
    asking.is_free()


@pytest.mark.parametrize("copy", [_copy_out, _copy_in])
def test_a_copy_that_is_cancelled_while_it_waits(
    asking: Asking, lab: Lab, copy: Callable[[psycopg.Connection], object]
):
    waits = asking.beside(copy, asking.session)
    asking.number()
    asking.session.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        waits.result(20)
    assert _copied(lab) == "0"
    asking.is_free()


IN_ONE_GO = {
    "simple": frontend.query(COPY_IN),
    "extended": frontend.parse(b"", COPY_IN) + frontend.bind(b"", b"") + frontend.execute(b""),
}
"""The client does not wait to be asked for the rows: they lie behind the statement that waits."""


@pytest.mark.parametrize("form", IN_ONE_GO)
@pytest.mark.parametrize("approved", [True, False])
def test_rows_behind_a_copy_that_waits(raw: Raw, lab: Lab, form: str, approved: bool):
    rows = message(Frontend.COPY_DATA, ROWS) + message(Frontend.COPY_DONE)
    sync = frontend.sync() if form == "extended" else b""
    waits = raw.sent(IN_ONE_GO[form] + rows + sync + frontend.query(b"select 42"), ready=2)
    number = raw.asking.number()
    if approved:
        raw.asking.decide(f"approve {number}")
        assert told(waits.result(20)) == ["COPY 2", "SELECT 1"]
    else:
        raw.asking.decide(f"refuse {number} 'no'")
        refused, after = told(waits.result(20))
        assert f"hold #{number}: no" in refused
        assert after == "SELECT 1"
    assert _copied(lab) == ("2" if approved else "0")
    raw.asking.is_free()


def function_call(oid: int) -> bytes:
    """Of pg_advisory_lock(777002): one value in binary, and a binary result."""
    return message(Frontend.FUNCTION_CALL, struct.pack("!IHHHiQH", oid, 1, 1, 1, 8, 777002, 1))


@pytest.mark.parametrize("how", ["approved", "refused"])
def test_a_function_call_waits(raw: Raw, lab: Lab, how: str):
    with raw.asking.other_rules(CALL_RULES):
        waits = raw.sent(function_call(ADVISORY_LOCK) + frontend.query(b"select 42"), ready=2)
        number = raw.asking.number()
        assert lab.postgres.run(LOCKED, "shop").strip() == "0"
        raw.asking.decide(f"approve {number}" if how == "approved" else f"refuse {number} 'no'")
        found = waits.result(20)
        assert isinstance(found, list)
        if how == "approved":
            assert [one.type for one in found[:2]] == [Backend.FUNCTION_CALL_RESPONSE, Backend.READY_FOR_QUERY]
            assert told(found) == ["SELECT 1"]
        else:
            refused, after = told(found)
            assert f"hold #{number}: no" in refused
            assert after == "SELECT 1"
    assert lab.postgres.run(LOCKED, "shop").strip() == ("1" if how == "approved" else "0")
    raw.asking.is_free()
