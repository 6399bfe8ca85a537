"""People and groups in an LDAP directory: what a lab adds and takes away while sessions are open."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import ldap
import ldap.dn
import ldap.modlist

from pgguard.lab.errors import LabError
from pgguard.lab.people import People

_PATIENCE_SECONDS = 10

Record = tuple[str, Mapping[str, Sequence[str]]]
"""An entry: its DN and its attributes."""


class Entries:
    """Changes made with the manager's rights. People are inetOrgPerson by uid, groups groupOfNames by cn.

    The schema demands a member of every group: the manager stands in each, so that the last real one can leave.
    """

    def __init__(self, uri: str, base: str, admin_dn: str, admin_password: str) -> None:
        self.uri = uri
        self.base = base
        self.admin_dn = admin_dn
        self.admin_password = admin_password

    def connect(self) -> Any:
        """A python-ldap connection bound as the manager."""
        connection = ldap.initialize(self.uri)
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, _PATIENCE_SECONDS)
        connection.set_option(ldap.OPT_TIMEOUT, _PATIENCE_SECONDS)
        connection.simple_bind_s(self.admin_dn, self.admin_password)
        return connection

    def user_dn(self, user: str) -> str:
        return f"uid={ldap.dn.escape_dn_chars(user)},ou=people,{self.base}"

    def group_dn(self, group: str) -> str:
        return f"cn={ldap.dn.escape_dn_chars(group)},ou=groups,{self.base}"

    def layout(self) -> Iterator[Record]:
        """What stands above people and groups."""
        yield self.base, {"objectClass": ["dcObject", "organization"], "o": ["pgguard lab"], "dc": [_first(self.base)]}
        for unit in ("people", "groups"):
            yield f"ou={unit},{self.base}", {"objectClass": ["organizationalUnit"], "ou": [unit]}

    def user(self, user: str, **attributes: Sequence[str]) -> Record:
        entry = {"objectClass": ["inetOrgPerson"], "uid": [user], "cn": [user], "sn": [user], **attributes}
        return self.user_dn(user), entry

    def group(self, group: str, users: Iterable[str] = (), groups: Iterable[str] = ()) -> Record:
        members = [self.admin_dn, *map(self.user_dn, users), *map(self.group_dn, groups)]
        return self.group_dn(group), {"objectClass": ["groupOfNames"], "cn": [group], "member": members}

    def lay_out(self) -> None:
        self.add_many(self.layout())

    def add_user(self, user: str, password: str | None = None, **attributes: Sequence[str]) -> None:
        secret = {} if password is None else {"userPassword": [password]}
        self.add_many([self.user(user, **secret, **attributes)])

    def add_group(self, group: str, users: Iterable[str] = (), groups: Iterable[str] = ()) -> None:
        self.add_many([self.group(group, users, groups)])

    def add_people(self, people: People) -> None:
        """All of a directory file."""
        for group in people.all_groups():
            self.add_group(group)
        for group in people.groups:
            for outer in people.outer_groups_of(group):
                self.nest(group, outer)
        for user in people.users:
            self.add_user(user, people.password_of(user))
            for group in people.groups_of(user):
                self.add_to_group(user, group)

    def add_to_group(self, user: str, group: str) -> None:
        self._change_member(ldap.MOD_ADD, group, self.user_dn(user))

    def remove_from_group(self, user: str, group: str) -> None:
        self._change_member(ldap.MOD_DELETE, group, self.user_dn(user))

    def nest(self, inner: str, outer: str) -> None:
        """Make a group a member of another."""
        self._change_member(ldap.MOD_ADD, outer, self.group_dn(inner))

    def delete(self, dn: str) -> None:
        with _Session(self) as connection:
            connection.delete_s(dn)

    def modify(self, dn: str, changes: Sequence[tuple[int, str, Sequence[str] | None]]) -> None:
        """As LDAPObject.modify_s, with text for values."""
        encoded = [(op, name, None if values is None else _encode(values)) for op, name, values in changes]
        with _Session(self) as connection:
            connection.modify_s(dn, encoded)

    def add(self, dn: str, **attributes: Sequence[str]) -> None:
        record = {name: _encode(values) for name, values in attributes.items()}
        with _Session(self) as connection:
            connection.add_s(dn, ldap.modlist.addModlist(record))

    def add_many(self, entries: Iterable[Record]) -> None:
        """Many entries over one connection."""
        with _Session(self) as connection:
            for dn, attributes in entries:
                record = {name: _encode(values) for name, values in attributes.items()}
                connection.add_s(dn, ldap.modlist.addModlist(record))

    def _change_member(self, operation: int, group: str, member: str) -> None:
        try:
            self.modify(self.group_dn(group), [(operation, "member", [member])])
        except ldap.NO_SUCH_OBJECT:
            raise LabError(f'the directory has no group "{group}"') from None
        except ldap.NO_SUCH_ATTRIBUTE:
            raise LabError(f'"{member}" is no member of group "{group}"') from None
        except ldap.TYPE_OR_VALUE_EXISTS:
            raise LabError(f'"{member}" is already a member of group "{group}"') from None


class _Session:
    """A connection for the length of a `with`."""

    def __init__(self, entries: Entries) -> None:
        self._connection = entries.connect()

    def __enter__(self) -> Any:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.unbind_s()


def _first(dn: str) -> str:
    return str(ldap.dn.str2dn(dn)[0][0][1])


def _encode(values: Sequence[str]) -> list[bytes]:
    return [value.encode() for value in values]
