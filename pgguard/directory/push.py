"""Being told of changes by the directory, beside polling: the supervisor of a syncrepl consumer.

Theory of operation. The consumer listens at the server that is polled, so that what a look then finds is not older
than what was told; when polling goes over to another server, so does this. Each opening counts as a change: what
happened before it was not heard. Where there is no syncrepl, or the connection drops, polling alone goes on as it did
all the time, and the next try comes after a growing pause.

Waiting is cut into slices, each in a thread that can be left behind (lane.py): whatever the server does to one of
them, it costs that slice and this connection.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial

from pgguard.directory.errors import DirectoryError
from pgguard.directory.lane import PATIENCE, beside
from pgguard.directory.settings import DirectorySettings
from pgguard.directory.syncrepl import Consumer, opening_limit

_log = logging.getLogger(__name__)

_SLICE = 5.0
_LONGEST_PAUSE = 60.0


class Push:
    """`server`: the one that is polled. `changed` is called when it says that something is different now."""

    def __init__(self, settings: DirectorySettings, server: Callable[[], str], changed: Callable[[], None]) -> None:
        self._settings = settings
        self._server = server
        self._changed = changed
        self._failures = 0
        self._complained = False
        self.server: str | None = None
        """Who tells of changes now; None while nobody does."""

    async def listen_for_ever(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001  # whatever it is, polling goes on, and so must the tries
                self._complain(error)
                self._failures += 1
                pause = min(2.0 ** (self._failures - 1), _LONGEST_PAUSE)
                await asyncio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311  # jitter
            finally:
                self.server = None

    async def _listen(self) -> None:
        """Until the server fails, which raises, or another one is polled."""
        uri = self._server()
        consumer = await beside(partial(Consumer, self._settings, uri), opening_limit(self._settings) + PATIENCE)
        _log.info("%s tells of changes at once", uri)
        self.server, self._failures, self._complained = uri, 0, False
        self._changed()
        while self._server() == uri:
            if await beside(partial(consumer.wait, _SLICE), _SLICE + PATIENCE):
                self._changed()
        await beside(consumer.close, PATIENCE)

    def _complain(self, error: Exception) -> None:
        """Once, and not at each try."""
        words = str(error) if isinstance(error, DirectoryError | TimeoutError) else f"{type(error).__name__}: {error}"
        (_log.debug if self._complained else _log.warning)(
            "the directory does not tell of changes, polling alone goes on: %s", words
        )
        self._complained = True
