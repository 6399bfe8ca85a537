"""Pgguard's own login to the database: for the catalog, for probes, and for those who check that it works."""

import ssl

import asyncpg

from pgguard.auth.settings import DatabaseSettings
from pgguard.runtime.backend import read_secret


async def connect_as_service(
    settings: DatabaseSettings, tls: ssl.SSLContext | None, database: str
) -> asyncpg.Connection:
    """Raises what asyncpg raises where the database does not let pgguard in."""
    return await asyncpg.connect(
        host=list(settings.hosts),
        port=settings.port,
        user=settings.service_user,
        password=read_secret(settings.service_password_file or settings.password_file),
        database=database,
        timeout=settings.connect_seconds,
        ssl=tls or False,
        server_settings={"application_name": "pgguard"},
    )
