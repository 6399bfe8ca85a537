"""Accepts the connections of all workers, and hands each to the one that serves the fewest (entrance.py says why)."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence

from pgguard.runtime.member import Member

_log = logging.getLogger(__name__)

_AT_ONCE = 64
"""Connections accepted in one turn of the event loop."""

_PAUSE_SECONDS = 0.05
"""For which nobody is accepted after a connection that no worker took: the others wait in the kernel's queue."""


class Reception:
    """`members`: those who may be given connections now."""

    def __init__(self, listening: Sequence[socket.socket], members: Callable[[], Sequence[Member]]) -> None:
        self._listening = listening
        self._members = members
        self._accepting = False
        self._closed = False

    @property
    def is_open(self) -> bool:
        return self._accepting

    def look(self) -> None:
        """Accept while there is a worker to serve; else let those who come wait in the queue."""
        wanted = bool(self._members()) and not self._closed
        if wanted == self._accepting:
            return
        self._accepting = wanted
        loop = asyncio.get_running_loop()
        for one in self._listening:
            if wanted:
                loop.add_reader(one, self._accept, one)
            else:
                loop.remove_reader(one)

    def close(self) -> None:
        self._closed = True
        self.look()
        for one in self._listening:
            one.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError as error:
                self._pause(f"cannot accept connections: {error.strerror}")
                return
            with connection:
                if not any(one.hand(connection) for one in sorted(self._members(), key=lambda one: one.connections)):
                    self._pause("a connection was dropped: no worker takes any")
                    return

    def _pause(self, why: str) -> None:
        _log.error("%s", why)
        loop = asyncio.get_running_loop()
        for one in self._listening:
            loop.remove_reader(one)
        self._accepting = False
        loop.call_later(_PAUSE_SECONDS, self.look)
