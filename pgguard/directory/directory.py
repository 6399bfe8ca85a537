"""The directory as a statement sees it: memberships that are already here, and how fresh they are.

Theory of operation. Sessions `watch` their users. A background task asks the source for all watched users at once,
every `refresh` seconds, in a thread of its own. A statement reads what is here, and never waits. While the source
does not answer, what is here serves up to `max_stale` seconds; then nobody's groups are known, and what depends on
them is refused. After failures the next try waits longer, up to a bound, with jitter, so that a sick server is let
alone.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from pgguard.directory.ldap_source import LdapSource
from pgguard.directory.membership import Membership
from pgguard.directory.settings import DirectorySettings
from pgguard.directory.static import DirectoryError, StaticSource

_log = logging.getLogger(__name__)

_LONGEST_PAUSE = 15.0


class Source(Protocol):
    def fetch(self, users: Iterable[str]) -> dict[str, Membership]: ...


class Directory:
    """`clock` gives monotonic seconds. `changed` is called with each user whose membership is another now."""

    def __init__(
        self,
        settings: DirectorySettings,
        clock: Callable[[], float],
        changed: Callable[[Membership], None] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._changed = changed
        self._source = make_source(settings)
        self._thread = ThreadPoolExecutor(1, "directory")
        self._watched: Counter[str] = Counter()
        self._known: dict[str, tuple[Membership, float]] = {}
        self._failures = 0
        self._background: asyncio.Task[None] | None = None
        self.generation = 0
        """Grows when any membership changes."""
        self.error: str | None = None
        """Why the last fetch failed; None while all is well."""

    def start(self) -> None:
        self._background = asyncio.create_task(self._refresh_for_ever())

    async def close(self) -> None:
        if self._background is not None:
            self._background.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def membership(self, user: str) -> Membership | None:
        """What is known of a watched user; None where it is older than allowed, or was never told."""
        known = self._known.get(user)
        if known is None or self._clock() - known[1] > self._settings.max_stale:
            return None
        return known[0]

    async def watch(self, user: str) -> Membership | None:
        """A session of this user has opened: fetch at once, and from now on keep it fresh."""
        self._watched[user] += 1
        try:
            await self._fetch([user])
        except DirectoryError as error:
            _log.warning("directory: %s", error)
        return self.membership(user)

    def unwatch(self, user: str) -> None:
        self._watched[user] -= 1
        if self._watched[user] <= 0:
            del self._watched[user]
            self._known.pop(user, None)

    async def _fetch(self, users: list[str]) -> None:
        asked = self._clock()
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._source.fetch, users)
        except DirectoryError as error:
            self._failures += 1
            self.error = str(error)
            raise
        self._failures, self.error = 0, None
        for user, membership in found.items():
            before = self._known.get(user)
            self._known[user] = (membership, asked)
            if before is not None and before[0] != membership:
                self.generation += 1
                if self._changed is not None:
                    self._changed(membership)

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._pause())
            if not self._watched:
                continue
            was_well = self.error is None
            try:
                await self._fetch(list(self._watched))
            except DirectoryError as error:
                (_log.error if was_well else _log.debug)("directory does not answer: %s", error)
            else:
                if not was_well:
                    _log.info("directory answers again")

    def _pause(self) -> float:
        pause = self._settings.refresh * (2 ** min(self._failures, 5) if self._failures else 1)
        return min(pause, max(_LONGEST_PAUSE, self._settings.refresh)) * random.uniform(0.9, 1.1)  # noqa: S311  # jitter


def make_source(settings: DirectorySettings) -> Source:
    if settings.kind == "ldap":
        return LdapSource(settings)
    if settings.path is None:
        raise DirectoryError('[directory] kind = "static" needs a path')
    return StaticSource(settings.path)
