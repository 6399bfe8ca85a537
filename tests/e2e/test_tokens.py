"""A client that does not behave: tokens that were seen on the wire before, or kept until their ticket had ended."""

import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import gssapi
import pytest

from pgguard.lab.lab import Lab
from pgguard.wire import startup
from pgguard.wire.constants import PROTOCOL_3_0

_HELLO = startup.startup_message(PROTOCOL_3_0, {"user": "alice", "database": "shop"})
_GSSENC_REQUEST = struct.pack("!II", 8, 80877104)
_FLAG = gssapi.RequirementFlag
_LIBPQ = _FLAG.mutual_authentication | _FLAG.replay_detection | _FLAG.out_of_sequence_detection | _FLAG.confidentiality

LogIn = Callable[[bytes], bytes]


@pytest.fixture
def token(lab: Lab, tmp_path: Path, as_user: Callable[[str], None]) -> Callable[[str], bytes]:
    """An AP-REQ of alice for the proxy, with a ticket of this lifetime."""
    as_user("alice")

    def make(lifetime: str) -> bytes:
        ccache = lab.realm.kinit("alice", tmp_path / f"ccache-{lifetime}", lifetime=lifetime)
        name = gssapi.Name("postgres/localhost@PGGUARD.TEST", gssapi.NameType.kerberos_principal)
        credentials = gssapi.Credentials(usage="initiate", store={"ccache": f"FILE:{ccache}"})
        made = gssapi.SecurityContext(name=name, creds=credentials, usage="initiate", flags=_LIBPQ).step()
        assert made is not None
        return made

    return make


def _by_password_message(lab: Lab) -> LogIn:
    """The answer to a token: what comes behind AuthenticationGSS, up to a welcome or the end."""

    def log_in(token: bytes) -> bytes:
        with socket.create_connection((lab.proxy.host, lab.proxy.port), timeout=30) as connection:
            connection.sendall(_HELLO + b"p" + struct.pack("!I", len(token) + 4) + token)
            return _read(connection, skip=9)

    return log_in


def _by_encryption(lab: Lab) -> LogIn:
    """The same for the handshake of GSS encryption; its welcome is a token."""

    def log_in(token: bytes) -> bytes:
        with socket.create_connection((lab.proxy.host, lab.proxy.port), timeout=30) as connection:
            connection.sendall(_GSSENC_REQUEST)
            assert connection.recv(1) == b"G"
            connection.sendall(struct.pack("!I", len(token)) + token)
            return _read(connection, skip=0)

    return log_in


def _read(connection: socket.socket, *, skip: int) -> bytes:
    answer = b""
    while len(answer) <= skip or not (_is_in(answer[skip:]) or answer[skip:].startswith(b"E")):
        piece = connection.recv(65536)
        if not piece:
            break
        answer += piece
    return answer[skip:]


def _is_in(answer: bytes) -> bool:
    """A ReadyForQuery, or the token of a completed handshake."""
    return b"Z\0\0\0\x05I" in answer or (answer[:2] == b"\0\0" and len(answer) > 4)


@pytest.mark.parametrize("way", [_by_password_message, _by_encryption], ids=["login", "encryption"])
def test_a_captured_token_opens_no_second_session(lab: Lab, token: Callable[[str], bytes], way: Callable[[Lab], LogIn]):
    """Whoever listens on an unencrypted line sees an AP-REQ that was good a moment ago."""
    log_in, captured = way(lab), token("1h")
    assert _is_in(log_in(captured))
    for other in (_by_password_message, _by_encryption):  # the one way is no way around the other
        refused = other(lab)(captured)
        assert not _is_in(refused)
        assert refused.startswith(b"E")
        assert b"C28000\0" in refused
        assert b"GSSAPI authentication failed" in refused
    told = [line for line in lab.proxy.log.read_text().splitlines() if "login refused" in line]
    assert "Request is a replay" in told[-1]


def test_a_token_that_was_kept_until_its_ticket_had_ended_opens_nothing(lab: Lab, token: Callable[[str], bytes]):
    """The library takes it for as long as the clock skew, five minutes."""
    kept, ends = token("2s"), time.time() + 2
    time.sleep(max(0.0, ends + 0.5 - time.time()))  # until it has ended: no event tells that
    refused = _by_password_message(lab)(kept)
    assert not _is_in(refused)
    assert b'the Kerberos ticket of "alice@PGGUARD.TEST" has ended' in refused


@pytest.mark.parametrize("cut", [1, 300, -1], ids=["its frame", "the ticket", "the authenticator"])
def test_a_token_that_was_changed_on_its_way_opens_nothing(lab: Lab, token: Callable[[str], bytes], cut: int):
    whole = bytearray(token("1h"))
    whole[cut] ^= 0x01
    refused = _by_password_message(lab)(bytes(whole))
    assert not _is_in(refused)
    assert b"C28000\0" in refused
