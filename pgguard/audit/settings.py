"""How the audit is written, and where it is shipped."""

import re
from pathlib import Path
from typing import Literal

import msgspec

Keeping = Literal["keep", "hash", "drop"]
Shipped = Literal["all", "heads"]

_NAME = re.compile(r"[a-z0-9-]{1,40}")
_SYSLOG_PORTS = {"tls": 6514, "tcp": 514, "udp": 514}


class StdoutTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="to", tag="stdout"):
    """Lines as they are in the file, on standard output. `records = "heads"`, of any target: only those records that
    sign off a closed file.
    """

    name: str = "stdout"
    records: Shipped = "all"


class SyslogTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="to", tag="syslog"):
    """RFC 5424: over TLS (RFC 5425), TCP with counted octets (RFC 6587), or UDP (RFC 5426), which may lose.

    `facility` 13 is "log audit". `ca`: the authorities that may sign the collector's certificate; without it the
    system's. `certificate` and `key`: pgguard's own.
    """

    host: str
    transport: Literal["tls", "tcp", "udp"] = "tls"
    port: int = 0
    facility: int = 13
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    name: str = "syslog"
    records: Shipped = "all"

    def __post_init__(self) -> None:
        if not 0 <= self.facility <= 23:
            raise ValueError(f"{self.facility} is no syslog facility; they are 0 to 23, and 13 is the audit's")
        if self.transport != "tls" and (self.ca or self.certificate or self.key):
            raise ValueError(f'ca, certificate and key are for transport "tls", not "{self.transport}"')

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port or _SYSLOG_PORTS[self.transport]


class OtlpTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="to", tag="otlp"):
    """OpenTelemetry logs over HTTP, as JSON. `url` is the whole address, mostly ending in /v1/logs; `headers` go with
    each request (Authorization); `ca` as for syslog.
    """

    url: str
    headers: dict[str, str] = {}
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    name: str = "otlp"
    records: Shipped = "all"

    def __post_init__(self) -> None:
        if re.fullmatch(r"https?://[^/\s@]+/\S*", self.url) is None:
            raise ValueError(
                f'"{self.url}" is no address of a collector; write it like "https://collector:4318/v1/logs"'
            )


Target = StdoutTarget | SyslogTarget | OtlpTarget


class AuditSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`sync`: "always" has each record on disk before its statement is relayed; "interval" each second; "os" leaves it
    to the kernel. `literals`, `values`: what becomes of constants in texts and of bound values; passwords in
    statements are masked whatever this says. `key_file`: the chain is HMAC-SHA-256 with this key.

    The file is closed and a new one begun when it has `rotate_bytes` or is `rotate_seconds` old; closed files are
    compressed, and removed after `keep_days`. 0 is never. `ship`: who else gets the records (pgguard/audit/shipping).
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
    ship: tuple[Target, ...] = ()

    def __post_init__(self) -> None:
        names = [target.name for target in self.ship]
        for name in names:
            if _NAME.fullmatch(name) is None:
                raise ValueError(f'"{name}" cannot name a target: it is part of a file name; use a-z, 0-9 and "-"')
            if names.count(name) > 1:
                raise ValueError(f'two targets are named "{name}"; give each [[audit.ship]] a name of its own')
