"""LDAP as a source of memberships: many users in few searches, over one connection at a time.

Theory of operation. Each fetch asks for the users' entries (a hundred in one filter), which of them are disabled, and
the groups. The connection is kept from fetch to fetch. One that has failed is dropped, and a kept one that turns out
to be closed is replaced at once: a restarted server costs no fetch. The servers are then tried in
turn, first the one that answered last, and a server that lets nobody in goes to the end of the line, so that a sick
one costs its time limit once and not each time.

A source is used by one thread at a time, which these calls block, each fetch for no longer than `time_limit`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import ldap
import ldap.filter

from pgguard.directory.distinguished_names import NormalNames
from pgguard.directory.errors import DirectoryError
from pgguard.directory.ldap_connection import Deadline, Entry, LdapConnection, in_words
from pgguard.directory.ldap_groups import GroupGraph, Groups, Search, name_of, style_of
from pgguard.directory.membership import Membership, membership
from pgguard.directory.settings import DirectorySettings
from pgguard.directory.user_filter import UserFilter

_T = TypeVar("_T")

_AT_ONCE = 100
"""Users asked for in one search: servers bound the size of a filter."""

_IN_CHAIN = "1.2.840.113556.1.4.1941"
"""LDAP_MATCHING_RULE_IN_CHAIN (Active Directory technical specification, MS-ADTS 3.1.1.3.4.4.3)."""

_STEPS = 4
"""Calls that a fetch makes of each server, each with the configured time limit: bind, users, disabled ones, groups."""


def time_limit(settings: DirectorySettings) -> float:
    """Seconds that one fetch may take, whatever the servers do."""
    return settings.timeout * _STEPS * len(settings.uris)


class LdapSource:
    def __init__(self, settings: DirectorySettings) -> None:
        self._settings = settings
        self._filter = UserFilter(settings.user_filter)
        self._names = NormalNames()
        self._groups = Groups(settings, self._names)
        self._connection: LdapConnection | None = None
        self._servers = list(settings.uris)

    @property
    def origin(self) -> str:
        """The server that answered last, or will be asked first."""
        return self._servers[0]

    def fetch(self, users: Iterable[str]) -> dict[str, Membership]:
        """The memberships of these users. Raises DirectoryError."""
        wanted = list(users)
        return self._look(lambda search: self._fetch(search).memberships(wanted))

    def groups(self) -> frozenset[str]:
        """The names of all groups there are. Raises DirectoryError."""
        return self._look(lambda search: self._groups.read(search).names)

    def _fetch(self, search: Search) -> "_Fetch":
        return _Fetch(self._settings, self._filter, self._names, self._groups, search)

    def _look(self, work: Callable[[Search], _T]) -> _T:
        deadline = Deadline(time_limit(self._settings))
        kept = self._connection is not None
        try:
            try:
                return work(self._search(deadline))
            except ldap.SERVER_DOWN:
                if not kept:
                    raise
                self.close()  # the server may have been restarted since the last look
                return work(self._search(deadline))
        except ldap.LDAPError as error:
            self.close()
            raise DirectoryError(f"{self.origin}: {in_words(error)}") from error
        except DirectoryError:
            self.close()
            raise

    def _search(self, deadline: Deadline) -> Search:
        connection = self._connection or self._connect(deadline)
        self._connection = connection

        def search(base: str, query: str, attributes: list[str]) -> list[Entry]:
            return connection.search(base, query, attributes, deadline)

        return search

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self, deadline: Deadline) -> LdapConnection:
        """The first server that lets us in; it comes first from then on."""
        problems = []
        for uri in tuple(self._servers):
            try:
                return LdapConnection(self._settings, uri, deadline)
            except (ldap.LDAPError, DirectoryError) as error:
                words = in_words(error) if isinstance(error, ldap.LDAPError) else str(error)
                problems.append(f"{uri}: {words}")
                self._servers.append(self._servers.pop(0))
        raise DirectoryError("no LDAP server answers: " + "; ".join(problems))


class _Fetch:
    """One look at the directory: all that it tells was read in this look."""

    def __init__(
        self, settings: DirectorySettings, users: UserFilter, names: NormalNames, groups: Groups, search: Search
    ) -> None:
        self._settings = settings
        self._filter = users
        self._normal = names
        self._groups = groups
        self._search = search

    def memberships(self, users: Sequence[str]) -> dict[str, Membership]:
        entries = self._entries(users)
        disabled = self._disabled(users)
        asks_each = self._settings.groups == "active_directory"
        graph = None if asks_each or not entries else self._groups.read(self._search)
        return {user: self._membership(user, entries.get(user, []), disabled, graph) for user in users}

    def _entries(self, users: Sequence[str]) -> dict[str, list[Entry]]:
        """The entries that belong to each user: one, where the directory is in order."""
        wanted = {key: user for user in users for key in self._filter.keys(user)}
        attributes = [*self._filter.attributes, *style_of(self._settings).of_users]
        found: dict[str, dict[str, Entry]] = {}
        for part in _parts(users):
            for dn, values in self._search(self._settings.where_users_are, self._filter.query(part), attributes):
                for user in {wanted[key] for key in self._filter.keys_of_entry(values) if key in wanted}:
                    found.setdefault(user, {})[dn] = (dn, values)
        return {user: list(entries.values()) for user, entries in found.items()}

    def _disabled(self, users: Sequence[str]) -> frozenset[str]:
        """The DNs of those among them whose account is locked."""
        locked = self._settings.disabled_filter
        if not locked:
            return frozenset()
        found = (
            self._search(self._settings.where_users_are, f"(&{locked}{self._filter.query(part)})", ["1.1"])
            for part in _parts(users)
        )
        return frozenset(self._normal(dn.encode()) for entries in found for dn, _ in entries)

    def _membership(
        self, user: str, entries: list[Entry], disabled: frozenset[str], graph: GroupGraph | None
    ) -> Membership:
        if not entries:
            return Membership(user, found=False)
        if len(entries) > 1:
            # whose groups would count? nobody can tell, so none are known
            names = " and ".join(f'"{dn}"' for dn, _ in entries)
            return Membership(user, None, problem=f'user_filter finds more than one entry for "{user}": {names}')
        dn, values = entries[0]
        if self._normal(dn.encode()) in disabled:
            return membership(user, {}, dn, disabled=True)
        return membership(user, self._in_chain(dn) if graph is None else graph.of(dn, values), dn)

    def _in_chain(self, dn: str) -> Mapping[str, tuple[str, ...]]:
        """Active Directory resolves the nesting itself; it does not tell the path."""
        style = style_of(self._settings)
        query = ldap.filter.filter_format(f"(&{style.group_filter}(member:{_IN_CHAIN}:=%s))", [dn])
        attribute = self._settings.group_name.lower()
        found = self._search(self._settings.where_groups_are, query, [attribute])
        names = (name_of(group, values.get(attribute, ())) for group, values in found)
        return {name: (name,) for name in names}


def _parts(users: Sequence[str]) -> Iterator[Sequence[str]]:
    return (users[start : start + _AT_ONCE] for start in range(0, len(users), _AT_ONCE))
