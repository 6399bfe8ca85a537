"""Where clients come in: a port of this process's own, sockets that systemd holds, or connections handed in.

Theory of operation. With several workers the supervisor alone accepts, and hands each connection to the worker with the
fewest (SCM_RIGHTS, unix(7)). With one listening socket for all, or one each (SO_REUSEPORT), chance decides who gets a
connection, and a session stays for hours where it fell; and a socket that is closed with connections in its queue
resets them, which a listener that outlives every worker never does.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Protocol

from pgguard.runtime.config import ListenSettings

_log = logging.getLogger(__name__)

_FIRST_FD = 3
"""Of those that systemd passes (sd_listen_fds(3))."""

_AT_ONCE = 64
"""Connections taken in one turn of the event loop."""

Make = Callable[[], asyncio.Protocol]


class Entrance(Protocol):
    async def open(self, make: Make) -> None:
        """Serve whoever comes by a protocol that `make` makes."""
        ...

    def close(self) -> None:
        """Take nobody any more; who has been taken is served."""
        ...

    @property
    def is_open(self) -> bool: ...


async def open_sockets(settings: ListenSettings, environment: Mapping[str, str]) -> list[socket.socket]:
    """Listening sockets: those of systemd where it has passed some to this process, else on the configured address.

    Raises OSError.
    """
    if environment.get("LISTEN_PID") == str(os.getpid()):
        last = _FIRST_FD + int(environment.get("LISTEN_FDS", "0"))
        passed = [socket.socket(fileno=number) for number in range(_FIRST_FD, last)]
        for one in passed:
            one.setblocking(False)
            os.set_inheritable(one.fileno(), False)
        if passed:
            return passed
    host = None if settings.host == "*" else settings.host
    found = await asyncio.get_running_loop().getaddrinfo(
        host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
    return [_listen(family, address, settings.backlog) for family, address in addresses]


def _listen(family: int, address: object, backlog: int) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
        listening.listen(backlog)
    except OSError:
        listening.close()
        raise
    return listening


class Port:
    """A port of this process's own."""

    def __init__(self, settings: ListenSettings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._servers: list[asyncio.Server] = []

    async def open(self, make: Make) -> None:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        for listening in await open_sockets(self._settings, self._environment):
            self._servers.append(await loop.create_server(make, sock=listening, backlog=self._settings.backlog))

    def close(self) -> None:
        for server in self._servers:
            server.close()

    @property
    def is_open(self) -> bool:
        return bool(self._servers) and all(server.is_serving() for server in self._servers)


class HandedIn:
    """Connections that the supervisor hands in through a socket pair."""

    def __init__(self, passing: socket.socket, closed: Callable[[], None]) -> None:
        """`closed` is called for each connection that did not even begin to be served."""
        self._passing = passing
        self._closed = closed
        self._make: Make | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, make: Make) -> None:
        self._passing.setblocking(False)
        self._make = make
        asyncio.get_running_loop().add_reader(self._passing, self._take)

    def close(self) -> None:
        if self._make is None:
            return
        while self._take():  # what was handed in before belongs here still
            pass
        self._make = None
        asyncio.get_running_loop().remove_reader(self._passing)

    @property
    def is_open(self) -> bool:
        return self._make is not None

    def _take(self) -> bool:
        """Serve some; whether there were any."""
        assert self._make is not None, "it is open"
        for count in range(_AT_ONCE):
            try:
                word, numbers, _, _ = socket.recv_fds(self._passing, 1, 1)
            except BlockingIOError:
                return count > 0
            if not word:
                asyncio.get_running_loop().remove_reader(self._passing)  # the supervisor is gone
                return False
            for number in numbers:
                task = asyncio.create_task(self._serve(self._make, socket.socket(fileno=number)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return True

    async def _serve(self, make: Make, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(make, connection)
        except OSError as error:  # the client has gone meanwhile
            _log.debug("a connection that was handed in ended at once: %s", error)
            connection.close()
            self._closed()
