"""The operator's log: one line an event on standard error, for people or as JSON."""

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


def set_up_logging(settings: LogSettings, worker: int | None) -> None:
    """`worker`: the number of this process among several."""
    handler = logging.StreamHandler()
    who = "" if worker is None else f" worker {worker}"
    plain = logging.Formatter(f"%(asctime)s %(levelname)-7s{who} %(name)s: %(message)s")
    handler.setFormatter(_Json(worker) if settings.format == "json" else plain)
    root = logging.getLogger("pgguard")
    root.setLevel(settings.level.upper())
    root.addHandler(handler)
