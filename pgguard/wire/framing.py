"""Framing: a stream of bytes to messages, and where a message ends in a buffer.

A message is one type byte, a length (four bytes, big-endian, itself included) and the body; a packet before the session
begins has no type byte. Source: PostgreSQL docs, section 55.2.
"""

import contextlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

from pgguard.wire.constants import MAX_MESSAGE, MAX_SMALL_MESSAGE, MAX_STARTUP, Frontend

_LENGTH = struct.Struct("!I")
_HEADER = struct.Struct("!cI")
_unpack = struct.Struct("!BI").unpack_from
"""The type and the length of the message that begins there."""

_HEADER_BYTES = 5
_TELLING_FIRST = (4, 3, 0, 1, 2)
"""The places in a header, first the one that differs between rows of a table most."""
_WINDOW, _FEW = 16, 4

_COPY_DATA = int(Frontend.COPY_DATA)
_RUN = 1 << 15
"""Bytes of CopyData that are one piece, about: a larger block is fresh memory of the kernel's each time."""

_SMALL = frozenset({
    Frontend.SYNC, Frontend.FLUSH, Frontend.TERMINATE, Frontend.COPY_DONE, Frontend.EXECUTE, Frontend.DESCRIBE,
    Frontend.CLOSE, Frontend.COPY_FAIL,
})  # fmt: skip


class ProtocolViolation(Exception):  # noqa: N818  # the field's own term, SQLSTATE 08P01
    """The bytes are no PostgreSQL protocol; the connection cannot go on."""


class Malformed(ProtocolViolation):
    """A message whose body is not what its type has: the next one begins where it would have."""


class Message(NamedTuple):
    """One message: its type as a number, and all of its bytes, header included, exactly as received.

    Or as many CopyData as came one right behind the other: `parts` of them, which nothing that a session does with the
    first could make it treat apart.
    """

    type: int
    raw: bytes
    parts: int = 1

    @property
    def body(self) -> bytes:
        return self.raw[5:]


def message(kind: int, body: bytes = b"") -> bytes:
    """The bytes of a message of this type."""
    return _HEADER.pack(bytes((kind,)), len(body) + 4) + body


def headers_alike(data: bytes, at: int) -> int:
    """How many messages, from the one whose header is at `at`, have that same header: type and length.

    Where these are fewer than four it says 1, since that is soon told.
    Messages of one length have their headers in columns, which are compared at once: a row as such costs a fraction of
    what it costs to go from header to header. Where they end in the middle of a header, that one does not count.
    """
    header = data[at : at + _HEADER_BYTES]
    step = 1 + _unpack(header, 0)[1]
    found, window = 0, _WINDOW
    while True:
        begin, same = at + found * step, window
        for place in _TELLING_FIRST:
            column = data[begin + place : begin + same * step : step]
            same = len(column) - len(column.lstrip(header[place : place + 1]))
            if not found and same < _FEW:
                return 1
        found += same
        if same < window:
            return found
        window *= 4


class FrontendFramer:
    """Cuts what a client sends into messages; keeps what is not complete yet.

    `limit` is the largest message in bytes: a longer one raises ProtocolViolation as soon as its header is here.
    """

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._whole = 0
        """How long the message will be that lies in the buffer; 0 while its header is not whole."""

    @property
    def held(self) -> int:
        """Bytes of a message that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes, in order. Raises ProtocolViolation.

        What comes whole, as nearly all does, is cut where it lies.
        """
        held, start = self._buffer, 0
        if self._whole:
            start = self._whole - len(held)
            held += data[:start]
            if len(held) < self._whole:
                return
            self._whole, completed = 0, Message(held[0], bytes(held))
            held.clear()
            yield completed
        elif held:
            data = bytes(held) + data
            held.clear()
        size = len(data)
        try:
            while size - start >= 5:
                kind, length = _unpack(data, start)
                if not 4 <= length <= (MAX_SMALL_MESSAGE if kind in _SMALL else self._limit):
                    raise ProtocolViolation("invalid message length")
                end, count = start + 1 + length, 1
                if size < end:
                    self._whole = end - start
                    break
                if kind == _COPY_DATA:
                    end, count = self._copy_run(data, end)
                raw = data[start:end]
                start = end
                yield Message(kind, raw, count)
        finally:
            held += data[start:]

    def _copy_run(self, data: bytes, at: int) -> tuple[int, int]:
        """Behind a CopyData that ends there: where the last of a run of them ends, and how many they are in all."""
        unpack, size, count, most = _unpack, len(data), 1, at + _RUN
        with contextlib.suppress(struct.error):  # as in session.replies
            while at < most:
                kind, length = unpack(data, at)
                end = at + 1 + length
                if kind != _COPY_DATA or end > size or not 4 <= length <= self._limit:
                    break
                at = end
                count += 1
        return at, count


def first_packet_length(buffer: bytes | bytearray) -> int | None:
    """The length of the untyped packet at the start of `buffer`; None while its length is not here yet.

    Raises ProtocolViolation for a length that no startup packet has (PostgreSQL source, ProcessStartupPacket).
    """
    if len(buffer) < 4:
        return None
    length: int = _LENGTH.unpack_from(buffer)[0]
    if not 8 <= length <= MAX_STARTUP + 4:
        raise ProtocolViolation("invalid length of startup packet")
    return length
