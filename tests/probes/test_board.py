"""Probes against real sources: a file, an HTTP server, PostgreSQL; and what stands on the board when these fail."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncpg
import pytest

from pgguard.lab.certificates import Certificates
from pgguard.lab.postgres import Postgres
from pgguard.policy.probes import Probe
from pgguard.probes import sources
from pgguard.probes.board import Board
from pgguard.probes.sources import ProbeFailed, Query, look_at_file, look_at_http


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Answers(ThreadingHTTPServer):
    """Answers every GET with `body` and `status`."""

    daemon_threads = True
    body = b"{}"
    status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/state?of=all"


class _Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Answers]:
    with Answers(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
async def board(postgres: Postgres) -> AsyncIterator[Board]:
    async def connect(database: str) -> asyncpg.Connection:
        return await asyncpg.connect(postgres.dsn(database))

    made = Board(connect, Clock())
    yield made
    await made.close()


# sources


async def test_a_flag_is_up_while_its_file_exists(tmp_path: Path):
    flag = tmp_path / "freeze"
    assert await look_at_file(str(flag)) is False
    flag.touch()
    assert await look_at_file(str(flag)) is True


async def test_what_is_behind_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "file").touch()
    assert await look_at_file(str(tmp_path / "file" / "below")) is False


@pytest.mark.parametrize(
    ("body", "path", "value"),
    [
        (b'{"incident": {"open": true}}', "incident.open", True),
        (b'{"lag": 1.5}', "lag", 1.5),
        (b'{"hosts": [{"name": "a"}, {"name": "b"}]}', "hosts.1.name", "b"),
    ],
)
async def test_a_value_in_json(web: Answers, body: bytes, path: str, value: object):
    web.body = body
    assert await look_at_http(web.url, path, 5) == value


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        (b"<html>", 200, "answers no JSON"),
        (b'{"other": 1}', 200, 'has no "open"'),
        (b'{"open": null}', 200, "gives null"),
        (b'{"open": [1]}', 200, "gives list"),
        (b'{"open": true}', 503, "answers 503"),
        (b'"' + b"x" * (1 << 20) + b'"', 200, "more than"),
    ],
)
async def test_what_is_no_value_over_http(web: Answers, body: bytes, status: int, complaint: str):
    web.body, web.status = body, status
    with pytest.raises(ProbeFailed, match=complaint):
        await look_at_http(web.url, "open", 5)


class Dripper:
    """Sends `head`, then a byte now and then, as long as the other side takes it."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self.let_go = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()

    def _drip(self) -> None:
        client, _ = self._listener.accept()
        with client:
            try:
                client.sendall(self._head)
                while not self.let_go.wait(0.02):
                    client.sendall(b"x")
            except OSError:
                self.let_go.set()

    def close(self) -> None:
        self.let_go.set()
        self._thread.join()
        self._listener.close()


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"],
    ids=["status", "headers", "body"],
)
async def test_a_server_that_answers_byte_by_byte_is_left_at_the_limit(head: bytes):
    """Each byte was in time, so the look went on for ever, in a thread of the pool that all blocking calls share."""
    dripper = Dripper(head)
    try:
        threads = threading.active_count()
        with pytest.raises(ProbeFailed, match=r"does not answer in full within 0\.2 s"):
            await asyncio.wait_for(look_at_http(dripper.url, "open", 0.2), 10)
        assert await asyncio.to_thread(dripper.let_go.wait, 10)
        assert threading.active_count() <= threads + 1  # the one that has just waited
    finally:
        await asyncio.to_thread(dripper.close)


async def test_https_is_asked_where_its_authority_is_known(certificates: Certificates, monkeypatch: pytest.MonkeyPatch):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.0 200 OK\r\n\r\n{"open": true}')
        writer.close()

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates.certificate, certificates.key)
    server = await asyncio.start_server(answer, "localhost", 0, ssl=tls)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    try:
        with pytest.raises(ProbeFailed, match="certificate verify failed"):
            await look_at_http(url, "open", 5)
        monkeypatch.setattr(sources, "_tls", lambda: ssl.create_default_context(cafile=str(certificates.authority)))
        assert await look_at_http(url, "open", 5) is True
    finally:
        server.close()


async def test_an_answer_in_chunks_is_put_together():
    """RFC 9112, section 7.1: what a server may do for whoever speaks HTTP/1.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                client.sendall(head + b'8\r\n{"open":\r\n5\r\ntrue}\r\n0\r\n\r\n')

        answering = asyncio.create_task(asyncio.to_thread(answer))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert await look_at_http(url, "open", 5) is True
        await answering


@pytest.mark.parametrize(
    "url",
    [
        "ftp://localhost/x", "file:///etc/passwd", "localhost:80", "http://", "http://localhost:99999/",
        "http://localhost/a b", "http://localhost/a\r\nX: y", "http://[::1/",
    ],
)  # fmt: skip
async def test_only_http_is_asked(url: str):
    with pytest.raises(ProbeFailed, match="is no http"):
        await look_at_http(url, "open", 5)


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("select 42", 42),
        ("select 1.5::numeric", 1.5),
        ("select 3::numeric", 3),
        ("select true", True),
        ("select 'release-7'", "release-7"),
    ],
)
async def test_a_query(postgres: Postgres, sql: str, value: object):
    query = Query(sql, "postgres", lambda database: asyncpg.connect(postgres.dsn(database)))
    found = await query.look(5)
    await query.close()
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("select null", "gives null"),
        ("select now()", "gives datetime"),
        ("select 1, 2", "one row of one column"),
        ("select 1 where false", "one row of one column"),
        ("select nowhere", "nowhere"),
        ("create table probed (a int)", "read-only"),
        ("select 1; drop table probed", "multiple commands"),
        ("select pg_sleep(20)", "timeout"),
    ],
)
async def test_what_is_no_value_of_a_query(postgres: Postgres, sql: str, complaint: str):
    query = Query(sql, "postgres", lambda database: asyncpg.connect(postgres.dsn(database)))
    with pytest.raises(ProbeFailed, match=complaint):
        await query.look(0.2)
    await query.close()


# the board


async def test_first_answers_are_waited_for(board: Board, web: Answers, tmp_path: Path):
    web.body = b'{"lag": 7}'
    board.use({
        "flag": Probe("flag", 60, file=str(tmp_path / "flag")),
        "lag": Probe("lag", 60, http=web.url, json="lag"),
        "one": Probe("one", 60, sql="select 1", database="postgres"),
    })  # fmt: skip
    await board.ready(20)
    assert board.fresh() == {"flag": False, "lag": 7, "one": 1}


async def test_a_value_older_than_three_periods_is_none(board: Board, tmp_path: Path):
    board.use({"flag": Probe("flag", 60, file=str(tmp_path / "flag"))})
    await board.ready(20)
    board._clock.now = 180.0
    assert board.fresh() == {"flag": False}
    board._clock.now = 180.1
    assert board.fresh() == {}
    assert board.ages() == {"flag": 180.1}


async def test_a_probe_that_fails_has_no_value_and_says_why(board: Board):
    board.use({"broken": Probe("broken", 60, sql="select nowhere", database="postgres")})
    await board.ready(20)
    assert board.fresh() == {}
    assert "nowhere" in board.errors["broken"]


async def test_a_probe_goes_on_when_the_rules_are_loaded_anew_and_another_is_forgotten(board: Board, tmp_path: Path):
    kept, dropped = (Probe(name, 60, file=str(tmp_path / name)) for name in ("kept", "dropped"))
    board.use({"kept": kept, "dropped": dropped})
    await board.ready(20)
    task = board._tasks[kept]
    board.use({"kept": kept})
    assert board._tasks == {kept: task}
    assert board.fresh() == {"kept": False}


async def test_a_source_that_hangs_holds_up_nobody(board: Board, tmp_path: Path):
    """The start waits for first answers, but not for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and says nothing
        board.use({
            "silent": Probe("silent", 1, http=f"http://127.0.0.1:{silent.getsockname()[1]}/", json="x"),
            "flag": Probe("flag", 60, file=str(tmp_path / "flag")),
        })  # fmt: skip
        await board.ready(0.2)
        assert "silent" not in board.fresh()
