"""A certificate authority of its own, and certificates for localhost: TLS for tests, made by openssl(1)."""

import socket
from collections.abc import Sequence
from pathlib import Path

from pgguard.lab.process import find_program, run

_DAYS = "30"

EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
RSA_KEY = ("-newkey", "rsa:2048", "-noenc")


class Certificates:
    """An authority in `folder`, with one server certificate for localhost; `issue` makes others."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.folder = folder.absolute()
        self.authority = self.folder / "authority.pem"
        self._authority_key = self.folder / "authority.key"
        if not self.authority.exists():
            self._openssl(
                "req", "-x509", *EC_KEY, "-days", _DAYS, "-subj", "/CN=pgguard lab authority",
                "-keyout", str(self._authority_key), "-out", str(self.authority),
            )  # fmt: skip
        self.certificate, self.key = self.server("localhost")

    def server(self, name: str) -> tuple[Path, Path]:
        """Another certificate (and its key) for localhost, in files that begin with `name`."""
        return self.issue(name, alternative=_names_of_localhost())

    def issue(
        self, name: str, *, alternative: str | None = None, extensions: str = "", new_key: Sequence[str] = EC_KEY
    ) -> tuple[Path, Path]:
        """A certificate (and its key) with the common name, signed by the authority.

        `alternative`: its subjectAltName; `extensions`: further ones, as in openssl's x509v3_config(5).
        """
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request = self.folder / f"{name}.csr"
        if not certificate.exists():
            self._openssl("req", *new_key, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request))
            wanted = self.folder / f"{name}.ext"
            wanted.write_text(f"subjectAltName={alternative or f'DNS:{name}'}\n{extensions}")
            self._openssl(
                "x509", "-req", "-days", _DAYS, "-in", str(request), "-CA", str(self.authority),
                "-CAkey", str(self._authority_key), "-CAcreateserial", "-extfile", str(wanted),
                "-out", str(certificate),
            )  # fmt: skip
            key.chmod(0o644)  # servers under several accounts read it; it guards nothing
        return certificate, key

    @staticmethod
    def _openssl(*words: str) -> None:
        run([find_program("openssl", "openssl"), *words])


def _names_of_localhost() -> str:
    """Libldap checks a connection to "localhost" against the machine's own name: so that is in the certificate too."""
    names = dict.fromkeys(("localhost", socket.gethostname(), socket.getfqdn()))
    return ",".join([*(f"DNS:{name}" for name in names), "IP:127.0.0.1", "IP:::1"])
