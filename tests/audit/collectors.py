"""Collectors on loopback that take what is shipped to them, and misbehave where a test asks for it."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def wait_for(reached: Callable[[], object], seconds: float = 30.0) -> None:
    """Return once it is so; the test fails where it never is."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def frames(data: bytes) -> list[bytes]:
    """The messages of a stream with counted octets (RFC 6587); an unfinished one at the end is left out."""
    found, at = [], 0
    while (space := data.find(b" ", at, at + 10)) >= 0:
        end = space + 1 + int(data[at:space])
        if end > len(data):
            break
        found.append(data[space + 1 : end])
        at = end
    return found


class TcpCollector:
    """Takes syslog over TCP or TLS. `received`: bytes by connection. While `stalled` is set it reads nothing."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._tls = tls
        self._listener = socket.create_server(("localhost", port))
        self.port: int = self._listener.getsockname()[1]
        self.received: list[bytearray] = []
        self.stalled = threading.Event()
        self._connections: list[socket.socket] = []
        self._readers: list[threading.Thread] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._accept)
        self._listener.settimeout(0.05)
        self._thread.start()

    def messages(self) -> list[bytes]:
        return [message for data in self.received for message in frames(bytes(data))]

    def lines(self) -> list[bytes]:
        """The records in the messages."""
        return [message.split(b" - ", 2)[2] for message in self.messages()]

    def close(self) -> None:
        self.stalled.clear()
        self._ending.set()
        self._thread.join()
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._readers:
            thread.join()

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            data = bytearray()
            self.received.append(data)
            self._connections.append(connection)
            self._readers.append(threading.Thread(target=self._read, args=(connection, data)))
            self._readers[-1].start()

    def _read(self, connection: socket.socket, data: bytearray) -> None:
        stream = connection
        try:
            connection.settimeout(None)
            if self._tls is not None:
                stream = self._tls.wrap_socket(connection, server_side=True)
                self._connections.append(stream)
            while True:
                while self.stalled.is_set():
                    time.sleep(0.01)
                part = stream.recv(65536)
                if not part:
                    break
                data += part
        except OSError:
            return
        finally:
            stream.close()


class HttpCollector(ThreadingHTTPServer):
    """Takes OTLP. `answer` gets the records of a request and gives the status; what it answers with 200 is kept."""

    daemon_threads = True

    def __init__(self, answer: Callable[[list[dict]], int] = lambda _: 200, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("localhost", 0), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.answer = answer
        self.bodies: list[str] = []
        self.requests: list[dict] = []
        self.headers: list[dict[str, str]] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        records = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
        self.server.headers.append(dict(self.headers))
        status = self.server.answer(records)
        if status == 200:
            self.server.requests.append(request)
            self.server.bodies += [record["body"]["stringValue"] for record in records]
        said = b"{}" if status == 200 else b"no"
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def closing(collector: "TcpCollector | HttpCollector") -> Iterator["TcpCollector | HttpCollector"]:
    try:
        yield collector
    finally:
        collector.close()


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
