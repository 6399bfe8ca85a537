"""A small directory for tests of the desk, and a hold to begin with."""

import time

from pgguard.holds.hold import Account, Groups, Hold, Person
from pgguard.model.decision import Approvers, HoldRequirement

GROUPS = {
    "bob": ("dba",),
    "dora": ("dba",),
    "eve": ("dba", "oncall"),
    "fred": ("security",),
    "alice": (),
    "gone": Account.DISABLED,
}


class People:
    """Groups are known of whoever is watched; `here` are those with a console session on this node."""

    def __init__(self, *here: str) -> None:
        self.watched = list(here)

    def groups_of(self, user: str) -> Groups:
        return GROUPS[user] if user in self.watched else None

    async def watch(self, user: str) -> None:
        self.watched.append(user)

    def unwatch(self, user: str) -> None:
        self.watched.remove(user)


def person(user: str) -> Person:
    return Person(user, f"{user}@X")


def hold(*approvers: Approvers) -> Hold:
    requirements = tuple(HoldRequirement(f"rule{n}", one, 60.0) for n, one in enumerate(approvers))
    return Hold(
        "1-1", "1", person("bob"), "shop", "delete", ("v", None), (), "9", None, "", False, "r", requirements,
        time.time(), 60,
    )  # fmt: skip
