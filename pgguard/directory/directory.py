"""The directory as a statement sees it: memberships that are already here, and how fresh they are.

Theory of operation. Sessions `watch` their users. A background task asks the source for all watched users at once,
every `refresh` seconds and as soon as the directory tells of a change (push.py), in a thread of its own. A statement
reads what is here, and never waits. Logins that come while the directory is being asked wait for the next question,
which is one for all of them.

While the source does not answer, what is here serves up to `max_stale` seconds; then nobody's groups are known, and
what depends on them is refused. After failures the next try waits longer, up to a bound, with jitter, so that a sick
server is let alone; a login in that time is answered from what is here.
"""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from pgguard.directory.errors import DirectoryError
from pgguard.directory.lane import PATIENCE, beside
from pgguard.directory.ldap_source import LdapSource, time_limit
from pgguard.directory.membership import Membership
from pgguard.directory.push import Push
from pgguard.directory.settings import DirectorySettings
from pgguard.directory.static import StaticSource

_log = logging.getLogger(__name__)

_LONGEST_PAUSE = 15.0

_SHORTEST_GAP = 0.2
"""Seconds between two looks, however often the directory tells of changes; and no shorter than the last one took."""

_OPEN_AFTER = 3
"""Failures in a row after which only the background task asks: logins do not add to a sick server's load."""


class Source(Protocol):
    @property
    def origin(self) -> str:
        """Where memberships come from: a server's URI, or a file."""
        ...

    def fetch(self, users: Iterable[str]) -> dict[str, Membership]:
        """Blocks. Raises DirectoryError."""
        ...

    def groups(self) -> frozenset[str]:
        """The names of all groups there are. Blocks. Raises DirectoryError."""
        ...


class Health(msgspec.Struct, frozen=True):
    """All in seconds. `failures`: looks in a row that failed. `breaker_open`: logins do not ask, the background alone.

    `silent`: since the source answered last, 0 while it does. `serves`: how long what is known may still be used; 0:
    nobody's groups are known. `next_try`: until the background asks again. `oldest`: as `Directory.oldest`.
    """

    failures: int
    breaker_open: bool
    silent: float
    serves: float
    next_try: float
    oldest: float


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
        self._limit = time_limit(settings) + PATIENCE
        self._asking = asyncio.Lock()
        self._newcomers: set[str] = set()
        self._watched: Counter[str] = Counter()
        self._known: dict[str, Membership] = {}
        self._failures = 0
        self._answered = clock()
        self._next_try = clock()
        self._told_stale = False
        self._rung = asyncio.Event()
        self._gap = _SHORTEST_GAP
        self._push = Push(settings, lambda: self.origin, self._rung.set) if settings.listens else None
        self._background: list[asyncio.Task[None]] = []
        self.generation = 0
        """Grows when any membership changes."""
        self.error: str | None = None
        """Why the last fetch failed; None while all is well."""

    @property
    def origin(self) -> str:
        return self._source.origin

    def oldest(self) -> float:
        """Seconds since the directory last told of the user of whom it has been silent longest; 0 without sessions."""
        now = self._clock()
        return max((now - known.as_of for known in self._known.values()), default=0.0)

    def health(self) -> Health:
        """How it stands with the source now."""
        now = self._clock()
        silent = 0.0 if self.error is None else now - self._answered
        return Health(
            failures=self._failures,
            breaker_open=self._failures >= _OPEN_AFTER,
            silent=silent,
            serves=max(0.0, self._settings.max_stale - silent),
            next_try=max(0.0, self._next_try - now),
            oldest=self.oldest(),
        )

    @property
    def told_by(self) -> str | None:
        """The server that tells of changes at once; None where all are found by polling."""
        return None if self._push is None else self._push.server

    def start(self) -> None:
        for uri in self._settings.unprotected:
            _log.warning(
                "%s is asked without TLS: whoever is on the way can give groups to people, and reads the password;"
                " set start_tls, or use ldaps://",
                uri,
            )
        self._background.append(asyncio.create_task(self._refresh_for_ever()))
        if self._push is not None:
            self._background.append(asyncio.create_task(self._push.listen_for_ever()))

    async def close(self) -> None:
        for task in self._background:
            task.cancel()

    def membership(self, user: str) -> Membership | None:
        """What is known of a watched user; None where it is older than allowed, or was never told."""
        known = self._known.get(user)
        if known is None or self._clock() - known.as_of > self._settings.max_stale:
            return None
        return known

    async def watch(self, user: str) -> Membership | None:
        """A session of this user has opened: ask at once, and from now on keep it fresh.

        While the source is in trouble, whoever is known already does not wait for it.
        """
        self._watched[user] += 1
        if self._failures >= _OPEN_AFTER or (self._failures and self.membership(user) is not None):
            return self.membership(user)
        self._newcomers.add(user)
        async with self._asking:
            if user in self._newcomers:  # else the question before has answered for us too
                users, self._newcomers = list(self._newcomers), set()
                await self._try(users)
        return self.membership(user)

    def unwatch(self, user: str) -> None:
        self._watched[user] -= 1
        if self._watched[user] <= 0:
            del self._watched[user]
            self._known.pop(user, None)

    async def _try(self, users: list[str]) -> None:
        """Ask for these users; trouble is told once, and kept in `error`."""
        was_well, before = self.error is None, self.health()
        try:
            await self._fetch(users)
        except Exception as error:  # noqa: BLE001  # a fault of one look must not end all later ones
            self._failures += 1
            self.error = str(error) if isinstance(error, DirectoryError) else f"{type(error).__name__}: {error}"
            (_log.error if was_well else _log.debug)("directory does not answer: %s", self.error)
            if was_well and not self._known:
                self._answered = self._clock()  # nobody was asked about for a while: it is silent from now on
            self._tell_of_trouble()
        else:
            if not was_well:
                _log.info("directory answers again, after %.0f s and %d failures", before.silent, before.failures)
            self._failures, self.error, self._told_stale = 0, None, False

    def _tell_of_trouble(self) -> None:
        """What a failure leads to, each once."""
        health = self.health()
        if self._failures == _OPEN_AFTER:
            _log.warning(
                "the circuit breaker of the directory is open: logins do not ask it until it answers; known groups"
                " serve for %.0f s more",
                health.serves,
            )
        if not health.serves and not self._told_stale:
            self._told_stale = True
            _log.error(
                "the directory has not answered for %.0f s: nobody's groups are known, and what depends on them is"
                " refused until it does",
                health.silent,
            )

    async def _fetch(self, users: list[str]) -> None:
        asked = self._clock()
        source = self._source
        try:
            found = await beside(lambda: source.fetch(users), self._limit)
        except TimeoutError as error:
            self._source = make_source(self._settings)  # the old one is still in the hands of its thread
            raise DirectoryError(f"{source.origin}: {error}") from error
        self._answered = asked
        for membership in found.values():
            self._learn(msgspec.structs.replace(membership, as_of=asked))

    def _learn(self, membership: Membership) -> None:
        if membership.user not in self._watched:
            return  # the last session has ended meanwhile
        before = self._known.get(membership.user)
        self._known[membership.user] = membership
        if before is not None and not before.tells_the_same(membership):
            self.generation += 1
            if self._changed is not None:
                self._changed(membership)

    async def _refresh_for_ever(self) -> None:
        while True:
            await self._until_due()
            if self._watched or self._failures:
                async with self._asking:
                    self._rung.clear()  # before the look: a change during it needs another one
                    began = self._clock()
                    await self._try(list(self._watched))
                    self._gap = max(_SHORTEST_GAP, self._clock() - began)

    async def _until_due(self) -> None:
        """A poll's pause, cut short when the directory tells of a change; a sick server's word is not asked for."""
        pause = self._pause()
        self._next_try = self._clock() + pause
        if self._failures >= _OPEN_AFTER:
            await asyncio.sleep(pause)
            return
        gap = min(self._gap, pause)
        await asyncio.sleep(gap)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), pause - gap)

    def _pause(self) -> float:
        pause = self._settings.refresh * (2 ** min(self._failures, 5) if self._failures else 1)
        return min(pause, max(_LONGEST_PAUSE, self._settings.refresh)) * random.uniform(0.9, 1.1)  # noqa: S311  # jitter


def make_source(settings: DirectorySettings) -> Source:
    if settings.kind == "ldap":
        return LdapSource(settings)
    assert settings.path is not None, "the settings have checked it"
    return StaticSource(settings.path)
