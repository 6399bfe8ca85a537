"""The store of holds, and the hooks, that the configuration asks for."""

import socket
from pathlib import Path

from pgguard.holds.hooks import Hooks
from pgguard.holds.postgres_store import PostgresStore
from pgguard.holds.sqlite_store import SqliteStore
from pgguard.holds.store import Store
from pgguard.runtime.backend import read_secret
from pgguard.runtime.colleagues import Colleagues
from pgguard.runtime.config import Config, ConfigError


def hold_store(config: Config, colleagues: Colleagues) -> Store:
    settings = config.holds
    if settings.store == "postgres":
        return PostgresStore(settings.dsn, read_secret(settings.password_file))
    return SqliteStore(hold_file(config), colleagues if config.listen.workers > 1 else None)


def hold_file(config: Config) -> Path:
    return config.holds.path or config.audit.path.with_name("holds.sqlite")


def make_hooks(config: Config) -> Hooks:
    """Raises ConfigError where a secret cannot be read."""
    return Hooks([(one, _secret(one.secret_file)) for one in config.holds.hooks])


def _secret(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        secret = read_secret(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'[holds] hooks: cannot read the secret in "{path}": {error}') from error
    if not secret:
        raise ConfigError(f'[holds] hooks: "{path}" holds no secret; write one line into it')
    return secret.encode()


def node_name(config: Config) -> str:
    return config.holds.node or f"{socket.gethostname()}:{config.listen.port}"
