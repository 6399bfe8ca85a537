"""The PROXY header: what HAProxy sends, byte by byte, and nothing else."""

import contextlib
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgguard.wire.framing import ProtocolViolation
from pgguard.wire.proxy_protocol import PREFIX, SIGNATURE, begins_header, header_length, read_header


def _header(rest: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


# As HAProxy 2.6 sent it to a port that wrote down what it got ("send-proxy-v2", a client at 127.0.0.9).
_CAPTURED = bytes.fromhex("0d0a0d0a000d0a515549540a2111000c7f0000097f000001df0fd58f")


def test_what_haproxy_sends_is_read():
    assert begins_header(_CAPTURED[:4])
    assert header_length(_CAPTURED[:PREFIX]) == len(_CAPTURED)
    assert read_header(_CAPTURED) == IPv4Address("127.0.0.9")


@given(st.ip_addresses(v=4), st.binary(max_size=300))
def test_the_client_of_ipv4_is_told_whatever_extensions_follow(source: IPv4Address, extensions: bytes):
    assert read_header(_header(source.packed + bytes(8) + extensions)) == source


@given(st.ip_addresses(v=6), st.binary(max_size=300))
def test_the_client_of_ipv6_is_told_a_mapped_one_as_ipv4(source: IPv6Address, extensions: bytes):
    header = _header(source.packed + bytes(20) + extensions, family=0x21)
    assert read_header(header) == (source.ipv4_mapped or source)


@given(st.binary(max_size=40), st.sampled_from([0x00, 0x11, 0x21]))
def test_a_health_check_is_the_balancers_own(rest: bytes, family: int):
    assert read_header(_header(rest, 0x20, family)) is None


@given(st.binary(min_size=PREFIX, max_size=400))
def test_no_bytes_do_anything_but_be_read_or_refused(noise: bytes):
    for header in (noise, SIGNATURE + noise):
        try:
            length = header_length(header[:PREFIX])
            assert PREFIX <= length <= PREFIX + 0xFFFF
            read_header(header[:length])
        except ProtocolViolation:
            pass


@given(st.data())
def test_a_flipped_bit_in_the_fixed_part_never_gives_another_client(data: st.DataObject):
    broken = bytearray(_header(IPv4Address("192.0.2.7").packed + bytes(8)))
    broken[data.draw(st.integers(0, PREFIX - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(ProtocolViolation):
        assert read_header(bytes(broken)) is None  # LOCAL is one bit away from PROXY


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n", "version 1"),
        (SIGNATURE + struct.pack("!BBH", 0x31, 0x11, 12) + bytes(12), "of version 3"),
        (_header(bytes(12), command=0x22), "unknown command 2"),
        (_header(bytes(11)), "ends within its addresses"),
        (_header(bytes(35), family=0x21), "ends within its addresses"),
        (_header(bytes(12), family=0x12), "no TCP client"),
        (_header(bytes(216), family=0x31), "no TCP client"),
        (_header(b"", family=0x00), "no TCP client"),
        (_header(bytes(12)) + b"x", "another length"),
    ],
)
def test_anything_else_is_refused_with_its_reason(header: bytes, what: str):
    with pytest.raises(ProtocolViolation, match=what):
        read_header(header)


@pytest.mark.parametrize("packet", ["0000000804d2162f", "0000000804d21630", "0000001004d2162e", "1603010200"])
def test_no_packet_of_postgresql_is_taken_for_a_header(packet: str):
    assert not begins_header(bytes.fromhex(packet)[:4])
