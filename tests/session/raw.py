"""A raw protocol client over loopback, with or without a Session in between: bytes to PostgreSQL, messages back."""

import socket
from collections.abc import Callable

from pgguard.session.events import CancelWanted, Ended, Event
from pgguard.session.judgement import Judge
from pgguard.session.server_login import ServerLogin
from pgguard.session.session import Session
from pgguard.wire import startup
from pgguard.wire.constants import PROTOCOL_3_0
from pgguard.wire.framing import Message

SECONDS = 10.0


class Messages:
    """Cuts server bytes into messages; the framing is the same in both directions but for the type's meaning."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Message]:
        self._buffer += data
        found = []
        while len(self._buffer) >= 5:
            end = 1 + int.from_bytes(self._buffer[1:5], "big")
            if len(self._buffer) < end:
                break
            found.append(Message(self._buffer[0], self._buffer[:end]))
            self._buffer = self._buffer[end:]
        return found


class Direct:
    """A logged-in connection."""

    def __init__(self, port: int, database: str, user: str = "postgres") -> None:
        self.socket = socket.create_connection(("localhost", port), SECONDS)
        self.socket.sendall(startup.startup_message(PROTOCOL_3_0, {"user": user, "database": database}))
        login = ServerLogin(user, None, encrypted=False)
        messages = Messages()
        while not login.ready:
            for message in messages.feed(self._receive()):
                login.receive(message)
        self.parameters = login.parameters
        self.key = login.key
        self._messages = Messages()

    def _receive(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server has closed the connection")
        return data

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, done: Callable[[list[Message]], bool]) -> list[Message]:
        """Messages until `done` says that they are enough."""
        found: list[Message] = []
        while not done(found):
            found += self._messages.feed(self._receive())
        return found

    def close(self) -> None:
        self.socket.close()


class Through:
    """The same with a Session in between, which `judge` serves."""

    def __init__(self, port: int, database: str, judge: Judge, piece: int = 0, turn: int = 16) -> None:
        self._direct = Direct(port, database)
        self.session = Session(judge, limit=1 << 20, parameters=self._direct.parameters, turn=turn)
        self._messages = Messages()
        self._piece = piece
        self.events: list[Event] = []
        self._found: list[Message] = []

    def send(self, data: bytes) -> None:
        size = self._piece or len(data)
        for start in range(0, len(data), size):
            self.session.client_data(data[start : start + size])
            self._pump()

    def _pump(self) -> None:
        out = b"".join(self.session.take_server())
        if out:
            self._direct.send(out)
        self._found += self._messages.feed(b"".join(self.session.take_client()))
        for event in self.session.take_events():
            self.events.append(event)
            if isinstance(event, CancelWanted):
                self._cancel()
        if self.session.unfinished:
            self.session.go_on()
            self._pump()

    def _cancel(self) -> None:
        self.session.hold_input()
        port = self._direct.socket.getpeername()[1]
        with socket.create_connection(("localhost", port), SECONDS) as other:
            other.sendall(startup.cancel_request(self._direct.key.process, self._direct.key.secret))
            while other.recv(1):
                pass
        self.session.cancelled()
        self._pump()

    def until(self, done: Callable[[list[Message]], bool]) -> list[Message]:
        while not done(self._found):
            if any(isinstance(event, Ended) for event in self.events):
                break
            data = self._direct._receive()
            size = self._piece or len(data)
            for start in range(0, len(data), size):
                self.session.server_data(data[start : start + size])
                self._pump()
        found, self._found = self._found, []
        return found

    def close(self) -> None:
        self._direct.close()
