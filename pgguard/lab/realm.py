"""A Kerberos realm of its own: an MIT KDC on a free port, with configuration, database and caches in one folder.

Nothing reads /etc/krb5.conf: KRB5_CONFIG and KRB5_KDC_PROFILE point into the folder, and the replay cache is there too
(MIT krb5 documentation, "Environment variables").
"""

import os
from collections.abc import Sequence
from pathlib import Path

from pgguard.lab.certificates import Certificates
from pgguard.lab.errors import LabError
from pgguard.lab.pkinit import issue_for_kdc, issue_for_user
from pgguard.lab.ports import accepts, free_port
from pgguard.lab.process import Process, find_program, own_folder, run
from pgguard.lab.server import Server

_KRB5_CONF = """\
[libdefaults]
  default_realm = {realm}
  dns_lookup_realm = false
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
  qualify_shortname = ""
  forwardable = true
  udp_preference_limit = 1
  clockskew = {clock_skew}
  spake_preauth_groups = edwards25519

[realms]
  {realm} = {{
    kdc = {host}:{port}
{anchors}  }}
{others}
[domain_realm]
  localhost = {realm}
"""

_KDC_CONF = """\
[realms]
  {realm} = {{
    kdc_listen = {host}:{port}
    kdc_tcp_listen = {host}:{port}
    database_name = {folder}/principal
    key_stash_file = {folder}/stash
    acl_file = {folder}/kadm5.acl
    max_life = 10h
    max_renewable_life = 7d
    spake_preauth_indicator = {spake}
{pkinit}  }}

[logging]
  kdc = FILE:{folder}/kdc.log
"""


_OTHER = """\
  {realm} = {{
    kdc = localhost:{port}
  }}
"""

PKINIT = "pkinit"
SPAKE = "spake"
"""Authentication indicators: of a ticket that was got with a certificate, and with a password over SPAKE."""


class Realm(Server):
    """A realm with its KDC, on a free port unless one is given. `clock_skew` is what krb5 forgives, in seconds.

    With `certificates` users may get their ticket with one, too (PKINIT), which the KDC stamps with the indicator.
    """

    title = "the KDC"

    def __init__(  # noqa: PLR0913 -- each by its keyword
        self,
        folder: Path,
        name: str = "PGGUARD.TEST",
        *,
        host: str = "localhost",
        port: int | None = None,
        clock_skew: int = 300,
        certificates: Certificates | None = None,
        tied: bool = True,
    ) -> None:
        self.folder = own_folder(folder.absolute(), None)
        self.name = name
        self.host = host
        self.port = port or free_port()
        self.krb5_config = self.folder / "krb5.conf"
        self._clock_skew = clock_skew
        self._certificates = certificates
        self._trusted: list[Realm] = []
        self._tied = tied
        own_folder(self.folder / "rcache", None).chmod(0o1777)
        self._write_config()
        if not (self.folder / "principal").exists():
            self._run("kdb5_util", "create", "-s", "-r", name, "-P", os.urandom(16).hex())

    def _write_config(self) -> None:
        values = {"realm": self.name, "host": self.host, "port": self.port, "folder": self.folder}
        anchors = identity = ""
        if self._certificates is not None:
            certificate, key = issue_for_kdc(self._certificates, self.name)
            anchors = f"    pkinit_anchors = FILE:{self._certificates.authority}\n"
            identity = f"{anchors}    pkinit_identity = FILE:{certificate},{key}\n    pkinit_indicator = {PKINIT}\n"
        others = "".join(_OTHER.format(realm=other.name, port=other.port) for other in self._trusted)
        skew = self._clock_skew
        self.krb5_config.write_text(_KRB5_CONF.format(anchors=anchors, others=others, clock_skew=skew, **values))
        (self.folder / "kdc.conf").write_text(_KDC_CONF.format(pkinit=identity, spake=SPAKE, clock_skew=skew, **values))

    def trust(self, other: "Realm") -> None:
        """Let the other realm's people get tickets for this one's services, by way of the environment of this one."""
        link, secret = f"krbtgt/{self.name}@{other.name}", os.urandom(16).hex()
        for realm in (self, other):
            realm.add_principal(link, secret)
        self._trusted.append(other)
        self._write_config()

    def environment(self, ccache: Path | None = None) -> dict[str, str]:
        """The variables that make a Kerberos program live in this realm, with the tickets of `ccache`."""
        variables = {
            "KRB5_CONFIG": str(self.krb5_config),
            "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
            "KRB5RCACHEDIR": str(self.folder / "rcache"),
        }
        return variables if ccache is None else {**variables, "KRB5CCNAME": f"FILE:{ccache}"}

    def _launch(self) -> Process:
        return Process(
            self.title,
            [find_program("krb5kdc", "krb5-kdc"), "-n", "-r", self.name, "-P", self.folder / "kdc.pid"],
            log=self.folder / "kdc.out",
            environment=self.environment(),
            tied=self._tied,
        )

    def _serves(self) -> bool:
        return accepts(self.host, self.port)

    def add_principal(self, name: str, password: str | None = None, *, options: Sequence[str] = ()) -> None:
        """Add a principal, with a random key unless a password is given; `options` as in kadmin's addprinc."""
        secret = ["-randkey"] if password is None else ["-pw", password]
        self._kadmin("add_principal", *options, *secret, name)

    def delete_principal(self, name: str) -> None:
        self._kadmin("delete_principal", "-force", name)

    def modify_principal(self, name: str, *options: str) -> None:
        """As kadmin's modprinc: `realm.modify_principal("alice", "-allow_tix")` locks an account."""
        self._kadmin("modify_principal", *options, name)

    def require_indicators(self, service: str, *indicators: str) -> None:
        """Let the KDC give tickets for a service only to those who have one of these (kadmin's require_auth)."""
        if indicators:
            self._kadmin("set_string", service, "require_auth", " ".join(indicators))
        else:  # an empty list would be one that nobody meets
            self._kadmin("del_string", service, "require_auth")

    def keytab(self, path: Path, *names: str) -> Path:
        """Write the present keys of the principals to a keytab."""
        self._kadmin("ktadd", "-norandkey", "-k", str(path), *names)
        return path

    def rotate_key(self, path: Path, name: str, *, keep_old: bool = True) -> None:
        """Give the principal a new key version, and add it to the keytab (which keeps the older ones)."""
        self._kadmin("cpw", "-randkey", *(["-keepold"] if keep_old else []), name)
        self.keytab(path, name)

    def certificate(self, user: str) -> tuple[Path, Path]:
        """A certificate (and its key) with which the user may get a ticket; they must be `+requires_preauth`."""
        if self._certificates is None:
            raise LabError(f"the realm {self.name} was made without certificates")
        return issue_for_user(self._certificates, self.name, user)

    def kinit_with_certificate(self, name: str, ccache: Path, certificate: tuple[Path, Path]) -> Path:
        """Get a ticket by PKINIT."""
        identity = f"X509_user_identity=FILE:{certificate[0]},{certificate[1]}"
        self._run("kinit", "-c", f"FILE:{ccache}", "-X", identity, name)
        return ccache

    def kinit(
        self, name: str, ccache: Path, *, password: str | None = None, keytab: Path | None = None, lifetime: str = "8h"
    ) -> Path:
        """Get a ticket into `ccache`: by password, by keytab, or with the key straight from the KDC's database.

        `lifetime` is as kinit reads it: "8h", "12s".
        """
        words = ["-c", f"FILE:{ccache}", "-l", lifetime]
        if password is not None:
            self._run("kinit", *words, name, stdin=f"{password}\n")
            return ccache
        temporary = self.folder / f"{os.urandom(8).hex()}.keytab"
        try:
            self._run("kinit", *words, "-k", "-t", str(keytab or self.keytab(temporary, name)), name)
        finally:
            temporary.unlink(missing_ok=True)
        return ccache

    def _kadmin(self, *words: str) -> None:
        """Run one kadmin.local query; it tells failure by text alone, its status stays 0."""
        output = self._run("kadmin.local", "-r", self.name, *words)
        if "while" in output:
            raise LabError(f"kadmin.local {words[0]}: {output.strip()}")

    def _run(self, program: str, *words: str, stdin: str = "") -> str:
        package = {"kinit": "krb5-user", "kadmin.local": "krb5-admin-server"}.get(program, "krb5-kdc")
        return run([find_program(program, package), *words], environment=self.environment(), stdin=stdin)
