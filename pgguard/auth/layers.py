"""What lies between the bytes on a socket and the protocol: nothing, GSS encryption, or TLS. Without I/O.

GSS encryption (PostgreSQL docs, section 55.2.13): packets of a four-byte big-endian length and a wrapped token, at most
16 KiB with the header. TLS runs over memory buffers, since asyncio's start_tls can lose what was already read (field
notes, section 1).
"""

import ssl
import struct
from typing import Protocol

import gssapi
from gssapi.raw.misc import GSSError

_LENGTH = struct.Struct("!I")
_MAX_PACKET = 16384
_NEEDED = (
    gssapi.RequirementFlag.confidentiality,
    gssapi.RequirementFlag.replay_detection,
    gssapi.RequirementFlag.out_of_sequence_detection,
)


class LayerBroken(Exception):  # noqa: N818  # it says what happened
    """The peer's bytes do not decrypt; the connection cannot go on."""


class Layer(Protocol):
    def decrypt(self, data: bytes) -> bytes:
        """The plain bytes that `data` completes. Raises LayerBroken."""
        ...

    def encrypt(self, data: bytes) -> bytes: ...


class PlainLayer:
    def decrypt(self, data: bytes) -> bytes:
        return data

    def encrypt(self, data: bytes) -> bytes:
        return data


class GssLayer:
    """Packets wrapped by an established security context, with confidentiality both ways."""

    def __init__(self, context: gssapi.SecurityContext) -> None:
        if missing := [flag.name for flag in _NEEDED if not context.actual_flags & flag]:
            raise LayerBroken(f"the client's security context has no {', '.join(map(str, missing))}")
        self._context = context
        self._chunk = context.get_wrap_size_limit(_MAX_PACKET - _LENGTH.size, True)
        self._buffer = bytearray()

    def decrypt(self, data: bytes) -> bytes:
        buffer = self._buffer
        buffer += data
        at, plain = 0, []
        while len(buffer) - at >= _LENGTH.size:
            length: int = _LENGTH.unpack_from(buffer, at)[0]
            if not 0 < length <= _MAX_PACKET - _LENGTH.size:
                raise LayerBroken(f"oversize GSSAPI packet sent by the client ({length} bytes)")
            end = at + _LENGTH.size + length
            if len(buffer) < end:
                break
            plain.append(self._unwrap(bytes(buffer[at + _LENGTH.size : end])))
            at = end
        del buffer[:at]
        return b"".join(plain)

    def _unwrap(self, packet: bytes) -> bytes:
        try:
            result = self._context.unwrap(packet)
        except GSSError as error:
            raise LayerBroken(f"GSSAPI unwrap error: {error.gen_message()}") from error
        if not result.encrypted:
            raise LayerBroken("incoming GSSAPI message did not use confidentiality")
        return bytes(result.message)

    def encrypt(self, data: bytes) -> bytes:
        view = memoryview(data)
        packets: list[bytes] = []
        for start in range(0, len(data), self._chunk):
            try:
                wrapped = self._context.wrap(bytes(view[start : start + self._chunk]), True)
            except GSSError as error:
                raise LayerBroken(f"GSSAPI wrap error: {error.gen_message()}") from error
            if not wrapped.encrypted:
                raise LayerBroken("outgoing GSSAPI message would not use confidentiality")
            packets += (_LENGTH.pack(len(wrapped.message)), wrapped.message)
        return b"".join(packets)


class TlsLayer:
    """TLS over memory buffers. `handshake` first, until it says that it is complete."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, hostname: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=hostname)

    def handshake(self, data: bytes) -> bool:
        """Go on with the peer's bytes; whether the handshake is complete. Send `outgoing` after each call."""
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            raise LayerBroken(f"could not establish TLS: {error.reason}: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise LayerBroken(f"could not establish TLS: {error.reason or error}") from error
        return True

    def outgoing(self) -> bytes:
        return self._outgoing.read()

    @property
    def alpn(self) -> str | None:
        return self._tls.selected_alpn_protocol()

    def decrypt(self, data: bytes) -> bytes:
        self._incoming.write(data)
        plain = []
        try:
            while chunk := self._tls.read(65536):
                plain.append(chunk)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        except ssl.SSLError as error:
            raise LayerBroken(f"TLS error: {error.reason or error}") from error
        return b"".join(plain)

    def encrypt(self, data: bytes) -> bytes:
        try:
            if data:
                self._tls.write(data)
        except ssl.SSLError as error:
            raise LayerBroken(f"TLS error: {error.reason or error}") from error
        return self._outgoing.read()
