"""The files of TLS, towards clients and the database: read anew when they change, and used from then on.

New connections get what the files hold now; those that are open keep what they have. Files that cannot be used leave
the contexts in force as they are, and the log says why: mostly a key that is still to follow its certificate, so that a
change is looked at once nothing has changed for a moment.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import watchfiles

from pgguard.auth.tls import TlsError, client_facing, database_facing, validity
from pgguard.runtime.admission import Door
from pgguard.runtime.backend import Databases
from pgguard.runtime.config import Config
from pgguard.runtime.metrics import Family, counter, gauge

_log = logging.getLogger(__name__)

_QUIET_MS = 500
_LONGEST_MS = 5000

_Seen = tuple[tuple[int, int, int] | None, ...]


class TlsFiles:
    """Gives `door` and `databases` their contexts. Raises TlsError where there are none to begin with."""

    def __init__(self, config: Config, door: Door, databases: Databases) -> None:
        self._config = config
        self._door = door
        self._databases = databases
        self._files = tuple(_files(config))
        self._failures = 0
        self._ends_at = 0.0
        self._use()

    def reload(self) -> None:
        try:
            self._use()
        except TlsError as error:
            self._failures += 1
            _log.error("TLS files were not read anew, those in force stay: %s", error)  # told in full

    def _use(self) -> None:
        tls, database = self._config.tls, database_facing(self._config.database)
        if tls is not None:
            context, (_, ends) = client_facing(tls), validity(tls)
            self._door.tls = context
            if ends != self._ends_at:
                _log.info('TLS certificate "%s" is in use', tls.certificate)
            self._ends_at = ends
        self._databases.tls = database

    async def watch(self) -> None:
        """Until cancelled; returns at once where there is no file."""
        if not self._files:
            return
        seen = self._look()
        folders = {file.parent for file in self._files}
        async for _ in watchfiles.awatch(*folders, recursive=False, debounce=_LONGEST_MS, step=_QUIET_MS):
            now = self._look()
            if now != seen:
                seen = now
                self.reload()

    def _look(self) -> _Seen:
        return tuple(_state(file) for file in self._files)

    def families(self) -> Iterator[Family]:
        if self._files:
            yield counter("tls_reload_failures_total", "Changes of TLS files that left the old ones.", self._failures)
        if self._config.tls is not None:
            what = "When the certificate that clients see ends, in seconds since 1970."
            yield gauge("tls_certificate_ends_seconds", what, self._ends_at, "min")


def _files(config: Config) -> Iterator[Path]:
    database, tls = config.database, config.tls
    ours = () if tls is None else (tls.certificate, tls.key, tls.client_ca)
    theirs = () if database.tls == "disable" else (database.root_certificate, database.certificate, database.key)
    yield from (file for file in (*ours, *theirs) if file is not None)


def _state(file: Path) -> tuple[int, int, int] | None:
    """What is another when the file is, through links too (as those of a mounted secret)."""
    try:
        seen = file.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_mtime_ns, seen.st_size
