"""What the audit log needs done in the background, each second: flushing, rotation, compression, removal.

One of the processes that write the log sees to it.
"""

import asyncio
import logging
from datetime import UTC, datetime

from pgguard.audit.files import closed_name, keep_house
from pgguard.audit.log import AuditLog, AuditUnavailable
from pgguard.audit.settings import AuditSettings

_log = logging.getLogger(__name__)

_SECONDS = 1.0


async def keep_up(log: AuditLog, settings: AuditSettings) -> None:
    """Do what is due, each second, for as long as it is let; trouble is told, and does not end it."""
    upkeep = Upkeep(log, settings, datetime.now(UTC))
    while True:
        await asyncio.sleep(_SECONDS)
        try:
            await asyncio.to_thread(upkeep.tick, datetime.now(UTC))
        except (AuditUnavailable, OSError) as error:
            _log.error("the audit log's upkeep failed: %s", error)  # told in full


class Upkeep:
    """Blocking. `tick` may be called any number of times; it does what is due. Raises AuditUnavailable, OSError."""

    def __init__(self, log: AuditLog, settings: AuditSettings, now: datetime) -> None:
        self._log = log
        self._settings = settings
        self._opened = now

    def tick(self, now: datetime) -> None:
        if self._settings.sync != "os":
            self._log.flush()
        if not self._due(now):
            return
        self._log.rotate(closed_name(self._log.path, now.astimezone(UTC)), now.isoformat())
        self._opened = now
        keep_house(self._log.path, now, compressing=self._settings.compress, keep_days=self._settings.keep_days)

    def _due(self, now: datetime) -> bool:
        size = self._log.path.stat().st_size if self._log.path.exists() else 0
        if size == 0:
            return False
        if self._settings.rotate_bytes and size >= self._settings.rotate_bytes:
            return True
        age = (now - self._opened).total_seconds()
        return bool(self._settings.rotate_seconds) and age >= self._settings.rotate_seconds
