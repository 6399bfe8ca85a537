"""A network that breaks: the connection is reset behind each message of a conversation, and within each.

Whatever was sent by then, the session ends, its database connection with it, no row is half there, and the next one is
served.
"""

import os
import re
import socket
import struct
from pathlib import Path

import psycopg.pq
import pytest

from pgguard.audit.files import all_files
from pgguard.audit.reading import records
from pgguard.audit.records import DecisionMade
from pgguard.audit.verify import verify_files
from pgguard.lab.lab import Lab
from pgguard.wire import frontend
from pgguard.wire.constants import Backend, Frontend
from pgguard.wire.framing import FrontendFramer, message
from tests.audit.collectors import wait_for
from tests.e2e.psql import run_psql

CONVERSATION = [
    frontend.query(b"begin"),
    frontend.parse(b"s", b"select id from sales.orders where id > $1"),
    frontend.bind(b"p", b"s", (b"1",)),
    message(Frontend.DESCRIBE, b"Pp\0"),
    frontend.execute(b"p", 2),
    frontend.flush(),
    frontend.execute(b"p"),
    frontend.close_portal(b"p"),
    frontend.sync(),
    frontend.query(b"declare c cursor for select name from sales.customers; fetch 1 from c"),
    frontend.query(b"select card_number from sales.customers"),
    frontend.query(b"rollback"),
    frontend.query(b"copy (select id from sales.orders) to stdout"),
    frontend.query(b"copy sales.orders (customer_id, product_id, status, total) from stdin"),
    message(Frontend.COPY_DATA, b"1\t1\tnew\t77.77\n"),
    frontend.query(b"select pg_catalog.repeat('x', 200000)"),
]


def _cuts() -> list[int]:
    """Behind each message, one byte into it, and in its middle."""
    cuts, at = [0], 0
    for one in CONVERSATION:
        cuts += [at + 1, at + len(one) // 2, at + len(one)]
        at += len(one)
    return cuts


def _answered(wire: socket.socket, sent: bytes) -> None:
    """Read until each whole Query and Sync in `sent` has its answer, or the session has ended."""
    left = sum(one.type in {Frontend.QUERY, Frontend.SYNC} for one in FrontendFramer().feed(sent))
    wire.settimeout(30)
    held = bytearray()
    while left > 0 and (data := wire.recv(1 << 16)):
        held += data
        while len(held) >= 5 and len(held) > (length := int.from_bytes(held[1:5], "big")):
            left -= held[0] in {Backend.READY_FOR_QUERY, Backend.COPY_IN_RESPONSE}
            del held[: length + 1]


def _reset_after(lab: Lab, sent: bytes, *, waits: bool) -> None:
    """`waits`: until all that can be answered has been."""
    environment = lab.environment("bob")
    words = f"host=localhost port={environment['PGPORT']} dbname=shop user=bob gssencmode=disable"
    connection = psycopg.pq.PGconn.connect(words.encode())
    assert connection.status == psycopg.pq.ConnStatus.OK, connection.error_message
    with socket.socket(fileno=os.dup(connection.socket)) as wire, Path(os.devnull).open("r+b") as nowhere:
        os.dup2(nowhere.fileno(), connection.socket)  # libpq's goodbye must not come before the reset
        connection.finish()
        wire.setblocking(True)
        wire.sendall(sent)
        if waits:
            _answered(wire, sent)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after the answers"])
def test_a_reset_anywhere_ends_the_session_and_nothing_else(lab: Lab, monkeypatch: pytest.MonkeyPatch, waits: bool):
    for name, value in lab.environment("bob").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)
    conversation = b"".join(CONVERSATION)
    for cut in _cuts():
        _reset_after(lab, conversation[:cut], waits=waits)
    backends = "select count(*) from pg_stat_activity where usename = 'bob' and backend_type = 'client backend'"
    wait_for(lambda: lab.postgres.run(backends).strip() == "0")
    assert lab.postgres.run("select count(*) from sales.orders where total = 77.77", "shop").strip() == "0"
    assert run_psql(lab, "bob", "select count(*) > 0 from sales.orders").stdout == "t\n"
    assert not re.search("Traceback", lab.proxy.log.read_text(errors="replace"))
    assert verify_files(all_files(lab.audit), None).findings == ()
    decided = {r.text for r in records(all_files(lab.audit)) if isinstance(r, DecisionMade) and r.context.user == "bob"}
    assert not waits or any(text.startswith("copy sales.orders") for text in decided), "the resets came too early"
