"""Kerberos towards the database: pgguard's own principal, with a key from a keytab of its own.

No ticket cache of the process is read or written: the tickets live in memory, for one login each (RFC 2743; MIT
Kerberos docs, "Credential store extensions"). A step may ask the KDC and so may block: call it off the event loop.
"""

import gssapi
from gssapi.raw.misc import GSSError

from pgguard.auth.acceptor import KerberosError
from pgguard.auth.settings import DatabaseSettings

_FLAGS = gssapi.RequirementFlag.mutual_authentication


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
        name = None
        if self._settings.principal:
            name = gssapi.Name(self._settings.principal, gssapi.NameType.kerberos_principal)
        store: dict[bytes | str, bytes | str] = {
            "client_keytab": f"FILE:{self._settings.keytab}",
            "ccache": f"MEMORY:pgguard-{id(self)}",
        }
        credentials = gssapi.Credentials(usage="initiate", name=name, store=store)
        target = gssapi.Name(self._target, gssapi.NameType.hostbased_service)
        context = gssapi.SecurityContext(name=target, creds=credentials, usage="initiate", flags=_FLAGS)
        # as in the acceptor: an error must be raised by step itself (field notes, section 4)
        context.__DEFER_STEP_ERRORS__ = False  # type: ignore[attr-defined]
        return context
