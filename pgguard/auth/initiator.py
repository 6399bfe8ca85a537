"""Kerberos towards the database: pgguard's own principal, with a key from a keytab of its own.

No ticket cache of the process is read or written: the tickets live in memory, for one login each (RFC 2743; MIT
Kerberos docs, "Credential store extensions"). A step may ask the KDC and so may block: call it off the event loop.
"""

import contextlib

import gssapi
from gssapi.raw.ext_krb5 import krb5_ccache_name
from gssapi.raw.misc import GSSError

from pgguard.auth.acceptor import KerberosError
from pgguard.auth.settings import DatabaseSettings

_FLAGS = gssapi.RequirementFlag.mutual_authentication


def own_tickets(settings: DatabaseSettings) -> str:
    """A cache in memory with tickets for the database's hosts, for a library that takes no credential (asyncpg).

    A credential with a client keytab fetches a new ticket as soon as half of the old one's life is over (MIT krb5
    docs, "Client keytab"). May ask the KDC, and so may block. Raises KerberosError.
    """
    cache = f"MEMORY:pgguard-database-{settings.principal}"
    try:
        credentials = _credentials(settings, cache)
        for host in settings.hosts:
            target = gssapi.Name(f"{settings.service}@{host}", gssapi.NameType.hostbased_service)
            context = gssapi.SecurityContext(name=target, creds=credentials, usage="initiate", flags=_FLAGS)
            with contextlib.suppress(GSSError):  # the login tells, if it comes to this host
                context.step()
    except GSSError as error:
        raise KerberosError(
            f'no ticket for the database from keytab "{settings.keytab}": {error.gen_message()};'
            ' it must hold a key of "principal", and the KDC must answer'
        ) from error
    return cache


def use_cache(cache: str) -> None:
    """Make a cache the default of this thread alone (gss_krb5_ccache_name, which MIT krb5 keeps per thread)."""
    krb5_ccache_name(cache.encode())


def _credentials(settings: DatabaseSettings, cache: str) -> gssapi.Credentials:
    name = gssapi.Name(settings.principal, gssapi.NameType.kerberos_principal) if settings.principal else None
    store: dict[bytes | str, bytes | str] = {"client_keytab": f"FILE:{settings.keytab}", "ccache": cache}
    return gssapi.Credentials(usage="initiate", name=name, store=store)


class Initiator:
    """One login's handshake: `step(b"")` begins it."""

    def __init__(self, settings: DatabaseSettings, host: str) -> None:
        self._settings = settings
        self._target = f"{settings.service}@{host}"
        self._context: gssapi.SecurityContext | None = None

    def step(self, token: bytes) -> bytes:
        """The answer to the database's token, empty for none. Raises KerberosError."""
        try:
            if self._context is None:
                self._context = self._begin()
            return self._context.step(token or None) or b""
        except GSSError as error:
            raise KerberosError(f'Kerberos login to "{self._target}" failed: {error.gen_message()}') from error

    @property
    def complete(self) -> bool:
        """Whether the database, too, has proven who it is."""
        return self._context is not None and self._context.complete is True

    def _begin(self) -> gssapi.SecurityContext:
        credentials = _credentials(self._settings, f"MEMORY:pgguard-{id(self)}")
        target = gssapi.Name(self._target, gssapi.NameType.hostbased_service)
        context = gssapi.SecurityContext(name=target, creds=credentials, usage="initiate", flags=_FLAGS)
        # as in the acceptor: an error must be raised by step itself (field notes, section 4)
        context.__DEFER_STEP_ERRORS__ = False  # type: ignore[attr-defined]
        return context
