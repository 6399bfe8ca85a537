"""How clients prove who they are, and how pgguard logs in to the database."""

from pathlib import Path
from typing import Literal

import msgspec


class KerberosSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The acceptor.

    `principals`: the service principals to accept for, of the keytab; empty: every `service/…` the keytab has.
    `realms`: whose users may come; empty: the realms of the keytab's own principals.
    `map`: lines in the style of pg_ident.conf, `PRINCIPAL USER` (auth/identity.py); empty: the principal's first part.
    `grace`: seconds for which a session goes on after its ticket has ended.
    """

    keytab: Path
    service: str = "postgres"
    principals: tuple[str, ...] = ()
    realms: tuple[str, ...] = ()
    map: tuple[str, ...] = ()
    grace: float = 0.0


class TlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS towards clients; the files are read anew when they change.

    `client_ca`: authorities of clients' certificates. Where it is named, nobody comes in without a certificate of
    theirs, in addition to the ticket: connections without TLS, GSS-encrypted ones among them, are refused.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    minimum: Literal["1.2", "1.3"] = "1.2"


class DatabaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The database behind pgguard.

    `hosts`: tried in order until one accepts (with `session` "read-write": is no standby). `user`: the role for the
    sessions of clients; empty: a role named as the client's user. `service_user`: pgguard's own, for catalog and
    probes.
    `password_file`: one line; for `user`, and for `service_user` where it has none of its own.
    `keytab`: pgguard proves itself by Kerberos as `principal` (a key of this keytab) to the service `service`/host;
    for `service_user` too, where it has no password.
    `tls`: "verify" checks certificate and name against `root_certificate` (the system's where none is named).
    """

    host: str | tuple[str, ...] = "localhost"
    port: int = 5432
    user: str = ""
    service_user: str = "pgguard"
    password_file: Path | None = None
    service_password_file: Path | None = None
    keytab: Path | None = None
    principal: str = ""
    service: str = "postgres"
    tls: Literal["disable", "require", "verify"] = "disable"
    root_certificate: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    session: Literal["any", "read-write"] = "any"
    connect_seconds: float = 10.0
    catalog_refresh_seconds: float = 30.0

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.host,) if isinstance(self.host, str) else self.host
