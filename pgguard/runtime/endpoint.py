"""One socket: its transport layer, what was read and not yet used, and who receives the rest.

During login an endpoint is read with `await read(n)`; afterwards `hand_over` gives every further byte to a receiver,
as a plain call, without a task or a queue between.

A transport that does not read does not see the peer hang up either: while an endpoint is paused it polls for that where
asked to, as PostgreSQL does with client_connection_check_interval (PostgreSQL docs, section 20.3).
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Sequence
from typing import Protocol, cast

from pgguard.auth.layers import Layer, LayerBroken, PlainLayer, TlsLayer

_LOGIN_BUFFER = 256 * 1024
"""Bytes that may lie unread during a login; beyond, reading stops until they are used."""

_HANG_UP_SECONDS = 1.0
"""How often a paused endpoint looks whether its peer is still there."""

_HANG_UP = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Receiver(Protocol):
    def received(self, data: bytes) -> None: ...

    def lost(self) -> None:
        """The connection is gone."""
        ...

    def hung_up(self) -> bool:
        """The peer sends no more. True: it still reads what is written."""
        ...

    def writable(self, *, now: bool) -> None:
        """Whether the peer takes what is written to it (back-pressure)."""
        ...


class EndpointClosed(Exception):  # noqa: N818  # it says what happened
    """The peer is gone."""


class Endpoint(asyncio.Protocol):
    def __init__(self) -> None:
        self.layer: Layer = PlainLayer()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._news = asyncio.Event()
        self._receiver: Receiver | None = None
        self._closed = False
        self._raw: list[bytes] | None = None
        self._paused = False
        self._watch: asyncio.TimerHandle | None = None

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None, "used before it was connected"
        return self._transport

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def buffered(self) -> int:
        """Bytes read and not used."""
        return len(self._buffer)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class, but in all it does

    def data_received(self, data: bytes) -> None:
        if self._raw is not None:
            self._raw.append(data)
            self._news.set()
            return
        try:
            plain = self.layer.decrypt(data)
        except LayerBroken:
            self.abort()
            return
        if not plain:
            return
        if self._receiver is not None:
            self._receiver.received(plain)
            return
        self._buffer += plain
        self._news.set()
        if len(self._buffer) > _LOGIN_BUFFER:
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._closed = True
        self._unwatch()
        self._news.set()
        if self._receiver is not None:
            self._receiver.lost()

    def eof_received(self) -> bool:
        """A transport would wait without end for a peer to take what is written: the receiver decides."""
        return self._receiver is not None and self._receiver.hung_up()

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.writable(now=False)

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.writable(now=True)

    # login's side

    async def peek(self, length: int) -> bytes:
        """The next `length` bytes, left in place. Raises EndpointClosed."""
        while len(self._buffer) < length:
            await self._more()
        return bytes(self._buffer[:length])

    async def read(self, length: int) -> bytes:
        """The next `length` bytes. Raises EndpointClosed."""
        data = await self.peek(length)
        del self._buffer[:length]
        if self._transport is not None and not self._closed:
            self.transport.resume_reading()
        return data

    async def _more(self) -> None:
        if self._closed:
            raise EndpointClosed
        self._news.clear()
        await self._news.wait()

    async def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, hostname: str | None = None, first: bytes = b""
    ) -> TlsLayer:
        """Go on in TLS; `first` are bytes of the peer's that belong to the handshake (direct TLS).

        Raises LayerBroken and EndpointClosed.
        """
        layer = TlsLayer(context, server_side=server_side, hostname=hostname)
        self._raw = []
        data = first
        while not self._shake_hands(layer, data):
            while not self._raw:
                await self._more()
            data = b"".join(self._raw)
            self._raw.clear()
        rest, self._raw = b"".join(self._raw), None
        self.layer = layer
        self.data_received(rest)  # what came behind the handshake in the same piece
        return layer

    def _shake_hands(self, layer: TlsLayer, data: bytes) -> bool:
        """Go on; whether the handshake is complete. A peer that is refused is told why, by a TLS alert."""
        try:
            return layer.handshake(data)
        finally:
            self.transport.write(layer.outgoing())

    def take_buffer(self) -> bytes:
        """Everything read and not used."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def hand_over(self, receiver: Receiver) -> None:
        """From now on `receiver` gets what arrives, first of all what lies here."""
        self._receiver = receiver
        self.transport.resume_reading()
        if self._buffer:
            receiver.received(self.take_buffer())
        if self._closed:
            receiver.lost()

    # both

    def write(self, data: bytes) -> None:
        if self._closed:
            return
        assert self._transport is not None, "used before it was connected"
        try:
            self._transport.write(self.layer.encrypt(data))
        except LayerBroken:
            self.abort()

    def write_all(self, pieces: Sequence[bytes]) -> None:
        if pieces:
            self.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def pause(self, *, watch: bool) -> None:
        """Read nothing until `resume`. `watch`: tell `lost` within a second or two of the peer's end all the same."""
        if self._closed:
            return
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()
        if not watch:
            self._unwatch()
        elif self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(_HANG_UP_SECONDS, self._look_for_hang_up)

    def resume(self) -> None:
        if self._closed or not self._paused:
            return
        self._paused = False
        self._unwatch()
        self.transport.resume_reading()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look_for_hang_up(self) -> None:
        if self.transport.is_closing():
            return
        poll = select.poll()
        connection: socket.socket = self.transport.get_extra_info("socket")
        poll.register(connection.fileno(), _HANG_UP)
        if poll.poll(0):
            self.abort()
        else:
            self._watch = asyncio.get_running_loop().call_later(_HANG_UP_SECONDS, self._look_for_hang_up)

    def close(self) -> None:
        """Close when what is written has gone out."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def until_closed(self) -> None:
        while not self._closed:
            self._news.clear()
            await self._news.wait()
