"""Reading message bodies: a cursor over bytes that never reads beyond them."""

import struct

from pgguard.wire.framing import ProtocolViolation

_INT16 = struct.Struct("!h")
_COUNT16 = struct.Struct("!H")
_INT32 = struct.Struct("!i")
_OID = struct.Struct("!I")


class Body:
    """A cursor over one message body. Every method raises ProtocolViolation where the body is too short."""

    def __init__(self, raw: bytes, offset: int = 5) -> None:
        self._raw = raw
        self._at = offset

    def string(self) -> bytes:
        """A NUL-terminated string."""
        end = self._raw.find(b"\0", self._at)
        if end < 0:
            raise ProtocolViolation("invalid string in message")
        value = self._raw[self._at : end]
        self._at = end + 1
        return value

    def byte(self) -> int:
        return self.take(1)[0]

    def int16(self) -> int:
        value: int = _INT16.unpack(self.take(2))[0]
        return value

    def count(self) -> int:
        value: int = _COUNT16.unpack(self.take(2))[0]
        return value

    def int32(self) -> int:
        value: int = _INT32.unpack(self.take(4))[0]
        return value

    def oid(self) -> int:
        value: int = _OID.unpack(self.take(4))[0]
        return value

    def value(self) -> bytes | None:
        """A length-prefixed value; None for NULL (length -1)."""
        length = self.int32()
        if length == -1:
            return None
        if length < 0:
            raise ProtocolViolation(f"invalid value length {length} in message")
        return self.take(length)

    def take(self, length: int) -> bytes:
        if self._at + length > len(self._raw):
            raise ProtocolViolation("insufficient data left in message")
        value = self._raw[self._at : self._at + length]
        self._at += length
        return value

    def end(self) -> None:
        """Nothing may follow (PostgreSQL source, pq_getmsgend)."""
        if self._at != len(self._raw):
            raise ProtocolViolation("invalid message format")
