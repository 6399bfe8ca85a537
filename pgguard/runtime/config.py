"""The configuration: one TOML file, composed of the settings that each room defines for itself.

A path in it is relative to the file's own folder. Every key has a default but for the few that nobody can guess;
an unknown key is an error. Nothing here opens what it names: that is the business of the room that uses it.
"""

import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

import msgspec

from pgguard.audit.settings import AuditSettings
from pgguard.auth.settings import DatabaseSettings, KerberosSettings, TlsSettings
from pgguard.directory.settings import DirectorySettings
from pgguard.holds.settings import HoldsSettings
from pgguard.runtime.console_settings import ConsoleSettings
from pgguard.runtime.peers import PeersSettings


class ConfigError(Exception):
    """The configuration cannot be used; the message says which file and key, and what to do."""


MAX_WORKERS = 100
"""Twice as many can be there while all are replaced, each with a connection to each database for its catalog."""


class ListenSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where clients connect. `host` is a name or address; "*" is every address of the machine.

    `workers`: processes that serve them; with more than one a supervisor starts them. `proxy_from`: networks of
    balancers, which must tell each client's address by the PROXY protocol, version 2.
    """

    host: str = "localhost"
    port: int = 6432
    backlog: int = 512
    workers: int = 1
    proxy_from: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError, which msgspec tells with the section."""
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ValueError(f'"workers" must be from 1 to {MAX_WORKERS}')
        for network in self.proxy_from:
            ip_network(network)


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds that keep one client from harming the others. Sizes in bytes, times in seconds; 0 is no limit.

    `logins`: connections of a process that have not logged in yet; one more is closed at once. `drain_seconds`: how
    long a shutdown lets transactions go on.
    """

    sessions: int = 1000
    logins: int = 1000
    sessions_per_user: int = 0
    sessions_per_address: int = 0
    statement_bytes: int = 1024 * 1024
    login_seconds: float = 60.0
    analysis_seconds: float = 10.0
    drain_seconds: float = 10.0


class RulesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`mode = "observe"` decides and records, and blocks nothing. `hide_unknown`: what the rules hide and what does
    not exist get the same kind of answer.
    """

    path: Path
    baseline: Path | None = None
    mode: Literal["enforce", "observe"] = "enforce"
    observe_databases: tuple[str, ...] = ()
    watch: bool = True
    hide_unknown: bool = False


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class MetricsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where /metrics, /healthz and /readyz are served; without this section they are not."""

    host: str = "localhost"
    port: int = 9187


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kerberos: KerberosSettings
    database: DatabaseSettings
    directory: DirectorySettings
    audit: AuditSettings
    rules: RulesSettings
    listen: ListenSettings = ListenSettings()
    limits: LimitSettings = LimitSettings()
    holds: HoldsSettings = HoldsSettings()
    console: ConsoleSettings = ConsoleSettings()
    tls: TlsSettings | None = None
    log: LogSettings = LogSettings()
    metrics: MetricsSettings | None = None
    peers: PeersSettings | None = None


def load_config(path: Path) -> Config:
    """Read and check the configuration file.

    Raises ConfigError with file and key where it cannot be read, is no TOML, or does not fit the settings.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f'cannot read configuration "{path}": {error.strerror}; name it with --config') from error
    except UnicodeDecodeError as error:
        raise ConfigError(f'configuration "{path}" is not UTF-8 at byte {error.start}') from error
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f'configuration "{path}" is not TOML: {error}') from error
    return parse_config(tree, path)


def parse_config(tree: dict[str, Any], path: Path) -> Config:
    """Fit a TOML tree to the settings; relative paths in it start at the folder of `path`."""
    folder = path.absolute().parent

    def resolve(kind: type, value: Any) -> Any:
        if kind is Path and isinstance(value, str):
            return folder / value
        raise NotImplementedError(f"no way to read a {kind.__name__}")  # what msgspec's dec_hook is to raise

    try:
        return msgspec.convert(tree, Config, dec_hook=resolve)
    except msgspec.ValidationError as error:
        raise ConfigError(f'configuration "{path}": {_in_words(error)}') from error


def encode_config(config: Config) -> bytes:
    """For another process, which reads it by `decode_config`."""
    return msgspec.json.encode(config, enc_hook=str)  # a path is all that JSON does not know


def decode_config(encoded: bytes) -> Config:
    return msgspec.json.decode(encoded, type=Config, dec_hook=lambda kind, value: kind(value))


def _in_words(error: msgspec.ValidationError) -> str:
    """Msgspec's message with the key in TOML's own spelling: `$.audit.sync` becomes [audit] sync."""
    message = str(error)
    what, separator, where = message.rpartition(" - at `$.")
    if not separator:
        return message
    section, _, key = where.rstrip("`").partition(".")
    return f"[{section}] {key}: {what}" if key else f"[{section}]: {what}"
