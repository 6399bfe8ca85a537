"""What an audit holds for learning rules: who did what, less what the baseline allows and what was refused or held."""

from collections.abc import Iterable

import msgspec

from pgguard.audit.records import DecisionMade, Record
from pgguard.model.access import Access
from pgguard.model.context import Context
from pgguard.model.decision import Effect
from pgguard.policy.learning import Need, needs_of
from pgguard.policy.rule_set import RuleSet


class Seen(msgspec.Struct):
    """`statements` were learnt from, `left_out` of each effect were not. `groups`: those a user had all the time.

    `accesses`: one context for each access of each user, to try the rules that were learnt.
    """

    statements: int = 0
    left_out: dict[Effect, int] = {}
    needs: dict[Need, None] = {}
    groups: dict[str, frozenset[str]] = {}
    accesses: dict[tuple[str, tuple[str, ...] | None, str, Access], Context] = {}


def see(records: Iterable[Record], baseline: RuleSet, *, refused: bool) -> Seen:
    """`refused`: also what was refused or held."""
    seen = Seen()
    for record in records:
        if not isinstance(record, DecisionMade) or record.decision is None:
            continue
        context = record.context
        _groups(seen, context)
        if record.effect is not Effect.ALLOW and not refused:
            seen.left_out[record.effect] = seen.left_out.get(record.effect, 0) + 1
            continue
        seen.statements += 1
        for facts in record.facts:
            fresh = [access for access in facts.accesses if _is_new(seen, context, access)]
            needs = needs_of([msgspec.structs.replace(facts, accesses=tuple(fresh))], context, baseline)
            seen.needs.update(dict.fromkeys(needs))
    return seen


def _is_new(seen: Seen, context: Context, access: Access) -> bool:
    """The first such access of this user; where its WHERE is does not matter to rules without conditions."""
    plain = msgspec.structs.replace(access, where=None, notes=())
    key = (context.user, context.groups, context.database, plain)
    if key in seen.accesses:
        return False
    seen.accesses[key] = context
    return True


def _groups(seen: Seen, context: Context) -> None:
    """Where the directory could not tell, that says nothing of the groups."""
    if context.groups is not None:
        theirs = frozenset(context.groups)
        seen.groups[context.user] = seen.groups.get(context.user, theirs) & theirs
