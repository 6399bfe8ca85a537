"""Where holds are kept, and how long statements wait at most."""

from pathlib import Path
from typing import Literal

import msgspec


class HoldsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`store` "sqlite": one file, `path`; where none is named, `holds.sqlite` beside the audit log.

    `store` "postgres": the database of `dsn` (a URI, the password in `password_file`), shared by several nodes. `node`
    tells them apart, and must stay the same over a restart; empty: the host's name and the port.
    `remind_seconds`: between the notices to a client that waits. `transaction_seconds`: the longest wait inside a
    transaction, whose locks others wait for.
    """

    store: Literal["sqlite", "postgres"] = "sqlite"
    path: Path | None = None
    dsn: str = ""
    password_file: Path | None = None
    node: str = ""
    remind_seconds: float = 60.0
    transaction_seconds: float = 120.0

    def __post_init__(self) -> None:
        """Raises ValueError, which msgspec tells with the section."""
        if (self.store == "postgres") != bool(self.dsn):
            raise ValueError('store = "postgres" and "dsn", the URI of its database, go together')
        for name in ("remind_seconds", "transaction_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f'"{name}" must be above zero')
