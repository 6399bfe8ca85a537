"""Pgguard's own login to the database: for the catalog, for probes, and for those who check that it works."""

import asyncio
import ssl

import asyncpg

from pgguard.auth.acceptor import KerberosError
from pgguard.auth.initiator import own_tickets, use_cache
from pgguard.auth.settings import DatabaseSettings
from pgguard.runtime.backend import read_secret


async def connect_as_service(
    settings: DatabaseSettings, tls: ssl.SSLContext | None, database: str
) -> asyncpg.Connection:
    """Raises what asyncpg raises where the database does not let pgguard in."""
    password = read_secret(settings.service_password_file or settings.password_file)
    try:
        if settings.keytab is not None and password is None:
            use_cache(await asyncio.to_thread(own_tickets, settings))
        return await asyncpg.connect(
            host=list(settings.hosts),
            port=settings.port,
            user=settings.service_user,
            password=password,
            database=database,
            timeout=settings.connect_seconds,
            ssl=tls or False,
            gsslib="gssapi",
            krbsrvname=settings.service,
            server_settings={"application_name": "pgguard"},
        )
    except (KerberosError, asyncpg.InternalClientError) as error:  # asyncpg makes the latter of a GSSError
        raise asyncpg.InterfaceError(f"pgguard's own login to the database failed: {error}") from error
