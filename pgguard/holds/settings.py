"""Where holds are kept, how long statements wait at most, and who is told of them."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

Told = Literal["held", "approved", "approved-alone", "refused", "expired", "withdrawn", "lost"]


class HookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told of holds: an address, with the secret that signs what it gets, or a command with its arguments.

    `events`: of which; none named: of all. `text`: the statement's text too. `seconds`: for each try.
    """

    url: str = ""
    secret_file: Path | None = None
    command: tuple[str, ...] = ()
    events: tuple[Told, ...] = ()
    text: bool = False
    seconds: float = 10.0

    def __post_init__(self) -> None:
        """Raises ValueError, which msgspec tells with the section."""
        if bool(self.url) == bool(self.command):
            raise ValueError('a hook has either "url" or "command"')
        if bool(self.url) != bool(self.secret_file):
            raise ValueError('"url" and "secret_file", the secret that signs what it gets, go together')
        if self.seconds <= 0:
            raise ValueError('"seconds" must be above zero')
        if self.url:
            self._check_url()

    def _check_url(self) -> None:
        try:
            where = urlsplit(self.url)
            fits = where.scheme in {"http", "https"} and where.hostname and where.port != 0 and self.url.isascii()
        except ValueError:
            fits = False
        if not fits or "@" in where.netloc or not self.url.isprintable() or " " in self.url:
            raise ValueError(f'"{self.url}" is no http:// or https:// address without a user')

    @property
    def label(self) -> str:
        """How logs and metrics call it: without what may be secret in an address."""
        if self.command:
            return self.command[0]
        where = urlsplit(self.url)
        return f"{where.scheme}://{where.netloc}"


class HoldsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`store` "sqlite": one file, `path`; where none is named, `holds.sqlite` beside the audit log.

    `store` "postgres": the database of `dsn` (a URI, the password in `password_file`), shared by several nodes. `node`
    tells them apart, and must stay the same over a restart; empty: the host's name and the port.
    `remind_seconds`: between the notices to a client that waits. `transaction_seconds`: the longest wait inside a
    transaction, whose locks others wait for. `hooks`: who is told of what happens.
    """

    store: Literal["sqlite", "postgres"] = "sqlite"
    path: Path | None = None
    dsn: str = ""
    password_file: Path | None = None
    node: str = ""
    remind_seconds: float = 60.0
    transaction_seconds: float = 120.0
    hooks: tuple[HookSettings, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError, which msgspec tells with the section."""
        if (self.store == "postgres") != bool(self.dsn):
            raise ValueError('store = "postgres" and "dsn", the URI of its database, go together')
        for name in ("remind_seconds", "transaction_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f'"{name}" must be above zero')
