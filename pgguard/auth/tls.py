"""TLS contexts: towards clients (server side) and towards the database (client side)."""

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
