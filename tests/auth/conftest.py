"""A service and a client of the test realm, both in this process: tokens go from one to the other by hand."""

from collections.abc import Callable
from pathlib import Path

import gssapi
import pytest

from pgguard.auth.acceptor import Acceptor
from pgguard.auth.settings import KerberosSettings
from pgguard.lab.realm import Realm

SERVICE = "postgres/localhost"


@pytest.fixture
def kerberos(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> Realm:
    """The realm, with this process living in it."""
    for key, value in realm.environment().items():
        monkeypatch.setenv(key, value)
    return realm


@pytest.fixture(scope="session")
def keytab(realm: Realm, servers: Path) -> Path:
    realm.add_principal(SERVICE)
    return realm.keytab(servers / "service.keytab", SERVICE)


@pytest.fixture
def acceptor(kerberos: Realm, keytab: Path) -> Acceptor:
    return Acceptor(KerberosSettings(keytab=keytab))


_FLAG = gssapi.RequirementFlag
LIBPQ = (
    _FLAG.mutual_authentication | _FLAG.replay_detection | _FLAG.out_of_sequence_detection | _FLAG.confidentiality
    | _FLAG.integrity
)  # fmt: skip
"""What libpq asks for before it encrypts (PostgreSQL source, fe-secure-gssapi.c)."""

_KNOWN: set[str] = set()
Initiate = Callable[..., gssapi.SecurityContext]


@pytest.fixture
def initiate(kerberos: Realm, tmp_path: Path) -> Initiate:
    """`initiate("alice", lifetime="12s", service="postgres/localhost")`: her side of a handshake, not yet begun."""

    def make(user: str, *, lifetime: str = "8h", service: str = SERVICE, flags: int = LIBPQ) -> gssapi.SecurityContext:
        if user not in _KNOWN:
            kerberos.add_principal(user)
            _KNOWN.add(user)
        ccache = kerberos.kinit(user, tmp_path / f"{user}.ccache", lifetime=lifetime)
        credentials = gssapi.Credentials(usage="initiate", store={"ccache": f"FILE:{ccache}"})
        name = gssapi.Name(f"{service}@{kerberos.name}", gssapi.NameType.kerberos_principal)
        return gssapi.SecurityContext(name=name, creds=credentials, usage="initiate", flags=flags)

    return make
