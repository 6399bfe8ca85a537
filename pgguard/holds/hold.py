"""A held statement as a value, and the question whether enough people have approved it.

Each requirement is satisfied by itself; one person may serve several. A person is known by principal, by user, and by
every user that the principal may be, so that neither a second login name nor a second principal counts twice.

# INVARIANT: no vote of the requester's, under any of their names, is ever counted.
"""

import unicodedata
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import assert_never

import msgspec

from pgguard.model.decision import Approvers, Covers, HoldRequirement


class Account(Enum):
    DISABLED = auto()


Groups = tuple[str, ...] | Account | None
"""None where the directory cannot tell: then nobody is a member. Whose account is disabled approves nothing."""


class Person(msgspec.Struct, frozen=True):
    """Who has logged in, by which principal. `users`: all that this principal may log in as."""

    user: str
    principal: str
    users: tuple[str, ...] = ()

    def shares_a_name(self, other: "Person") -> bool:
        """Whether it is the same person, or may come as the other."""
        return self.principal == other.principal or other.user in {self.user, *self.users} or self.user in other.users


class Hold(msgspec.Struct, frozen=True):
    """One statement that waits. An approval is good for exactly this: it is never changed, only ended.

    `values` are the bound ones, `rules` the identity of the rule set, `seconds` how long it may wait from `since` on.
    `accesses`: what the statement does, in words. `named`: what else its text runs, by name: prepared statements and
    cursors, each with its own text. `search_path`: None where the statement's meaning does not depend on it; `role`:
    the same of the current role. `host` and `process`: where its session is in the database.
    """

    audit_id: str
    session: str
    requester: Person
    database: str
    text: str
    values: tuple[str | None, ...]
    accesses: tuple[str, ...]
    rows: str
    address: str | None
    reason: str
    in_transaction: bool
    rules: str
    requirements: tuple[HoldRequirement, ...]
    since: float
    seconds: float
    named: tuple[tuple[str, str], ...] = ()
    search_path: tuple[str, ...] | None = None
    role: str | None = None
    host: str = ""
    process: int = 0


class Vote(msgspec.Struct, frozen=True):
    person: Person
    why: str = ""


def may_approve(approvers: Approvers, person: Person, groups: Groups) -> bool:
    return _among(person, groups, approvers.users, approvers.groups) or may_alone(approvers, person, groups)


def may_alone(approvers: Approvers, person: Person, groups: Groups) -> bool:
    """Break-glass: whether this one person suffices."""
    return _among(person, groups, approvers.alone_users, approvers.alone_groups)


def _among(person: Person, groups: Groups, users: Sequence[str], names: Sequence[str]) -> bool:
    if groups is Account.DISABLED:
        return False
    return person.user in users or not {name.lower() for name in names}.isdisjoint(groups or ())


def counted(hold: Hold, votes: Sequence[Vote]) -> tuple[Vote, ...]:
    """The votes that count: none of the requester's, and of each person the first."""
    kept: list[Vote] = []
    for vote in votes:
        others = [hold.requester, *(other.person for other in kept)]
        if not any(vote.person.shares_a_name(other) for other in others):
            kept.append(vote)
    return tuple(kept)


def approved(hold: Hold, votes: Sequence[Vote], groups_of: Callable[[str], Groups]) -> bool:
    """Whether each requirement has its approvers, by the groups that they have now."""
    return all(_satisfied(one.approvers, counted(hold, votes), groups_of) for one in hold.requirements)


def _satisfied(approvers: Approvers, votes: Sequence[Vote], groups_of: Callable[[str], Groups]) -> bool:
    regular = 0
    for vote in votes:
        groups = groups_of(vote.person.user)
        if vote.why and may_alone(approvers, vote.person, groups):
            return True
        regular += _among(vote.person, groups, approvers.users, approvers.groups)
    has_regular = bool(approvers.users or approvers.groups)
    return has_regular and regular >= approvers.count


def wanted(requirement: HoldRequirement) -> str:
    """What a requirement asks for, in words: "2 of group dba"; and how far their yes reaches."""
    approvers = requirement.approvers
    parts = []
    if approvers.groups or approvers.users:
        parts.append(f"{approvers.count} of {_names(approvers.groups, approvers.users)}")
    if approvers.alone_groups or approvers.alone_users:
        parts.append(f"1 of {_names(approvers.alone_groups, approvers.alone_users)} alone, with a reason")
    return " or ".join(parts) + _reach(requirement)


def _reach(requirement: HoldRequirement) -> str:
    match requirement.covers:
        case Covers.STATEMENT:
            return ""
        case Covers.TRANSACTION:
            return ", for all of this rule in the transaction"
        case Covers.SESSION:
            return f", for all of this rule in the session over {in_words(requirement.lasts or 0.0)}"
        case _:
            assert_never(requirement.covers)


def in_words(seconds: float) -> str:
    """A span of time as a person reads it."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _names(groups: Sequence[str], users: Sequence[str]) -> str:
    return ", ".join([*(f"group {name}" for name in groups), *users])


def shown(text: str) -> str:
    """Text of others' making for a person's eyes: nothing in it can move the cursor or turn the reading direction."""
    return "".join(c if c == "\n" or unicodedata.category(c)[0] not in "CZ" or c == " " else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
