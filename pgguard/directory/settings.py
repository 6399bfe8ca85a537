"""Where groups come from, and how fresh they must be."""

from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from pgguard.directory.user_filter import UserFilter


class DirectorySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`kind` "static": `path` is a YAML file of users and groups. `kind` "ldap": the rest, see docs/directory.md.

    `bind_dn` binds with a password; `sasl_gssapi` with a ticket of `principal`, got from `keytab`; neither: anonymous.
    `groups`: "groupofnames" reads groupOfNames and groupOfUniqueNames, nested; "memberof" the memberOf of users and
    groups; "posixgroup" memberUid and the primary group; "active_directory" asks with the in-chain rule.
    `group_filter`: which entries are groups; empty: by object class, as `groups` says. `user_filter`: `{user}` is the
    escaped login name. `disabled_filter`: matches accounts that are locked.
    `timeout`: for each thing the server is asked. `refresh`: seconds between polls. `max_stale`: after so many seconds
    without an answer nobody's groups are known. `syncrepl`: be told of changes at once, where the server does that.
    `on_revoke`: what else happens, beside that statements are refused, when a user loses a group or the account.
    """

    kind: Literal["ldap", "static"]
    path: Path | None = None
    uri: str | tuple[str, ...] = "ldap://localhost"
    base: str = ""
    user_base: str = ""
    group_base: str = ""
    bind_dn: str = ""
    bind_password: str = ""
    bind_password_file: Path | None = None
    sasl_gssapi: bool = False
    keytab: Path | None = None
    principal: str = ""
    start_tls: bool = False
    ca_file: Path | None = None
    user_filter: str = "(uid={user})"
    disabled_filter: str = ""
    groups: Literal["groupofnames", "memberof", "posixgroup", "active_directory"] = "groupofnames"
    group_filter: str = ""
    group_name: str = "cn"
    timeout: float = 3.0
    refresh: float = 2.0
    syncrepl: bool = True
    max_stale: float = 300.0
    on_revoke: Literal["refuse", "cancel", "terminate"] = "refuse"

    def __post_init__(self) -> None:
        """Raises ValueError, which msgspec tells with the section."""
        if self.kind == "static":
            if self.path is None:
                raise ValueError('kind = "static" needs "path", a YAML file of users and groups')
        else:
            self._check_ldap()
        for name in ("timeout", "refresh", "max_stale"):
            if getattr(self, name) <= 0:
                raise ValueError(f'"{name}" must be above zero')

    def _check_ldap(self) -> None:
        UserFilter(self.user_filter)
        for uri in self.uris:
            if not uri.startswith(("ldap://", "ldaps://")):
                raise ValueError(f'uri "{uri}" does not begin with ldap:// or ldaps://')
            if self.start_tls and uri.startswith("ldaps:"):
                raise ValueError(f'"start_tls" is for ldap://, and "{uri}" is TLS from the first byte')
        if not self.uris:
            raise ValueError('"uri" names no server')
        if not self.base and not (self.user_base and self.group_base):
            raise ValueError('kind = "ldap" needs "base", like dc=example,dc=com')
        self._check_bind()

    def _check_bind(self) -> None:
        if self.bind_dn and self.sasl_gssapi:
            raise ValueError('"bind_dn" and "sasl_gssapi" are two ways to bind; choose one')
        if self.sasl_gssapi and self.keytab is None:
            raise ValueError('"sasl_gssapi" needs "keytab", with a key of the principal that pgguard binds as')
        if self.bind_dn and not self.bind_password and self.bind_password_file is None:
            # an empty password would be an anonymous bind that succeeds (RFC 4513, section 5.1.2)
            raise ValueError('"bind_dn" needs "bind_password_file" or "bind_password"')

    @property
    def uris(self) -> tuple[str, ...]:
        return (self.uri,) if isinstance(self.uri, str) else self.uri

    @property
    def unprotected(self) -> tuple[str, ...]:
        """The servers whose answers anybody on the way could change, and who decide about everybody's rights."""
        if self.kind != "ldap" or self.start_tls or self.sasl_gssapi:
            return ()
        return tuple(uri for uri in self.uris if uri.startswith("ldap:") and not _is_loopback(uri))

    @property
    def listens(self) -> bool:
        """Whether the server is asked to tell of changes; Active Directory has no syncrepl."""
        return self.kind == "ldap" and self.syncrepl and self.groups != "active_directory"

    @property
    def tells_disabled(self) -> bool:
        """Whether accounts may be disabled in the directory, so that its silence leaves open if one is."""
        return self.kind == "static" or bool(self.disabled_filter)

    @property
    def where_users_are(self) -> str:
        return self.user_base or self.base

    @property
    def where_groups_are(self) -> str:
        return self.group_base or self.base


def _is_loopback(uri: str) -> bool:
    host = urlsplit(uri).hostname or "localhost"
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
