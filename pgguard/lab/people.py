"""The directory file: who is in a lab, and in which groups.

    users:
      alice: {password: secret, groups: [analysts]}
      dora: {groups: [dba]}
    groups:                       # only needed for groups within groups
      dba: {groups: [operators]}

A user without a password gets a random key; every user has a ticket anyway.
"""

from pathlib import Path

import msgspec

from pgguard.lab.errors import LabError


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: str | None = None
    groups: tuple[str, ...] = ()


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`groups`: those of which this group is a member."""

    groups: tuple[str, ...] = ()


class People(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    users: dict[str, Person | None]
    groups: dict[str, Group | None] = {}

    def groups_of(self, user: str) -> tuple[str, ...]:
        person = self.users[user]
        return () if person is None else person.groups

    def password_of(self, user: str) -> str | None:
        person = self.users[user]
        return None if person is None else person.password

    def outer_groups_of(self, group: str) -> tuple[str, ...]:
        entry = self.groups.get(group)
        return () if entry is None else entry.groups

    def all_groups(self) -> list[str]:
        """Every group that is mentioned anywhere, in order of mention."""
        mentioned = [group for user in self.users for group in self.groups_of(user)]
        nested = [name for group in self.groups for name in (group, *self.outer_groups_of(group))]
        return list(dict.fromkeys([*mentioned, *nested]))


def read_people(path: Path) -> People:
    """Read a directory file; raises LabError that says what does not fit."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=People)
    except OSError as error:
        raise LabError(f'cannot read directory file "{path}": {error.strerror}') from error
    except msgspec.DecodeError as error:
        raise LabError(f'directory file "{path}": {error}') from error
