"""The operator's log: one line an event on standard error, for people or as JSON.

Names in it are what clients call themselves.

# INVARIANT: nothing of a client begins a line or steers a terminal: lines after an event's first are indented, and
control characters are written out.
"""

import json
import logging
import time

from pgguard.runtime.config import LogSettings


class _Json(logging.Formatter):
    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._own = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._own,
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""C0 and C1 (ECMA-48), but for what lays out a text of several lines."""

_STEERING = {code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Unicode's ends of lines, and what reverses the order in which text is shown (UAX #9)."""


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).translate(_CONTROL | _STEERING).replace("\n", "\n    ")


def set_up_logging(settings: LogSettings, worker: int | None) -> None:
    """`worker`: the number of this process among several."""
    handler = logging.StreamHandler()
    who = "" if worker is None else f" worker {worker}"
    plain = _Plain(f"%(asctime)s %(levelname)-7s{who} %(name)s: %(message)s")
    handler.setFormatter(_Json(worker) if settings.format == "json" else plain)
    root = logging.getLogger("pgguard")
    root.setLevel(settings.level.upper())
    root.addHandler(handler)
