"""TLS contexts: towards clients (server side) and towards the database (client side)."""

import contextlib
import ssl

from pgguard.auth.settings import DatabaseSettings, TlsSettings

_ALPN = "postgresql"
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsError(Exception):
    """Certificates or keys cannot be used; the message says which."""


def client_facing(settings: TlsSettings) -> ssl.SSLContext:
    """The context in which clients are accepted. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION  # as PostgreSQL (be-secure-openssl.c)
    context.minimum_version = _VERSIONS[settings.minimum]
    context.set_alpn_protocols([_ALPN])
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise TlsError(
            f'[tls] certificate "{settings.certificate}" with key "{settings.key}" cannot be used: {error}'
        ) from error
    return context


_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME (X509_VERIFY_PARAM_set_flags(3)), which the ssl module does not name."""


def validity(settings: TlsSettings) -> tuple[float, float]:
    """When the server's certificate begins and ends, in seconds since 1970. Raises TlsError.

    It is asked of a client that trusts this one certificate, in memory: the ssl module reads no file's dates.
    """
    context = client_facing(settings)
    context.verify_mode = ssl.CERT_NONE
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    client.load_verify_locations(settings.certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    theirs = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (ours, theirs) * 3:
            with contextlib.suppress(ssl.SSLWantReadError):  # the other side's turn
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise TlsError(f'"{settings.certificate}": {error.verify_message}') from error
    except ssl.SSLError as error:
        raise TlsError(f'"{settings.certificate}": {error.reason}') from error
    certificate = ours.getpeercert() or {}
    begins, ends = (ssl.cert_time_to_seconds(str(certificate[name])) for name in ("notBefore", "notAfter"))
    return begins, ends


def database_facing(settings: DatabaseSettings) -> ssl.SSLContext | None:
    """The context in which the database is spoken to; None for plain. Raises TlsError."""
    if settings.tls == "disable":
        return None
    try:
        context = ssl.create_default_context(
            cafile=None if settings.root_certificate is None else str(settings.root_certificate)
        )
        if settings.certificate is not None:
            context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"[database] TLS files cannot be used: {error}") from error
    context.set_alpn_protocols([_ALPN])
    if settings.tls == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
