"""The groups of an LDAP directory as a graph: who is in which group directly, and which group is in which.

Theory of operation. All groups below the group base are read whole at each poll, so nothing of an older answer is ever
mixed into a newer one. That is on purpose: when an entry is deleted or renamed, OpenLDAP's memberOf overlay changes the
groups it was in without a new entryCSN or modifyTimestamp, so a reader that fetched only what looks changed would keep
a deleted user's groups for the next one of that name. Most polls bring the very same, or all but a few groups: what was
worked out of the others' entries, compared in full, serves again. Only groups that were read count: a memberOf that
points out of the group base gives nothing.
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
_Values = Mapping[str, list[bytes]]


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
        self._read: list[Entry] = []
        self._graph = GroupGraph(settings.group_name, names)

    def read(self, search: Search) -> "GroupGraph":
        style = style_of(self._settings)
        attributes = [self._settings.group_name, *style.of_groups]
        found = search(self._settings.where_groups_are, style.group_filter, attributes)
        if found != self._read:
            graph, self._graph = self._graph, GroupGraph(self._settings.group_name, self._normal)
            self._read = []  # what breaks half-way is made anew
            graph.take(found)
            self._graph, self._read = graph, found
        return self._graph


class GroupGraph:
    """`name_attribute`: which attribute of a group names it."""

    def __init__(self, name_attribute: str, names: NormalNames) -> None:
        self._name_attribute = name_attribute.lower()
        self._normal = names
        self._entries: Mapping[str, _Values] = {}
        self._names: dict[str, str] = {}
        self._groups_of: dict[str, list[str]] = {}
        """From a member (its DN, or what `_posix_keys` makes) to the groups that name it."""
        self._outer: dict[str, frozenset[str]] = {}
        """From a group to those that its own entry names."""
        self._above: dict[str, tuple[str, ...]] | None = None
        """From a group to all that it is in; None where that is to be worked out."""
        self._closures: dict[frozenset[str], dict[str, tuple[str, ...]]] = {}

    def take(self, found: Iterable[Entry]) -> None:
        """The entries of all groups there are now. What they change among groups makes all closures anew."""
        entries = dict(found)
        for dn, before in self._entries.items():
            if dn not in entries:
                self._change(dn, before, None)
        for dn, values in entries.items():
            known = self._entries.get(dn)
            if known != values:
                self._change(dn, known, values)
        self._entries = entries

    def _change(self, dn: str, before: _Values | None, after: _Values | None) -> None:
        group = self._normal(dn.encode())
        name = None if after is None else name_of(dn, after.get(self._name_attribute, ()))
        among_groups = name != self._names.get(group)
        if name is None:
            del self._names[group]
        else:
            self._names[group] = name
        old, new = self._members(before), self._members(after)
        for member in old - new:
            self._groups_of[member].remove(group)
            if not self._groups_of[member]:
                del self._groups_of[member]
        for member in new - old:
            self._groups_of.setdefault(member, []).append(group)
        outer = frozenset(self._normal(one) for one in (after or {}).get("memberof", ()))
        among_groups = among_groups or outer != self._outer.get(group, frozenset())
        self._outer[group] = outer
        if among_groups or not self._names.keys().isdisjoint(old ^ new):
            self._above = None
            self._closures.clear()

    def _members(self, values: _Values | None) -> frozenset[str]:
        if values is None:
            return frozenset()
        named = (member for attribute in ("member", "uniquemember") for member in values.get(attribute, ()))
        keys = _posix_keys(values.get("memberuid", ()), values.get("gidnumber", ()))
        return frozenset((*map(self._normal, named), *keys))

    @property
    def names(self) -> frozenset[str]:
        """The names of all groups."""
        return frozenset(self._names.values())

    def of(self, dn: str, values: Mapping[str, list[bytes]]) -> Mapping[str, tuple[str, ...]]:
        """The groups of the user with this entry: the name of each, with the path of names that leads to it."""
        direct = {
            *self._groups_of.get(self._normal(dn.encode()), ()),
            *(self._normal(group) for group in values.get("memberof", ())),
        }
        for key in _posix_keys(values.get("uid", ()), values.get("gidnumber", ())):
            direct.update(self._groups_of.get(key, ()))
        return self._named_closure(frozenset(direct & self._names.keys()))

    def _named_closure(self, direct: frozenset[str]) -> dict[str, tuple[str, ...]]:
        """Many users are in the same groups: each combination is gone through once."""
        known = self._closures.get(direct)
        if known is None:
            if len(self._closures) >= _COMBINATIONS:
                self._closures.clear()
            reached = closure(sorted(direct), self._all_above())
            known = {self._names[group]: tuple(self._names[step] for step in path) for group, path in reached.items()}
            self._closures[direct] = known
        return known

    def _all_above(self) -> Mapping[str, tuple[str, ...]]:
        if self._above is None:
            self._above = {
                group: tuple(
                    up
                    for up in dict.fromkeys((*self._groups_of.get(group, ()), *self._outer[group]))
                    if up in self._names
                )
                for group in self._names
            }
        return self._above


def name_of(dn: str, values: Sequence[bytes]) -> str:
    """A group's one name: of several values the one in its DN, since LDAP gives them in any order (RFC 4511, 4.1.7)."""
    names = sorted(value.decode("utf-8", "replace") for value in values)
    in_dn = first_value(dn)
    return names[0] if names and in_dn not in names else in_dn


def _posix_keys(uids: Iterable[bytes], gids: Iterable[bytes]) -> list[str]:
    """A memberUid compares exactly; the primary group is the one with the user's own gidNumber (RFC 2307)."""
    exact = [f"memberUid:{uid.decode('utf-8', 'replace')}" for uid in uids]
    return [*exact, *(f"gidNumber:{gid.decode('utf-8', 'replace')}" for gid in gids)]
