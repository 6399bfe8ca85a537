"""Reading message bodies: a cursor over bytes that never reads beyond them."""

import struct

from pgguard.wire.framing import Malformed

_INT16 = struct.Struct("!h")
_COUNT16 = struct.Struct("!H")
_INT32 = struct.Struct("!i")
_OID = struct.Struct("!I")


class Body:
    """A cursor over one message body. Every method raises Malformed, in PostgreSQL's words, where it is too short."""

    __slots__ = ("_at", "_raw")

    def __init__(self, raw: bytes, offset: int = 5) -> None:
        self._raw = raw
        self._at = offset

    def string(self) -> bytes:
        """A NUL-terminated string."""
        start = self._at
        end = self._raw.find(b"\0", start)
        if end < 0:
            raise Malformed("invalid string in message")
        self._at = end + 1
        return self._raw[start:end]

    def byte(self) -> int:
        return self.take(1)[0]

    def int16(self) -> int:
        return self._number(_INT16)

    def count(self) -> int:
        return self._number(_COUNT16)

    def int32(self) -> int:
        return self._number(_INT32)

    def oid(self) -> int:
        return self._number(_OID)

    def int16s(self) -> tuple[int, ...]:
        """As many as the count before them says."""
        count = self.count()
        return tuple([self.int16() for _ in range(count)]) if count else ()

    def value(self) -> bytes | None:
        """A length-prefixed value; None for NULL (length -1)."""
        length = self._number(_INT32)
        if length == -1:
            return None
        return self.take(length)

    def values(self) -> tuple[bytes | None, ...]:
        """As many as the count before them says."""
        count = self.count()
        return tuple([self.value() for _ in range(count)]) if count else ()

    def take(self, length: int) -> bytes:
        start = self._at
        end = start + length
        if length < 0 or end > len(self._raw):
            raise Malformed("insufficient data left in message")
        self._at = end
        return self._raw[start:end]

    def _number(self, form: struct.Struct) -> int:
        try:
            number: int = form.unpack_from(self._raw, self._at)[0]
        except struct.error:
            raise Malformed("insufficient data left in message") from None
        self._at += form.size
        return number

    def end(self) -> None:
        """Nothing may follow (PostgreSQL source, pq_getmsgend)."""
        if self._at != len(self._raw):
            raise Malformed("invalid message format")
