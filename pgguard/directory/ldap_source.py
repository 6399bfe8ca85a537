"""LDAP as a source of memberships: one connection, used by one thread at a time.

Every call has a time limit: python-ldap's own are infinite (field notes, section 5). Referrals are not followed; a
result that a size limit has cut is a failure, not an answer. A connection that has failed is dropped, and the next
fetch tries the servers in turn again.
"""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import ldap
import ldap.controls
import ldap.dn
import ldap.filter
import ldap.sasl

from pgguard.directory.membership import Membership, closure, membership
from pgguard.directory.settings import DirectorySettings
from pgguard.directory.static import DirectoryError

_PAGE = 500
_AT_ONCE = 100
"""Users asked for in one search: a filter has its limits."""

_IN_CHAIN = "1.2.840.113556.1.4.1941"
"""Active Directory's matching rule "in chain"."""

_GROUP_FILTER = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))"


class LdapSource:
    def __init__(self, settings: DirectorySettings) -> None:
        self._settings = settings
        self._connection: Any = None

    def fetch(self, users: Iterable[str]) -> dict[str, Membership]:
        """The memberships of these users. Blocks, up to the time limit for each call. Raises DirectoryError."""
        wanted = list(users)
        try:
            return self._fetch(wanted)
        except ldap.LDAPError as error:
            self.close()
            raise DirectoryError(_in_words(error)) from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(ldap.LDAPError):  # it may be gone already
                connection.unbind_ext_s()

    def _fetch(self, users: list[str]) -> dict[str, Membership]:
        if self._connection is None:
            self._connection = self._connect()
        entries: dict[str, tuple[str, Mapping[str, list[bytes]]]] = {}
        for start in range(0, len(users), _AT_ONCE):
            entries |= self._users(users[start : start + _AT_ONCE])
        disabled = self._disabled(users) if self._settings.disabled_filter else frozenset()
        groups = self._all_groups() if self._settings.groups in {"member", "posix"} else None
        return {user: self._membership(user, entries.get(user), disabled, groups) for user in users}

    # connecting

    def _connect(self) -> Any:
        problems = []
        for uri in self._settings.uris:
            try:
                return self._bind(uri)
            except ldap.LDAPError as error:
                problems.append(f"{uri}: {_in_words(error)}")
        raise DirectoryError("no LDAP server answers: " + "; ".join(problems))

    def _bind(self, uri: str) -> Any:
        settings = self._settings
        connection = ldap.initialize(uri)
        connection.protocol_version = ldap.VERSION3
        connection.set_option(ldap.OPT_REFERRALS, 0)
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, settings.timeout)
        connection.set_option(ldap.OPT_TIMEOUT, settings.timeout)
        if settings.ca_file is not None:
            connection.set_option(ldap.OPT_X_TLS_CACERTFILE, str(settings.ca_file))
        connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)  # last: it makes the context of all that was set
        if settings.start_tls:
            connection.start_tls_s()
        if settings.sasl_gssapi:
            connection.sasl_interactive_bind_s("", ldap.sasl.gssapi())
        elif settings.bind_dn:
            connection.simple_bind_s(settings.bind_dn, self._password())
        return connection

    def _password(self) -> str:
        path = self._settings.bind_password_file
        password = self._settings.bind_password if path is None else path.read_text(encoding="utf-8").strip()
        if not password:  # an empty password would be an anonymous bind that succeeds (RFC 4513, section 5.1.2)
            raise DirectoryError("[directory] bind_dn without bind_password or bind_password_file")
        return password

    # searching

    def _search(self, base: str, query: str, attributes: list[str]) -> list[tuple[str, dict[str, list[bytes]]]]:
        """All entries, page by page."""
        found: list[tuple[str, dict[str, list[bytes]]]] = []
        page = ldap.controls.SimplePagedResultsControl(criticality=True, size=_PAGE, cookie="")
        while True:
            number = self._connection.search_ext(base, ldap.SCOPE_SUBTREE, query, attributes, serverctrls=[page])
            _, entries, _, controls = self._connection.result3(number, timeout=self._settings.timeout)
            found += [entry for entry in entries if entry[0] is not None]
            cookies = [c.cookie for c in controls if c.controlType == page.controlType]
            if not cookies or not cookies[0]:
                return found
            page.cookie = cookies[0]

    def _user_query(self, users: list[str]) -> str:
        each = (ldap.filter.filter_format(self._settings.user_filter.replace("{user}", "%s"), [user]) for user in users)
        return f"(|{''.join(each)})"

    def _users(self, users: list[str]) -> dict[str, tuple[str, Mapping[str, list[bytes]]]]:
        """The entry of each user: the one that its own filter finds, by the attribute that the filter names."""
        attribute = self._settings.user_filter.strip("(").partition("=")[0]
        entries = self._search(self._user_base, self._user_query(users), [attribute, "memberOf"])
        named: dict[str, tuple[str, Mapping[str, list[bytes]]]] = {}
        for dn, values in entries:
            lowered = {key.lower(): value for key, value in values.items()}
            for name in lowered.get(attribute.lower(), ()):
                named[name.decode("utf-8", "replace")] = (dn, lowered)
        return {user: named[user] for user in users if user in named}

    def _disabled(self, users: list[str]) -> frozenset[str]:
        query = f"(&{self._settings.disabled_filter}{self._user_query(users)})"
        return frozenset(_normal(dn) for dn, _ in self._search(self._user_base, query, ["1.1"]))

    @property
    def _user_base(self) -> str:
        return self._settings.user_base or self._settings.base

    # groups

    def _all_groups(self) -> "_Groups":
        base = self._settings.group_base or self._settings.base
        posix = self._settings.groups == "posix"
        query = "(objectClass=posixGroup)" if posix else _GROUP_FILTER
        members = ["memberUid"] if posix else ["member", "uniqueMember"]
        return _Groups(self._search(base, query, [self._settings.group_name, *members]), self._settings.group_name)

    def _membership(
        self,
        user: str,
        entry: tuple[str, Mapping[str, list[bytes]]] | None,
        disabled: frozenset[str],
        groups: "_Groups | None",
    ) -> Membership:
        if entry is None:
            return Membership(user, found=False)
        dn, values = entry
        if _normal(dn) in disabled:
            return membership(user, {}, disabled=True)
        if groups is not None:
            return membership(user, groups.of(_normal(dn), user))
        if self._settings.groups == "memberof":
            names = [_first_value(group.decode("utf-8", "replace")) for group in values.get("memberof", ())]
            return membership(user, {name: (name,) for name in names})
        query = ldap.filter.filter_format(f"(member:{_IN_CHAIN}:=%s)", [dn])
        base = self._settings.group_base or self._settings.base
        found = self._search(base, query, [self._settings.group_name])
        names = [_first_value(group) for group, _ in found]
        return membership(user, {name: (name,) for name in names})


class _Groups:
    """All groups of the directory, turned around: from a member to the groups it is in."""

    def __init__(self, entries: list[tuple[str, dict[str, list[bytes]]]], name_attribute: str) -> None:
        self._names: dict[str, str] = {}
        self._parents: dict[str, list[str]] = {}
        for dn, values in entries:
            lowered = {key.lower(): value for key, value in values.items()}
            group = _normal(dn)
            names = lowered.get(name_attribute.lower())
            self._names[group] = names[0].decode("utf-8", "replace") if names else _first_value(dn)
            for attribute in ("member", "uniquemember"):
                for member in lowered.get(attribute, ()):
                    self._parents.setdefault(_normal(member.decode("utf-8", "replace")), []).append(group)
            for uid in lowered.get("memberuid", ()):
                self._parents.setdefault(uid.decode("utf-8", "replace"), []).append(group)

    def of(self, dn: str, uid: str) -> dict[str, tuple[str, ...]]:
        direct = [*self._parents.get(dn, ()), *self._parents.get(uid, ())]
        paths = closure(direct, self._parents)
        return {self._names[group]: tuple(self._names[step] for step in path) for group, path in paths.items()}


def _normal(dn: str) -> str:
    """A DN in one spelling: no spaces around the parts, lower case (RFC 4514)."""
    try:
        parts = ldap.dn.str2dn(dn)
    except ldap.DECODING_ERROR:
        return dn.lower()
    return str(ldap.dn.dn2str([[(key.lower(), value.lower(), kind) for key, value, kind in rdn] for rdn in parts]))


def _first_value(dn: str) -> str:
    """The value of a DN's first part: `analysts` of cn=analysts,ou=groups,…"""
    try:
        return str(ldap.dn.str2dn(dn)[0][0][1])
    except (ldap.DECODING_ERROR, IndexError):
        return dn


def _in_words(error: ldap.LDAPError) -> str:
    details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    parts = [str(details[key]) for key in ("desc", "info") if details.get(key)]
    return ": ".join(parts) or type(error).__name__
