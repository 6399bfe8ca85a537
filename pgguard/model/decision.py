"""Decisions: allow, deny or hold, with everything that explains them."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from pgguard.model.access import Access


class Effect(StrEnum):
    ALLOW = "allow"
    HOLD = "hold"
    DENY = "deny"


class Redaction(StrEnum):
    """What becomes of constants and bound values in the audit, from the laxest to the strictest."""

    KEEP = "keep"
    HASH = "hash"
    DROP = "drop"


def strictest(redactions: Iterable[Redaction]) -> Redaction:
    return max(redactions, key=tuple(Redaction).index)


class NearMiss(msgspec.Struct, frozen=True):
    """A rule that nearly decided, and what kept it from that: "group dba missing", "outside hours"."""

    rule: str
    why: str


class AccessDecision(msgspec.Struct, frozen=True, omit_defaults=True):
    """One access and what the rules say to it.

    `rules`: the deciding rules, sorted: the matching denies of a deny, the covering allows of an allow, the holds of
    a hold; none where no rule allows. `missing`: of a deny, the columns that it is about: those that no rule allows, or
    that the denying rules name.
    """

    access: Access
    effect: Effect
    rules: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    near: tuple[NearMiss, ...] = ()
    message: str | None = None


class Covers(StrEnum):
    STATEMENT = "statement"
    TRANSACTION = "transaction"
    SESSION = "session"


class Approvers(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who may approve: a member of any of `groups` or one of `users`, `count` different ones; or one of `alone`."""

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    count: int = 1
    alone_groups: tuple[str, ...] = ()
    alone_users: tuple[str, ...] = ()


class HoldRequirement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one matching hold rule asks for. `timeout` and `lasts` are seconds."""

    rule: str
    approvers: Approvers
    timeout: float
    covers: Covers = Covers.STATEMENT
    lasts: float | None = None
    message: str | None = None


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was decided over a whole string of statements: the strictest of its accesses.

    `rules`: the deciding rules' names, sorted. `accesses`: every access of every statement, in order.
    `max_rows`: the longest result the rules allow. `wants_estimate`: the planner's estimate would settle it, and has
    not been asked: ask and decide again. `observed`: what it would have been with all observed rules in force,
    where that differs. `unknown`: conditions that could not be evaluated and mattered, in words.
    """

    effect: Effect
    rules: tuple[str, ...] = ()
    accesses: tuple[AccessDecision, ...] = ()
    holds: tuple[HoldRequirement, ...] = ()
    max_rows: int | None = None
    wants_estimate: bool = False
    observed: Effect | None = None
    observed_rules: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
