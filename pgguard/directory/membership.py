"""Memberships as values, and the closure over nested groups."""

from collections.abc import Iterable, Mapping

import msgspec


class Membership(msgspec.Struct, frozen=True):
    """What the directory knows of one user.

    `groups`: lower case, sorted, nesting resolved; None where nobody can tell, so that whatever depends on a group
    fails closed. A user whom the directory does not know (`found` is False) and one who is `disabled` are in no group.
    `paths`: for each group, the chain of groups by which the user is in it, nearest first. `where`: the entry or line
    that was found. `as_of`: when the directory was asked, by the clock of whoever keeps this; what was asked later
    may be newer, and never is older. `problem`: why `groups` is None, where the directory did answer.
    """

    user: str
    groups: tuple[str, ...] | None = ()
    disabled: bool = False
    found: bool = True
    paths: Mapping[str, tuple[str, ...]] = {}
    where: str = ""
    as_of: float = 0.0
    problem: str = ""

    def tells_the_same(self, other: "Membership") -> bool:
        """Whether both lead to the same decisions."""
        return (self.groups, self.disabled, self.found) == (other.groups, other.disabled, other.found)


def closure(direct: Iterable[str], parents: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """All groups reached from `direct` by going from group to the groups it is in, each with its shortest path.

    # INVARIANT: it ends, also where groups are members of each other: no group is gone through twice.
    """
    paths: dict[str, tuple[str, ...]] = {}
    level: dict[str, tuple[str, ...]] = {group: (group,) for group in direct}
    while level:
        paths |= level
        level = {
            parent: (*path, parent) for group, path in level.items() for parent in parents.get(group, ())
            if parent not in paths
        }  # fmt: skip
    return paths


def membership(user: str, paths: Mapping[str, tuple[str, ...]], where: str, *, disabled: bool = False) -> Membership:
    """A user who was found. A disabled account is in no group."""
    if disabled:
        return Membership(user, disabled=True, where=where)
    lowered = {group.lower(): path for group, path in paths.items()}
    return Membership(user, tuple(sorted(lowered)), paths=lowered, where=where)
