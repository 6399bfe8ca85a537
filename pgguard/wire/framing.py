"""Framing: a stream of bytes to messages, and where a message ends in a buffer.

A message is one type byte, a length (four bytes, big-endian, itself included) and the body; a packet before the session
begins has no type byte. Source: PostgreSQL docs, section 55.2.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pgguard.wire.constants import MAX_MESSAGE, MAX_SMALL_MESSAGE, MAX_STARTUP, Frontend

_LENGTH = struct.Struct("!I")
_HEADER = struct.Struct("!cI")
_TYPE_AND_LENGTH = struct.Struct("!BI")

_SMALL = frozenset({
    Frontend.SYNC, Frontend.FLUSH, Frontend.TERMINATE, Frontend.COPY_DONE, Frontend.EXECUTE, Frontend.DESCRIBE,
    Frontend.CLOSE, Frontend.COPY_FAIL,
})  # fmt: skip


class ProtocolViolation(Exception):  # noqa: N818  # the field's own term, SQLSTATE 08P01
    """The bytes are no PostgreSQL protocol; the connection cannot go on."""


class Malformed(ProtocolViolation):
    """A message whose body is not what its type has: the next one begins where it would have."""


class Message(NamedTuple):
    """One message: its type as a number, and all of its bytes, header included, exactly as received."""

    type: int
    raw: bytes

    @property
    def body(self) -> bytes:
        return self.raw[5:]


def message(kind: int, body: bytes = b"") -> bytes:
    """The bytes of a message of this type."""
    return _HEADER.pack(bytes((kind,)), len(body) + 4) + body


class FrontendFramer:
    """Cuts what a client sends into messages; keeps what is not complete yet.

    `limit` is the largest message in bytes: a longer one raises ProtocolViolation as soon as its header is here.
    """

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def held(self) -> int:
        """Bytes of a message that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes, in order. Raises ProtocolViolation.

        What comes whole, as nearly all does, is cut where it lies.
        """
        held = self._buffer
        if held:
            held += data
        whole = held or data
        start, size = 0, len(whole)
        try:
            while size - start >= 5:
                kind, length = _TYPE_AND_LENGTH.unpack_from(whole, start)
                if not 4 <= length <= (MAX_SMALL_MESSAGE if kind in _SMALL else self._limit):
                    raise ProtocolViolation("invalid message length")
                end = start + 1 + length
                if size < end:
                    break
                raw = bytes(whole[start:end])
                start = end
                yield Message(kind, raw)
        finally:
            if whole is held:
                del held[:start]
            elif start < size:
                held += data[start:]


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
