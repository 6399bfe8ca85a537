"""TLS as an operator sets it up: certificates that change while sessions run, a least version, clients' certificates."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgguard.lab.certificates import Certificates
from pgguard.lab.lab import Lab, Plan
from pgguard.lab.terminal import PSQL, Terminal
from tests.e2e.conftest import run_psql

_TLS = {"PGGSSENCMODE": "disable", "PGSSLMODE": "verify-full"}


class Guarded:
    """A lab that demands TLS 1.3 and a client's certificate, with files of its own."""

    def __init__(self, servers: Path, certificates: Certificates) -> None:
        self.folder = servers / "tls-files"
        self.folder.mkdir()
        self.certificates = certificates
        self.certificate, self.key = self.folder / "server.pem", self.folder / "server.key"
        self.install("localhost")
        certificate, key = certificates.issue("alice")
        self.client_key = Path(shutil.copy(key, self.folder / "client.key"))
        self.client_key.chmod(0o600)  # libpq takes no other
        self.client = {
            **_TLS,
            "PGSSLROOTCERT": str(certificates.authority),
            "PGSSLCERT": str(certificate),
            "PGSSLKEY": str(self.client_key),
        }
        settings = (
            f"tls.certificate={self.certificate}", f"tls.key={self.key}", "tls.minimum='1.3'",
            f"tls.client_ca={certificates.authority}",
        )  # fmt: skip
        self.lab = Lab(Plan(servers / "tls", settings=settings))

    def install(self, name: str) -> None:
        """As a renewal does it: each file replaced whole."""
        certificate, key = self.certificates.server(name)
        for new, place in ((certificate, self.certificate), (key, self.key)):
            shutil.copy(new, place.with_suffix(".new"))
            place.with_suffix(".new").rename(place)

    def serial(self) -> str:
        """Of the certificate that a client sees now: direct TLS, with ALPN."""
        context = ssl.create_default_context(cafile=str(self.certificates.authority))
        context.set_alpn_protocols(["postgresql"])
        context.load_cert_chain(self.client["PGSSLCERT"], self.client_key)
        with (
            socket.create_connection((self.lab.proxy.host, self.lab.proxy.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as encrypted,
        ):
            return str((encrypted.getpeercert() or {})["serialNumber"])


@pytest.fixture(scope="module")
def guarded(servers: Path, certificates: Certificates) -> Iterator[Guarded]:
    made = Guarded(servers, certificates)
    with made.lab:
        yield made


def _select(guarded: Guarded, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_psql(guarded.lab, "alice", "select 1", **{**guarded.client, **variables})


def test_a_ticket_and_a_certificate_let_in(guarded: Guarded):
    assert _select(guarded).stdout == "1\n"
    assert '"transport":"tls"' in guarded.lab.audit.read_text()


def test_encryption_by_kerberos_is_declined_so_that_a_certificate_can_be_asked_for(guarded: Guarded):
    assert _select(guarded, PGGSSENCMODE="prefer").stdout == "1\n"
    assert "GSSAPI" in _select(guarded, PGGSSENCMODE="require").stderr


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"PGSSLMODE": "disable"}, "connection requires a valid client certificate"),
        ({"PGSSLCERT": "/nonexistent", "PGSSLKEY": "/nonexistent"}, "certificate required"),
        ({"PGSSLMAXPROTOCOLVERSION": "TLSv1.2"}, "protocol version"),
        ({"KRB5CCNAME": "FILE:/nonexistent"}, "GSSAPI"),
    ],
    ids=["plain", "no certificate", "an old version", "no ticket"],
)
def test_nothing_less_does(guarded: Guarded, variables: dict[str, str], complaint: str):
    refused = _select(guarded, **variables)
    assert refused.returncode == 2
    assert complaint in refused.stderr


def test_a_certificate_of_another_authority_is_none(guarded: Guarded, servers: Path):
    certificate, key = Certificates(servers / "other-authority").issue("alice")
    key.chmod(0o600)
    refused = _select(guarded, PGSSLCERT=str(certificate), PGSSLKEY=str(key))
    assert refused.returncode == 2
    assert "unknown ca" in refused.stderr


def test_a_renewed_certificate_is_taken_up_and_open_sessions_go_on(guarded: Guarded):
    before = guarded.serial()
    with Terminal(PSQL, {**guarded.lab.environment("alice"), **guarded.client}) as terminal:
        terminal.until_prompt()
        guarded.install("renewed")
        _wait(lambda: guarded.serial() != before, "the old certificate is still shown")
        assert "(1 row)" in terminal.enter("select 1;")
    assert _select(guarded).stdout == "1\n"


def test_files_that_cannot_be_used_leave_those_in_force(guarded: Guarded):
    before = guarded.serial()
    log = guarded.lab.proxy.log
    told = log.read_text().count("those in force stay")
    guarded.certificate.write_text("no certificate")
    os.kill(guarded.lab.proxy.pid, signal.SIGHUP)
    _wait(lambda: log.read_text().count("TLS files were not read anew") > told, "nobody complains")
    assert guarded.serial() == before
    guarded.install("renewed")


def _wait(condition, complaint: str) -> None:
    pause = threading.Event()
    for _ in range(400):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError(complaint)
