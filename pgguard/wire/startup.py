"""The untyped packets with which a connection begins (PostgreSQL docs, section 55.2.1 and 55.7)."""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from pgguard.wire.constants import RequestCode
from pgguard.wire.framing import ProtocolViolation
from pgguard.wire.reading import Body

_INT32 = struct.Struct("!I")


class SslRequest(NamedTuple):
    pass


class GssEncRequest(NamedTuple):
    pass


class CancelRequest(NamedTuple):
    process: int
    secret: bytes


class StartupMessage(NamedTuple):
    """`version` is major << 16 | minor."""

    version: int
    parameters: dict[str, str]


FirstPacket = SslRequest | GssEncRequest | CancelRequest | StartupMessage


def read_first_packet(packet: bytes) -> FirstPacket:
    """One whole untyped packet. Raises ProtocolViolation.

    A key that stands twice is refused: the database would take the last one (field notes, section 1).
    """
    body = Body(packet, 4)
    code = body.oid()
    if code == RequestCode.SSL and len(packet) == 8:
        return SslRequest()
    if code == RequestCode.GSSENC and len(packet) == 8:
        return GssEncRequest()
    if code == RequestCode.CANCEL:
        secret = packet[12:]
        if not 4 <= len(secret) <= 256:
            raise ProtocolViolation("invalid length of cancel key")
        return CancelRequest(body.int32(), secret)
    if code >> 16 != 3:
        raise ProtocolViolation(
            f"unsupported frontend protocol {code >> 16}.{code & 0xFFFF}: server supports 3.0 to 3.2"
        )
    return StartupMessage(code, _read_parameters(body))


def _read_parameters(body: Body) -> dict[str, str]:
    parameters: dict[str, str] = {}
    while name := body.string():
        value = body.string()
        try:
            key, text = name.decode("utf-8"), value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ProtocolViolation("startup packet is not valid UTF-8") from error
        if key in parameters:
            raise ProtocolViolation(f'startup packet names "{key}" twice')
        parameters[key] = text
    body.end()
    return parameters


def startup_message(version: int, parameters: Mapping[str, str]) -> bytes:
    pairs = b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in parameters.items())
    return _packet(_INT32.pack(version) + pairs + b"\0")


def ssl_request() -> bytes:
    return _packet(_INT32.pack(RequestCode.SSL))


def cancel_request(process: int, secret: bytes) -> bytes:
    return _packet(_INT32.pack(RequestCode.CANCEL) + _INT32.pack(process & 0xFFFFFFFF) + secret)


def _packet(body: bytes) -> bytes:
    return _INT32.pack(len(body) + 4) + body
