"""The store of holds that the configuration asks for."""

import socket
from pathlib import Path

from pgguard.holds.postgres_store import PostgresStore
from pgguard.holds.sqlite_store import SqliteStore
from pgguard.holds.store import Store
from pgguard.runtime.backend import read_secret
from pgguard.runtime.colleagues import Colleagues
from pgguard.runtime.config import Config


def hold_store(config: Config, colleagues: Colleagues) -> Store:
    settings = config.holds
    if settings.store == "postgres":
        return PostgresStore(settings.dsn, read_secret(settings.password_file))
    return SqliteStore(hold_file(config), colleagues if config.listen.workers > 1 else None)


def hold_file(config: Config) -> Path:
    return config.holds.path or config.audit.path.with_name("holds.sqlite")


def node_name(config: Config) -> str:
    return config.holds.node or f"{socket.gethostname()}:{config.listen.port}"
