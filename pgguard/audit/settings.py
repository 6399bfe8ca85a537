"""How the audit is written."""

from pathlib import Path
from typing import Literal

import msgspec


class AuditSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`sync`: "always" has each record on disk before its statement is relayed; "interval" each second; "os" leaves it
    to the kernel. `values`: what becomes of bound values. `key_file`: the chain is HMAC-SHA-256 with this key.
    """

    path: Path
    sync: Literal["always", "interval", "os"] = "os"
    values: Literal["keep", "hash", "drop"] = "keep"
    key_file: Path | None = None
