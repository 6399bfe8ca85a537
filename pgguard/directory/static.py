"""The static directory: a YAML file of users and groups, for machines without LDAP and for tests of rules.

    users: {alice: {groups: [analysts]}, mallory: {groups: [], disabled: true}}
    groups: {staff: {groups: [everybody]}, analysts: {groups: [staff]}}

A user's or group's `groups` are those it is in. Other keys of a user are left to others (the lab keeps passwords here).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pgguard.directory.errors import DirectoryError
from pgguard.directory.membership import Membership, closure, membership


class StaticSource:
    """Reads the file when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._users: dict[str, Any] = {}
        self._parents: dict[str, list[str]] = {}

    @property
    def origin(self) -> str:
        return str(self._path)

    def fetch(self, users: Iterable[str]) -> dict[str, Membership]:
        """The memberships of these users. Raises DirectoryError."""
        self._read()
        return {user: self._membership(user) for user in users}

    def groups(self) -> frozenset[str]:
        """The names of all groups there are. Raises DirectoryError."""
        self._read()
        inside = [group for entry in self._users.values() for group in entry.get("groups") or []]
        outside = [group for groups in self._parents.values() for group in groups]
        return frozenset([*inside, *outside, *self._parents])

    def _membership(self, user: str) -> Membership:
        entry = self._users.get(user)
        if entry is None:
            return Membership(user, found=False)
        paths = closure(entry.get("groups") or [], self._parents)
        return membership(user, paths, f"users: {user}", disabled=bool(entry.get("disabled")))

    def _read(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return
            tree = yaml.safe_load(self._path.read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise DirectoryError(f'directory file "{self._path}" cannot be read: {error.strerror}') from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DirectoryError(f'directory file "{self._path}" is not valid YAML: {error}') from error
        self._users = _section(tree, "users", self._path)
        groups = _section(tree, "groups", self._path)
        self._parents = {name: list((entry or {}).get("groups") or []) for name, entry in groups.items()}
        self._stamp = stamp


def _section(tree: Any, key: str, path: Path) -> dict[str, Any]:
    section = tree.get(key, {}) if isinstance(tree, dict) else None
    if not isinstance(section, dict) or not all(_fits(entry) for entry in section.values()):
        raise DirectoryError(f'directory file "{path}": "{key}" must map each name to a map, as {{groups: [dba]}}')
    return {str(name): entry or {} for name, entry in section.items()}


def _fits(entry: Any) -> bool:
    """A map whose `groups`, if any, are a list of names; nothing at all is an empty map."""
    if entry is None:
        return True
    groups = (entry.get("groups") or []) if isinstance(entry, dict) else None
    return isinstance(groups, list) and all(isinstance(group, str) for group in groups)
