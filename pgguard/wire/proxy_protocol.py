"""The PROXY protocol, version 2: how a balancer tells whose connection it passes on. Pure.

Layout (HAProxy's proxy-protocol.txt, section 2.2): a signature of 12 bytes; version and command in one byte, address
family and transport in the next; the length of what follows, in two; the addresses; then extensions (TLVs), which say
nothing that pgguard asks for. LOCAL is the balancer's own connection, a health check. The signature is no beginning of
anything that PostgreSQL's protocol knows: as a packet's length it would be 218 million.

Only TCP over IPv4 or IPv6 is taken: whoever comes from a balancer's Unix socket has no address that a rule could name.
"""

import struct
from ipaddress import IPv4Address, IPv6Address

from pgguard.wire.framing import ProtocolViolation

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PREFIX = 16
"""Bytes that tell a header's length."""

_VERSION_1 = b"PROX"
_FIXED = struct.Struct("!12sBBH")
_VERSION = 0x2
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21


def begins_header(first: bytes) -> bool:
    """Whether a connection's first four bytes begin a header, of either version."""
    return first in {SIGNATURE[:4], _VERSION_1}


def header_length(prefix: bytes) -> int:
    """The length of the whole header whose first `PREFIX` bytes these are. Raises ProtocolViolation."""
    if prefix.startswith(_VERSION_1):
        raise ProtocolViolation("the PROXY header is of version 1: let the balancer send version 2 (send-proxy-v2)")
    signature, version, _, length = _FIXED.unpack(prefix)
    if signature != SIGNATURE:
        raise ProtocolViolation("the PROXY header's signature is broken")
    if version >> 4 != _VERSION:
        raise ProtocolViolation(f"the PROXY header is of version {version >> 4}; version 2 is taken")
    return int(PREFIX + length)


def read_header(header: bytes) -> IPv4Address | IPv6Address | None:
    """Where the client comes from; None for the balancer's own connection. Raises ProtocolViolation."""
    if len(header) != header_length(header[:PREFIX]):
        raise ProtocolViolation("the PROXY header has another length than it tells")
    _, command, family, _ = _FIXED.unpack_from(header)
    if command == _LOCAL:
        return None
    if command != _PROXY:
        raise ProtocolViolation(f"unknown command {command & 0xF} in the PROXY header")
    addresses = header[PREFIX:]
    if family == _TCP4 and len(addresses) >= 12:
        return IPv4Address(addresses[:4])
    if family == _TCP6 and len(addresses) >= 36:
        source = IPv6Address(addresses[:16])
        return source.ipv4_mapped or source
    if family in {_TCP4, _TCP6}:
        raise ProtocolViolation("the PROXY header ends within its addresses")
    raise ProtocolViolation(f"the PROXY header names no TCP client (family and transport 0x{family:02x})")
