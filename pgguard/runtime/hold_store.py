"""The store of holds that the configuration asks for."""

import socket

from pgguard.holds.postgres_store import PostgresStore
from pgguard.holds.sqlite_store import SqliteStore
from pgguard.holds.store import Store
from pgguard.runtime.backend import read_secret
from pgguard.runtime.config import Config


def hold_store(config: Config) -> Store:
    settings = config.holds
    if settings.store == "postgres":
        return PostgresStore(settings.dsn, read_secret(settings.password_file))
    return SqliteStore(settings.path or config.audit.path.with_name("holds.sqlite"))


def node_name(config: Config) -> str:
    return config.holds.node or f"{socket.gethostname()}:{config.listen.port}"
