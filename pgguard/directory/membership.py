"""Memberships as values, and the closure over nested groups."""

from collections.abc import Iterable, Mapping

import msgspec


class Membership(msgspec.Struct, frozen=True):
    """What the directory knows of one user. `groups`: lower case, sorted, nesting resolved.

    `paths`: for each group, the chain of groups by which the user is in it, nearest first.
    """

    user: str
    groups: tuple[str, ...] = ()
    disabled: bool = False
    found: bool = True
    paths: Mapping[str, tuple[str, ...]] = {}


def closure(direct: Iterable[str], parents: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """All groups reached from `direct` by going from group to the groups it is in, each with its path. Cycles end."""
    paths: dict[str, tuple[str, ...]] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [(group, (group,)) for group in direct]
    while waiting:
        group, path = waiting.pop(0)
        if group not in paths:
            paths[group] = path
            waiting += [(parent, (*path, parent)) for parent in parents.get(group, ())]
    return paths


def membership(user: str, paths: Mapping[str, tuple[str, ...]], *, disabled: bool = False) -> Membership:
    """A disabled account is in no group."""
    if disabled:
        return Membership(user, disabled=True)
    lowered = {group.lower(): path for group, path in paths.items()}
    return Membership(user, tuple(sorted(lowered)), paths=lowered)
