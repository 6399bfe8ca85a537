"""A consumer of LDAP content synchronization (syncrepl, RFC 4533): the server says at once that something has changed.

Theory of operation. Two searches in the mode refreshAndPersist stay open on one connection: one over the groups, one
over the users. First the server goes through all that is there; from then on it sends each entry that is added,
changed or deleted. Only *that* something has changed is taken from it, and whoever is told looks at the directory as
ever: OpenLDAP's memberOf overlay changes users without an event of their own (field notes, section 5), and an answer
that is put together from pieces would have to be right for every piece. So no attribute is asked for, and no cookie
is kept: after an interruption everything is looked at anew anyway.

A server that does not know the control refuses the search, since it is critical.
"""

import time
from typing import Any

import ldap
from ldap.syncrepl import SyncInfoMessage, SyncRequestControl

from pgguard.directory.errors import DirectoryError
from pgguard.directory.ldap_connection import Deadline, LdapConnection, in_words
from pgguard.directory.ldap_groups import style_of
from pgguard.directory.settings import DirectorySettings
from pgguard.directory.user_filter import UserFilter

_STEPS = 4
"""Calls until it listens, each with the configured time limit: bind, two searches, all that is there."""

_AT_ONCE = 1000
"""Messages that are read as one change, where so many have come."""


def opening_limit(settings: DirectorySettings) -> float:
    """Seconds that opening a consumer may take, whatever the server does."""
    return settings.timeout * _STEPS


class Consumer:
    """Opens at once, and listens when it has. Its calls block; it is used by one thread at a time.

    Raises DirectoryError where the server does not let it listen, or stops to; the connection is closed then.
    """

    def __init__(self, settings: DirectorySettings, uri: str) -> None:
        self._uri = uri
        deadline = Deadline(opening_limit(settings))
        try:
            self._connection = LdapConnection(settings, uri, deadline)
            try:
                self._start(settings, deadline)
            except BaseException:
                self.close()
                raise
        except ldap.LDAPError as error:
            raise DirectoryError(f"{uri}: {in_words(error)}") from error

    def _start(self, settings: DirectorySettings, deadline: Deadline) -> None:
        searches = (
            (settings.where_groups_are, style_of(settings).group_filter),
            (settings.where_users_are, UserFilter(settings.user_filter).anybody()),
        )
        raw = self._connection.raw
        for base, query in searches:
            control = SyncRequestControl(criticality=True, mode="refreshAndPersist")
            raw.search_ext(base, ldap.SCOPE_SUBTREE, query, ["1.1"], serverctrls=[control])
        gone_through = 0
        while gone_through < len(searches):
            kind, data = self._next(deadline.left(settings.timeout))
            gone_through += kind == ldap.RES_INTERMEDIATE and any(_refresh_is_done(info) for info in data)

    def wait(self, seconds: float) -> bool:
        """Whether the server tells of a change within this time."""
        try:
            changed = self._changed_within(seconds)
            for _ in range(_AT_ONCE if changed else 0):
                kind, _ = self._next(0)
                if kind is None:
                    break
        except ldap.LDAPError as error:
            self.close()
            raise DirectoryError(f"{self._uri}: {in_words(error)}") from error
        except DirectoryError:
            self.close()
            raise
        return changed

    def _changed_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                kind, data = self._next(left)
            except ldap.TIMEOUT:
                return False
            if kind == ldap.RES_SEARCH_ENTRY or (kind == ldap.RES_INTERMEDIATE and not all(map(_is_cookie, data))):
                return True
        return False

    def _next(self, seconds: float) -> tuple[int | None, list[Any]]:
        """The next message of either search; with 0 seconds None for its kind where none is there."""
        kind, data, *_ = self._connection.raw.result4(ldap.RES_ANY, all=0, timeout=seconds, add_intermediates=1)
        if kind == ldap.RES_SEARCH_RESULT:
            raise DirectoryError(f"{self._uri} has ended the search that was to persist")
        return kind, data

    def close(self) -> None:
        self._connection.close()


def _refresh_is_done(info: tuple[str, bytes, Any]) -> bool:
    told = SyncInfoMessage(info[1])
    return any(phase and phase["refreshDone"] for phase in (told.refreshDelete, told.refreshPresent))


def _is_cookie(info: tuple[str, bytes, Any]) -> bool:
    """A cookie alone tells that something has changed which these searches do not see."""
    return SyncInfoMessage(info[1]).newcookie is not None
