"""The acceptor against a real KDC: who is let in, for how long, and what never is."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import gssapi
import pytest

from pgguard.auth.acceptor import Acceptor, KerberosError, parse_principal
from pgguard.auth.settings import KerberosSettings
from pgguard.lab.realm import Realm
from pgguard.model.context import Principal

Initiate = Callable[..., gssapi.SecurityContext]


def test_a_ticket_tells_who_and_until_when(acceptor: Acceptor, initiate: Initiate):
    before = time.time()
    client, handshake = initiate("ann", lifetime="90s"), acceptor.begin()
    answer = handshake.step(client.step())
    assert handshake.accepted is not None
    client.step(answer)
    assert client.complete
    assert handshake.accepted.principal == Principal("ann", "PGGUARD.TEST")
    # the library's lifetime includes the clock skew it forgives: the end told here does not
    assert before + 80 < handshake.accepted.ticket.ends_at <= time.time() + 91
    assert handshake.accepted.ticket.ends_at.is_integer(), "the same at each login with this ticket"
    assert handshake.accepted.ticket.authenticated_at == pytest.approx(time.time(), abs=30)
    assert handshake.accepted.ticket.indicators == ()


def test_a_replayed_token_is_refused_by_step_itself(acceptor: Acceptor, initiate: Initiate):
    """python-gssapi defers errors: a replay once got its answer, and failed only when somebody asked if it was over."""
    token = initiate("ben").step()
    acceptor.begin().step(token)
    replayed = acceptor.begin()
    with pytest.raises(KerberosError, match="replay"):
        replayed.step(token)
    assert replayed.accepted is None


def test_a_ticket_for_another_service_is_refused(kerberos: Realm, keytab: Path, initiate: Initiate, tmp_path: Path):
    kerberos.add_principal("http/localhost")
    client = initiate("cleo", service="http/localhost")
    with pytest.raises(KerberosError, match="accepting GSS"):
        Acceptor(KerberosSettings(keytab=keytab)).begin().step(client.step())


def test_another_services_key_in_the_keytab_opens_nothing(kerberos: Realm, initiate: Initiate, tmp_path: Path):
    """With several principals GSSAPI itself would take any key that the keytab has."""
    for name in ("postgres/one", "postgres/two", "ftp/one"):
        kerberos.add_principal(name)
    keytab = kerberos.keytab(tmp_path / "many.keytab", "postgres/one", "postgres/two", "ftp/one")
    acceptor = Acceptor(KerberosSettings(keytab=keytab))
    assert acceptor.principals == ("postgres/one@PGGUARD.TEST", "postgres/two@PGGUARD.TEST")
    for service in ("postgres/one", "postgres/two"):
        handshake = acceptor.begin()
        handshake.step(initiate("dan", service=service).step())
        assert handshake.accepted is not None
    with pytest.raises(KerberosError, match=r'for "ftp/one@PGGUARD.TEST"'):
        acceptor.begin().step(initiate("dan", service="ftp/one").step())


def test_a_new_key_counts_at_once_and_old_tickets_stay_good(kerberos: Realm, initiate: Initiate, tmp_path: Path):
    kerberos.add_principal("postgres/rotated")
    keytab = kerberos.keytab(tmp_path / "rotated.keytab", "postgres/rotated")
    acceptor = Acceptor(KerberosSettings(keytab=keytab))
    old = initiate("eve", service="postgres/rotated").step()
    kerberos.rotate_key(keytab, "postgres/rotated")
    new = initiate("fay", service="postgres/rotated").step()
    for token in (old, new):
        handshake = acceptor.begin()
        handshake.step(token)
        assert handshake.accepted is not None


def test_a_ticket_that_has_ended_is_known_by_the_clock_alone(acceptor: Acceptor, initiate: Initiate):
    """GSSAPI forgives the clock skew: five minutes in which it would still call an ended ticket good."""
    handshake = acceptor.begin()
    handshake.step(initiate("gus", lifetime="2s").step())
    assert handshake.accepted is not None
    assert handshake.accepted.context.lifetime > 200
    assert handshake.accepted.ticket.ends_at <= time.time() + 3


@pytest.mark.parametrize("skew", [0, 60, 900])
def test_the_end_is_the_tickets_own_whatever_skew_krb5_conf_forgives(
    acceptor: Acceptor, initiate: Initiate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: int
):
    """It was a setting of pgguard's own once: where krb5.conf forgave more, sessions outlived their tickets."""
    token = initiate("ida", lifetime="120s").step()
    config = tmp_path / "krb5.conf"
    config.write_text(Path(os.environ["KRB5_CONFIG"]).read_text().replace("clockskew = 300", f"clockskew = {skew}"))
    monkeypatch.setenv("KRB5_CONFIG", str(config))
    handshake = acceptor.begin()
    handshake.step(token)
    assert handshake.accepted is not None
    assert handshake.accepted.context.lifetime == pytest.approx(120 + skew, abs=15)
    assert handshake.accepted.ticket.ends_at - time.time() == pytest.approx(120, abs=15)


def test_a_krb5_conf_that_cannot_be_read_keeps_pgguard_from_starting(
    kerberos: Realm, keytab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "krb5.conf").write_text("[libdefaults]\n clockskew = soon\n")
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    with pytest.raises(KerberosError, match=r"krb5\.conf cannot be read"):
        Acceptor(KerberosSettings(keytab=keytab))


@pytest.mark.parametrize("token", [b"", b"\0", b"GET / HTTP/1.1", b"\x60\x82\xff\xff" + b"\0" * 200, b"x" * 65537])
def test_garbage_is_an_error_and_no_crash(acceptor: Acceptor, token: bytes):
    handshake = acceptor.begin()
    with pytest.raises(KerberosError):
        handshake.step(token)
    assert handshake.accepted is None


def test_a_keytab_that_cannot_be_used_is_an_error_at_start(kerberos: Realm, keytab: Path, tmp_path: Path):
    with pytest.raises(KerberosError, match="cannot be read: No such file"):
        Acceptor(KerberosSettings(keytab=tmp_path / "none"))
    (tmp_path / "text").write_text("no keytab")
    with pytest.raises(KerberosError, match="is no keytab"):
        Acceptor(KerberosSettings(keytab=tmp_path / "text"))
    with pytest.raises(KerberosError, match=r'no key for "pg/…", it has postgres/localhost@PGGUARD.TEST; run: kadmin'):
        Acceptor(KerberosSettings(keytab=keytab, service="pg"))
    with pytest.raises(KerberosError, match=r'no key for "postgres/db.test@PGGUARD.TEST"'):
        Acceptor(KerberosSettings(keytab=keytab, principals=("postgres/db.test@PGGUARD.TEST",)))


def test_a_principal_is_split_at_the_last_unescaped_at_sign():
    assert parse_principal("a@B") == Principal("a", "B")
    assert parse_principal("a@b@C") == Principal("a@b", "C")
    assert parse_principal("HTTP/web.test@C") == Principal("HTTP/web.test", "C")
    assert parse_principal(r"a@b\@c") == Principal("a", r"b\@c")
    for text in ("nobody", r"a\@b", "@B", "", "WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS"):
        with pytest.raises(KerberosError):
            parse_principal(text)
