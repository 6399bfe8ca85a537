"""An LDAP directory of its own: OpenLDAP's slapd with memberOf and syncrepl, on free loopback ports."""

import contextlib
import os
import signal
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import ldap

from pgguard.lab.certificates import Certificates
from pgguard.lab.entries import Entries, Record
from pgguard.lab.ports import free_port
from pgguard.lab.process import Process, find_program, own_folder, run
from pgguard.lab.realm import Realm
from pgguard.lab.server import Server

ACCOUNT = "openldap"

_CONF = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload syncprov
pidfile {folder}/slapd.pid
sizelimit unlimited
sasl-host localhost
authz-regexp uid=([^,]*),cn=gssapi,cn=auth uid=$1,ou=people,{base}
{tls}
database mdb
suffix "{base}"
rootdn "{admin_dn}"
rootpw {admin_password}
directory {folder}/data
maxsize 268435456
dbnosync
index objectClass,uid,cn,member,memberOf,memberUid eq
index entryCSN,entryUUID eq
access to attrs=userPassword by anonymous auth by * none
access to * by * read
overlay memberof
memberof-refint TRUE
{syncprov}

database monitor
access to * by dn.exact="{admin_dn}" read by * none
"""


_BASE = "dc=pgguard,dc=test"


def _ldif(dn: str, values: Mapping[str, Sequence[str]]) -> str:
    """One record (RFC 2849); everything in base64, so that nothing needs a look."""
    pairs = [("dn", dn), *((name, value) for name, listed in values.items() for value in listed)]
    return "".join(f"{name}:: {b64encode(value.encode()).decode()}\n" for name, value in pairs) + "\n"


class Slapd(Server, Entries):
    """A directory. With a `realm` it takes SASL/GSSAPI binds, with `certificates` StartTLS and LDAPS.

    With `syncrepl` it tells of changes at once.

    Its service principal is ldap/localhost: libldap asks for the machine's own name instead, unless the client sets
    OPT_X_SASL_NOCANON.
    """

    title = "slapd"

    def __init__(  # noqa: PLR0913 -- each by its keyword
        self,
        folder: Path,
        *,
        host: str = "localhost",
        port: int | None = None,
        realm: Realm | None = None,
        certificates: Certificates | None = None,
        syncrepl: bool = True,
        tied: bool = True,
    ) -> None:
        self._syncrepl = syncrepl
        self.folder = own_folder(folder.absolute(), ACCOUNT)
        self.host = host
        self.port = port or free_port()
        self.tls_port = free_port()
        super().__init__(f"ldap://{self.host}:{self.port}", _BASE, f"cn=admin,{_BASE}", "lab-admin")
        self._certificates = certificates
        self._tied = tied
        own_folder(self.folder / "data", ACCOUNT)
        self._environment = {} if realm is None else self._kerberos(realm)
        self._write_config()

    def _kerberos(self, realm: Realm) -> dict[str, str]:
        keytab = self.folder / "ldap.keytab"
        if not keytab.exists():
            realm.add_principal("ldap/localhost")
            realm.keytab(keytab, "ldap/localhost")
            keytab.chmod(0o644)  # read under slapd's account; a key of a throwaway realm
        return {**realm.environment(), "KRB5_KTNAME": f"FILE:{keytab}"}

    def _write_config(self) -> None:
        tls = ""
        if self._certificates is not None:
            files = self._certificates
            tls = (
                f"TLSCACertificateFile {files.authority}\n"
                f"TLSCertificateFile {files.certificate}\n"
                f"TLSCertificateKeyFile {files.key}\n"
            )
        text = _CONF.format(
            folder=self.folder,
            base=self.base,
            admin_dn=self.admin_dn,
            admin_password=self.admin_password,
            tls=tls,
            syncprov="overlay syncprov" if self._syncrepl else "",
        )
        (self.folder / "slapd.conf").write_text(text)

    def load(self, entries: Iterable[Record]) -> None:
        """Many entries, before it starts for the first time: by slapadd, which also sees to no overlay's work."""
        path = self.folder / "load.ldif"
        path.write_text("".join(_ldif(dn, values) for dn, values in [*self.layout(), *entries]))
        path.chmod(0o644)
        program, config = find_program("slapadd", "slapd"), self.folder / "slapd.conf"
        run([program, "-q", "-f", config, "-b", self.base, "-l", path], account=ACCOUNT)
        path.unlink()

    def searches(self) -> int:
        """How many it has answered since it was started, each page of a paged one for itself (slapd-monitor(5))."""
        connection = self.connect()
        try:
            place = "cn=Search,cn=Operations,cn=Monitor"
            ((_, found),) = connection.search_s(place, ldap.SCOPE_BASE, attrlist=["monitorOpCompleted"])
        finally:
            connection.unbind_s()
        return int(found["monitorOpCompleted"][0])

    @property
    def tls_uri(self) -> str:
        """LDAPS, where there are certificates."""
        return f"ldaps://{self.host}:{self.tls_port}"

    def start(self) -> None:
        super().start()
        with contextlib.suppress(ldap.ALREADY_EXISTS):  # started again: its entries are still there
            self.lay_out()

    def _launch(self) -> Process:
        listeners = self.uri if self._certificates is None else f"{self.uri} {self.tls_uri}"
        return Process(
            self.title,
            [find_program("slapd", "slapd"), "-f", self.folder / "slapd.conf", "-h", listeners, "-d", "0"],
            log=self.folder / "slapd.log",
            account=ACCOUNT,
            environment=self._environment,
            tied=self._tied,
        )

    def _serves(self) -> bool:
        try:
            self.connect().unbind_s()
        except ldap.SERVER_DOWN:
            return False
        return True

    def pause(self) -> None:
        """Stop answering without closing anything: the directory that hangs."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, sign: signal.Signals) -> None:
        os.kill(self.pid, sign)
