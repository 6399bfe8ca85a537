"""Where groups come from, and how fresh they must be."""

from pathlib import Path
from typing import Literal

import msgspec


class DirectorySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`kind` "static": `path` is a YAML file of users and groups. `kind` "ldap": the rest.

    `bind_dn` empty: `sasl_gssapi` true binds with the proxy's own ticket, else anonymously. `user_filter`: `{user}` is
    the escaped login name. `groups`: "member" reads groupOfNames and groupOfUniqueNames, nested;
    "memberof" the users' memberOf; "posix" posixGroup by memberUid; "active-directory" asks with the in-chain rule.
    `disabled_filter`: matches accounts that are locked. `refresh`: seconds between polls; `max_stale`: after so many
    without an answer nobody's groups are known any more.
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
    start_tls: bool = False
    ca_file: Path | None = None
    user_filter: str = "(uid={user})"
    groups: Literal["member", "memberof", "posix", "active-directory"] = "member"
    group_name: str = "cn"
    disabled_filter: str = ""
    timeout: float = 3.0
    refresh: float = 2.0
    max_stale: float = 300.0

    @property
    def uris(self) -> tuple[str, ...]:
        return (self.uri,) if isinstance(self.uri, str) else self.uri
