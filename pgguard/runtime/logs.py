"""The operator's log: one line an event on standard error, for people or as JSON."""

import json
import logging
import time

from pgguard.runtime.config import LogSettings


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def set_up_logging(settings: LogSettings) -> None:
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_Json() if settings.format == "json" else plain)
    root = logging.getLogger("pgguard")
    root.setLevel(settings.level.upper())
    root.addHandler(handler)
