"""How the audit is written."""

from pathlib import Path
from typing import Literal

import msgspec

Keeping = Literal["keep", "hash", "drop"]


class AuditSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`sync`: "always" has each record on disk before its statement is relayed; "interval" each second; "os" leaves it
    to the kernel. `literals`, `values`: what becomes of constants in texts and of bound values; passwords in
    statements are masked whatever this says. `key_file`: the chain is HMAC-SHA-256 with this key.

    The file is closed and a new one begun when it has `rotate_bytes` or is `rotate_seconds` old; closed files are
    compressed, and removed after `keep_days`. 0 is never.
    """

    path: Path
    sync: Literal["always", "interval", "os"] = "os"
    values: Keeping = "keep"
    literals: Keeping = "keep"
    key_file: Path | None = None
    rotate_bytes: int = 256 << 20
    rotate_seconds: float = 86_400.0
    compress: bool = True
    keep_days: float = 0.0
