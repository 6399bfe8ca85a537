"""The Kerberos acceptor: who holds this ticket, and until when.

Theory of operation. The service's key comes from a keytab that is named, never from the process's environment. Each
handshake reads the keytab anew, so that a rotated key counts at once while tickets for the old one stay good as long
as the keytab keeps it. Name and end are taken once, at login: after the end GSSAPI itself no longer tells them, and
wraps on regardless (field notes, section 4), so that whoever judges a statement compares the clock with the end.
Sources: RFC 2743 (GSS-API), RFC 4121 (Kerberos mechanism).
"""

import time
from pathlib import Path

import gssapi
from gssapi.raw.ext_krb5 import krb5_extract_authtime_from_sec_context
from gssapi.raw.misc import GSSError

from pgguard.auth.clock_skew import ProfileUnreadable, clock_skew
from pgguard.auth.settings import KerberosSettings
from pgguard.model.context import Principal, Ticket

_INDICATORS = b"auth-indicators"
_MAX_TOKEN = 65535


class KerberosError(Exception):
    """The client did not prove who it is, or the keytab cannot be used. The message is for the log and the client."""


class Accepted:
    """A completed handshake.

    `context` goes on to encrypt the transport, where it was made for that, and keeps the credential that the client
    delegated, if any.
    """

    def __init__(self, context: gssapi.SecurityContext, skew: float) -> None:
        name = context.initiator_name
        self.context = context
        self.principal = parse_principal(str(name))
        self.ticket = Ticket(
            # in whole seconds, as Kerberos counts: one ticket has one end, at whichever login
            ends_at=float(int(time.time()) + context.lifetime) - skew,
            authenticated_at=_authenticated_at(context),
            indicators=_indicators(name),
        )


class Acceptor:
    """Accepts tickets for the service principals of one keytab."""

    def __init__(self, settings: KerberosSettings) -> None:
        self._settings = settings
        self.principals = _service_principals(settings)
        self.realms = frozenset(settings.realms or (parse_principal(p).realm for p in self.principals))
        self.begin()  # a keytab or krb5.conf that cannot be used is an error at start

    def begin(self) -> "Handshake":
        """A new handshake, with the keys that the keytab has now. Raises KerberosError where it cannot be used."""
        try:
            skew = clock_skew()
        except ProfileUnreadable as error:
            raise KerberosError(str(error)) from error
        return Handshake(self._credentials(), frozenset(self.principals), skew)

    def _credentials(self) -> gssapi.Credentials:
        store: dict[bytes | str, bytes | str] = {"keytab": f"FILE:{self._settings.keytab}"}
        name = None
        if len(self.principals) == 1:
            name = gssapi.Name(self.principals[0], gssapi.NameType.kerberos_principal)
        try:
            return gssapi.Credentials(usage="accept", name=name, store=store)
        except GSSError as error:
            raise KerberosError(
                f'keytab "{self._settings.keytab}" cannot be used: {error.gen_message()};'
                " make it with kadmin's ktadd and let pgguard's account read it"
            ) from error


class Handshake:
    """One client's handshake: tokens in, tokens out, until `accepted`."""

    def __init__(self, credentials: gssapi.Credentials, principals: frozenset[str], skew: float) -> None:
        self._context = gssapi.SecurityContext(creds=credentials, usage="accept")
        # errors must be raised by step itself: a replayed token otherwise gets an answer first (field notes, section 4)
        self._context.__DEFER_STEP_ERRORS__ = False  # type: ignore[attr-defined]
        self._principals = principals
        self._skew = skew
        self.accepted: Accepted | None = None

    def step(self, token: bytes) -> bytes:
        """The answer to a token, empty for none. Raises KerberosError where the client proves nothing."""
        if not 0 < len(token) <= _MAX_TOKEN:
            raise KerberosError(f"GSSAPI token of {len(token)} bytes: expected 1 to {_MAX_TOKEN}")
        try:
            answer = self._context.step(token) or b""
            if self._context.complete is True:
                self._check_target()
                self.accepted = Accepted(self._context, self._skew)
        except GSSError as error:
            raise KerberosError(f"accepting GSS security context failed: {error.gen_message()}") from error
        return answer

    def _check_target(self) -> None:
        """A credential for several principals takes every key of the keytab, also those of other services."""
        target = str(self._context.target_name)
        if target not in self._principals:
            raise KerberosError(f'the ticket is for "{target}", which is no service principal of pgguard')


def parse_principal(text: str) -> Principal:
    """`name@REALM` split at the last at-sign that no backslash escapes.

    Raises KerberosError for an anonymous principal and for a name without a realm (RFC 8062, section 3).
    """
    at = len(text)
    while (at := text.rfind("@", 0, at)) > 0 and text[at - 1] == "\\":
        pass
    if at <= 0:
        raise KerberosError(f'principal "{text}" names no realm')
    principal = Principal(text[:at], text[at + 1 :])
    if principal.name.startswith("WELLKNOWN/"):
        raise KerberosError(f'principal "{text}" is anonymous')
    return principal


def _authenticated_at(context: gssapi.SecurityContext) -> float | None:
    """When the client last gave its password or key; a ticket got by a ticket keeps it (RFC 4120, section 5.3)."""
    try:
        return float(krb5_extract_authtime_from_sec_context(context))
    except GSSError:
        return None


def _indicators(name: gssapi.Name) -> tuple[str, ...]:
    """The authentication indicators that the KDC vouches for (RFC 8129)."""
    try:
        attributes = name.attributes
        if attributes is None:
            return ()
        attribute = attributes[_INDICATORS]
    except (KeyError, GSSError, NotImplementedError):  # the last: a GSSAPI library without RFC 6680
        return ()
    if not attribute.authenticated:
        return ()
    return tuple(sorted(value.decode("utf-8", "replace") for value in attribute.values))


def _service_principals(settings: KerberosSettings) -> tuple[str, ...]:
    """The configured service principals, or every `service/…` of the keytab; each must have a key there."""
    keys = tuple(dict.fromkeys(read_keytab(settings.keytab)))
    wanted = settings.principals or tuple(p for p in keys if p.startswith(f"{settings.service}/"))
    missing = [p for p in wanted if p not in keys] if wanted else [f"{settings.service}/…"]
    if missing:
        raise KerberosError(
            f'keytab "{settings.keytab}" has no key for "{missing[0]}", it has {", ".join(keys) or "none"};'
            f' run: kadmin -q "ktadd -k {settings.keytab} {missing[0]}"'
        )
    return wanted


def read_keytab(keytab: Path) -> list[str]:
    """The principals of a keytab's entries (MIT Kerberos docs, "Keytab file format", version 2).

    Raises KerberosError where the file cannot be read or is no keytab. Keys are passed over.
    """
    try:
        data = keytab.read_bytes()
    except OSError as error:
        raise KerberosError(
            f'keytab "{keytab}" cannot be read: {error.strerror}; make it with kadmin\'s ktadd'
        ) from error
    if data[:2] != b"\x05\x02":
        raise KerberosError(f'"{keytab}" is no keytab: it does not begin with 0x0502')
    principals, at = [], 2
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big", signed=True)
        at += 4
        if size > 0:
            principals.append(_keytab_entry(data[at : at + size]))
        at += abs(size)
    return principals


def _keytab_entry(entry: bytes) -> str:
    count = int.from_bytes(entry[:2], "big")
    parts, at = [], 2
    for _ in range(count + 1):
        length = int.from_bytes(entry[at : at + 2], "big")
        parts.append(entry[at + 2 : at + 2 + length].decode("utf-8", "replace"))
        at += 2 + length
    return f"{'/'.join(parts[1:])}@{parts[0]}"
