"""The question that Active Directory is asked. slapd does not know the in-chain rule, so what is sent is what counts."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from pgguard.directory.membership import Membership
from pgguard.lab.slapd import Slapd

_IN_CHAIN = b"1.2.840.113556.1.4.1941"


class Tap:
    """A relay in front of slapd that keeps what the client sends."""

    def __init__(self, slapd: Slapd) -> None:
        self.sent = bytearray()
        self._listener = socket.create_server(("localhost", 0))
        self.uri = f"ldap://localhost:{self._listener.getsockname()[1]}"
        self._server = socket.create_connection((slapd.host, slapd.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        threading.Thread(target=self._pass_on, args=(self._server, client, bytearray()), daemon=True).start()
        self._pass_on(client, self._server, self.sent)

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
        with source, target, contextlib.suppress(OSError):  # the other direction has closed both
            while data := source.recv(65536):
                kept += data
                target.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def tap(slapd: Slapd) -> Iterator[Tap]:
    made = Tap(slapd)
    yield made
    made.close()


@pytest.mark.parametrize("user", ["plain", "odd (very) *name"])
def test_the_groups_of_a_user_are_asked_for_by_the_in_chain_rule(
    slapd: Slapd, tap: Tap, fetch: Callable[..., Membership], user: str
):
    """An extensible match (RFC 4511, section 4.5.1.7.7) of the rule, the attribute `member` and the user's very DN."""
    slapd.add_user(f"ad {user}")
    found = fetch(f"ad {user}", uri=tap.uri, groups="active_directory")
    assert (found.found, found.groups) == (True, ())  # slapd knows neither the rule nor the class
    dn = slapd.user_dn(f"ad {user}").encode()
    match = b"\x81" + bytes([len(_IN_CHAIN)]) + _IN_CHAIN + b"\x82\x06member" + b"\x83" + bytes([len(dn)]) + dn
    assert match in tap.sent
    assert b"\x0bobjectClass\x04\x05group" in tap.sent
