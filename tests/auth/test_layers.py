"""The encrypted transports: what goes in comes out, however it is split, and nothing unprotected passes."""

import ssl
import struct
from collections.abc import Callable
from pathlib import Path

import gssapi
import pytest

from pgguard.auth.acceptor import Acceptor
from pgguard.auth.layers import GssLayer, Layer, LayerBroken, PlainLayer, TlsLayer
from pgguard.auth.settings import TlsSettings
from pgguard.auth.tls import TlsError, client_facing
from pgguard.lab.certificates import Certificates

Initiate = Callable[..., gssapi.SecurityContext]
LONG = bytes(range(256)) * 400


@pytest.fixture
def contexts(acceptor: Acceptor, initiate: Initiate) -> tuple[gssapi.SecurityContext, gssapi.SecurityContext]:
    """A client's and a server's established security context."""
    client, handshake = initiate("layla"), acceptor.begin()
    client.step(handshake.step(client.step()))
    assert handshake.accepted is not None
    return client, handshake.accepted.context


@pytest.fixture
def gss(contexts: tuple[gssapi.SecurityContext, gssapi.SecurityContext]) -> tuple[Layer, Layer]:
    return GssLayer(contexts[0]), GssLayer(contexts[1])


@pytest.fixture(params=["plain", "gss", "tls"])
def pair(request: pytest.FixtureRequest) -> tuple[Layer, Layer]:
    if request.param == "plain":
        return PlainLayer(), PlainLayer()
    layers: tuple[Layer, Layer] = request.getfixturevalue(request.param)
    return layers


@pytest.fixture
def tls(certificates: Certificates) -> tuple[Layer, Layer]:
    client = ssl.create_default_context(cafile=str(certificates.authority))
    server = client_facing(TlsSettings(certificate=certificates.certificate, key=certificates.key))
    a, b = TlsLayer(client, server_side=False, hostname="localhost"), TlsLayer(server, server_side=True)
    done_a = done_b = False
    while not (done_a and done_b):
        done_a = a.handshake(b.outgoing())
        done_b = b.handshake(a.outgoing())
    a.decrypt(b.outgoing())
    return a, b


@pytest.mark.parametrize("data", [b"", b"x", LONG])
def test_both_ways(pair: tuple[Layer, Layer], data: bytes):
    a, b = pair
    assert b.decrypt(a.encrypt(data)) == data
    assert a.decrypt(b.encrypt(data)) == data


def test_joined_and_split_at_every_byte(pair: tuple[Layer, Layer]):
    a, b = pair
    sent = a.encrypt(b"first") + a.encrypt(b"second")
    assert b.decrypt(sent) == b"firstsecond"
    for at in range(len(sent) + 1):
        again = a.encrypt(b"first") + a.encrypt(b"second")
        assert b.decrypt(again[:at]) + b.decrypt(again[at:]) == b"firstsecond"
    assert b"".join(b.decrypt(bytes((byte,))) for byte in a.encrypt(b"first")) == b"first"


def test_a_large_result_is_many_packets_of_at_most_16_kib(gss: tuple[Layer, Layer]):
    a, b = gss
    sent, at = a.encrypt(LONG), 0
    while at < len(sent):
        (length,) = struct.unpack_from("!I", sent, at)
        assert length + 4 <= 16384
        at += 4 + length
    assert b.decrypt(sent) == LONG


def test_a_packet_without_confidentiality_is_refused(
    contexts: tuple[gssapi.SecurityContext, gssapi.SecurityContext], gss: tuple[Layer, Layer]
):
    """Signed, but readable by everyone on the way."""
    signed = contexts[0].wrap(b"select 1", False).message
    with pytest.raises(LayerBroken, match="did not use confidentiality"):
        gss[1].decrypt(struct.pack("!I", len(signed)) + signed)


def test_a_changed_byte_breaks_the_connection(gss: tuple[Layer, Layer]):
    sent = bytearray(gss[0].encrypt(b"select 1"))
    sent[-1] ^= 1
    with pytest.raises(LayerBroken, match="unwrap"):
        gss[1].decrypt(bytes(sent))


@pytest.mark.parametrize("length", [0, 16381, 0x80000000, 0xFFFFFFFF])
def test_a_length_that_no_packet_has_is_refused_before_its_bytes_come(gss: tuple[Layer, Layer], length: int):
    with pytest.raises(LayerBroken):
        gss[1].decrypt(struct.pack("!I", length))


def test_a_replayed_packet_is_refused(gss: tuple[Layer, Layer]):
    sent = gss[0].encrypt(b"insert")
    gss[1].decrypt(sent)
    with pytest.raises(LayerBroken):
        gss[1].decrypt(sent)


def test_a_context_that_could_be_replayed_encrypts_nothing(acceptor: Acceptor, initiate: Initiate):
    """The client chooses its flags; without these the library itself would take a packet twice."""
    client, handshake = initiate("layla", flags=gssapi.RequirementFlag.mutual_authentication), acceptor.begin()
    handshake.step(client.step())
    assert handshake.accepted is not None
    with pytest.raises(LayerBroken, match="replay"):
        GssLayer(handshake.accepted.context)


def test_certificates_that_cannot_be_used_are_named(certificates: Certificates, tmp_path: Path):
    with pytest.raises(TlsError, match=r"none\.pem"):
        client_facing(TlsSettings(certificate=tmp_path / "none.pem", key=certificates.key))
