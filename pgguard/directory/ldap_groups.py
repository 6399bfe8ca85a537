"""The groups of an LDAP directory as a graph: who is in which group directly, and which group is in which.

Theory of operation. All groups below the group base are read whole at each poll, so nothing of an older answer is ever
mixed into a newer one. That is on purpose: when an entry is deleted or renamed, OpenLDAP's memberOf overlay changes the
groups it was in without a new entryCSN or modifyTimestamp, so a reader that fetched only what looks changed would keep
a deleted user's groups for the next one of that name. Most polls bring the very same, which is found by comparing it
whole: then the graph that was made of it is used again. Only groups that were read count: a memberOf that points out of
the group base gives nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from pgguard.directory.distinguished_names import NormalNames, first_value
from pgguard.directory.ldap_connection import Entry
from pgguard.directory.membership import closure
from pgguard.directory.settings import DirectorySettings

_COMBINATIONS = 10_000
"""Different sets of direct groups whose closures a graph remembers."""

Search = Callable[[str, str, list[str]], list[Entry]]


class Style(msgspec.Struct, frozen=True):
    """What a group is, and by which attributes, of groups or of users, one is in it."""

    group_filter: str
    of_groups: tuple[str, ...] = ()
    of_users: tuple[str, ...] = ()


_NAMED = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=group))"
_STYLES = {
    "groupofnames": Style(_NAMED, ("member", "uniqueMember")),
    "memberof": Style(_NAMED, ("memberOf",), ("memberOf",)),
    "posixgroup": Style("(objectClass=posixGroup)", ("memberUid", "gidNumber"), ("uid", "gidNumber")),
    "active_directory": Style("(objectClass=group)"),
}


def style_of(settings: DirectorySettings) -> Style:
    style = _STYLES[settings.groups]
    return msgspec.structs.replace(style, group_filter=settings.group_filter or style.group_filter)


class Groups:
    """Reads the groups, and keeps the graph of what it read last. `names`: what makes DNs comparable."""

    def __init__(self, settings: DirectorySettings, names: NormalNames) -> None:
        self._settings = settings
        self._normal = names
        self._read: list[Entry] | None = None
        self._graph = GroupGraph([], settings.group_name, names)

    def read(self, search: Search) -> "GroupGraph":
        style = style_of(self._settings)
        attributes = [self._settings.group_name, *style.of_groups]
        found = search(self._settings.where_groups_are, style.group_filter, attributes)
        if found != self._read:
            self._graph = GroupGraph(found, self._settings.group_name, self._normal)
            self._read = found
        return self._graph


class GroupGraph:
    """`found`: the entries of all groups; `name_attribute`: which of theirs names them."""

    def __init__(self, found: Iterable[Entry], name_attribute: str, names: NormalNames) -> None:
        self._normal = names
        self._names: dict[str, str] = {}
        self._parents: dict[str, list[str]] = {}
        """From a member (its DN, or what `_posix_keys` makes) to the groups it is in."""
        self._closures: dict[frozenset[str], dict[str, tuple[str, ...]]] = {}
        for dn, values in found:
            self._add(names(dn.encode()), dn, values, name_attribute)
        for member, groups in self._parents.items():
            self._parents[member] = [group for group in groups if group in self._names]

    def _add(self, group: str, dn: str, values: Mapping[str, list[bytes]], name_attribute: str) -> None:
        self._names[group] = name_of(dn, values.get(name_attribute.lower(), ()))
        for attribute in ("member", "uniquemember"):
            for member in values.get(attribute, ()):
                self._parents.setdefault(self._normal(member), []).append(group)
        for key in _posix_keys(values.get("memberuid", ()), values.get("gidnumber", ())):
            self._parents.setdefault(key, []).append(group)
        for outer in values.get("memberof", ()):
            self._parents.setdefault(group, []).append(self._normal(outer))

    @property
    def names(self) -> frozenset[str]:
        """The names of all groups."""
        return frozenset(self._names.values())

    def of(self, dn: str, values: Mapping[str, list[bytes]]) -> Mapping[str, tuple[str, ...]]:
        """The groups of the user with this entry: the name of each, with the path of names that leads to it."""
        direct = {
            *self._parents.get(self._normal(dn.encode()), ()),
            *(self._normal(group) for group in values.get("memberof", ())),
        }
        for key in _posix_keys(values.get("uid", ()), values.get("gidnumber", ())):
            direct.update(self._parents.get(key, ()))
        return self._named_closure(frozenset(direct & self._names.keys()))

    def _named_closure(self, direct: frozenset[str]) -> dict[str, tuple[str, ...]]:
        """Many users are in the same groups: each combination is gone through once."""
        known = self._closures.get(direct)
        if known is None:
            if len(self._closures) >= _COMBINATIONS:
                self._closures.clear()
            reached = closure(sorted(direct), self._parents)
            known = {self._names[group]: tuple(self._names[step] for step in path) for group, path in reached.items()}
            self._closures[direct] = known
        return known


def name_of(dn: str, values: Sequence[bytes]) -> str:
    """A group's one name: of several values the one in its DN, since LDAP gives them in any order (RFC 4511, 4.1.7)."""
    names = sorted(value.decode("utf-8", "replace") for value in values)
    in_dn = first_value(dn)
    return names[0] if names and in_dn not in names else in_dn


def _posix_keys(uids: Iterable[bytes], gids: Iterable[bytes]) -> list[str]:
    """A memberUid compares exactly; the primary group is the one with the user's own gidNumber (RFC 2307)."""
    exact = [f"memberUid:{uid.decode('utf-8', 'replace')}" for uid in uids]
    return [*exact, *(f"gidNumber:{gid.decode('utf-8', 'replace')}" for gid in gids)]
