"""Deciding: facts and context to allow, deny or hold (rule-language, section 2). Pure and total.

One access: any matching deny denies; what the matching allows together do not cover is denied; any matching hold
holds; else it is allowed. A statement, and a string of statements, is as strict as its strictest access. What is
unknown fails closed: an allow that may not apply does not, a deny or hold that may apply does.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context, Unknown
from pgguard.model.control import Transaction
from pgguard.model.decision import AccessDecision, Decision, Effect, HoldRequirement, NearMiss
from pgguard.model.facts import Facts
from pgguard.policy.conditions import Moment
from pgguard.policy.rule import Mode, Rule
from pgguard.policy.rule_set import RuleSet

_STRICTER = {Effect.ALLOW: 0, Effect.HOLD: 1, Effect.DENY: 2}


def decide(rules: RuleSet, statements: Sequence[Facts], context: Context) -> Decision:
    """The decision over a string of statements in one context."""
    decision = _Deciding(rules, context, observed=False).decide(statements)
    if decision.wants_estimate:
        # the planner is asked only about a statement that nothing else denies
        skipped = msgspec.structs.replace(context, estimated_rows=Unknown.SKIPPED)
        without = _Deciding(rules, skipped, observed=False).decide(statements)
        if without.effect is Effect.DENY:
            decision = without
    if not rules.observes:
        return decision
    observed = _Deciding(rules, context, observed=True).decide(statements)
    if observed.effect is decision.effect and observed.rules == decision.rules:
        return decision
    return msgspec.structs.replace(decision, observed=observed.effect, observed_rules=observed.rules)


class _Deciding:
    """`observed`: with the rules in force that are only observed."""

    def __init__(self, rules: RuleSet, context: Context, *, observed: bool) -> None:
        self._rules = rules
        self._context = context
        self._observed = observed
        self._unknown: list[str] = []
        self._wants_estimate = False
        self._limits: list[int] = []
        self._holds: dict[str, Rule] = {}

    def decide(self, statements: Sequence[Facts]) -> Decision:
        decisions: list[AccessDecision] = []
        killed: list[AccessDecision] = []
        for facts in statements:
            decisions += [self._access(facts, access) for access in facts.accesses]
            if not facts.accesses:
                killed += self._killed(facts)
        everything = decisions + killed
        effect = max((d.effect for d in everything), key=_STRICTER.__getitem__, default=Effect.ALLOW)
        deciding = {rule for d in everything if d.effect is effect for rule in d.rules}
        return Decision(
            effect=effect,
            rules=tuple(sorted(deciding)),
            accesses=tuple(everything),
            holds=tuple(_requirement(self._holds[name]) for name in sorted(self._holds))
            if effect is Effect.HOLD
            else (),
            max_rows=min(self._limits, default=None),
            wants_estimate=self._wants_estimate,
            unknown=tuple(dict.fromkeys(self._unknown)),
        )

    def _killed(self, facts: Facts) -> list[AccessDecision]:
        """The kill switch meets statements without accesses too, but what ends a transaction always passes."""
        if isinstance(facts.control, Transaction) and facts.control.ends:
            return []
        nothing = Access(Privilege.RUN, Kind.OPAQUE, ObjectName(facts.kind))
        switches = [rule for rule in self._rules.kill_switches if self._applies(rule, facts, None)]
        if not switches:
            return []
        return [_denied(nothing, switches)]

    def _access(self, facts: Facts, access: Access) -> AccessDecision:
        about = [rule for rule in self._rules.about(access) if self._in_force(rule)]
        if access.columns == ():
            return self._any_column(facts, access, about)
        return self._judge(facts, access, about)

    def _any_column(self, facts: Facts, access: Access, about: list[Rule]) -> AccessDecision:
        """The privilege on at least one column: as the single column that fares best."""
        if all(rule.columns is None for rule in about) or not access.candidates:
            return self._judge(facts, access, about)
        best: AccessDecision | None = None
        limits, holds = list(self._limits), dict(self._holds)
        kept = (limits, holds)
        for column in access.candidates:
            self._limits, self._holds = list(limits), dict(holds)
            found = self._judge(facts, msgspec.structs.replace(access, columns=(column,)), about)
            if best is None or _STRICTER[found.effect] < _STRICTER[best.effect]:
                best, kept = found, (self._limits, self._holds)
            if best.effect is Effect.ALLOW:
                break
        self._limits, self._holds = kept
        assert best is not None, "there are candidates"
        return msgspec.structs.replace(best, access=access, missing=())

    def _judge(self, facts: Facts, access: Access, about: list[Rule]) -> AccessDecision:
        denies = [
            r for r in about if r.effect is Effect.DENY and self._touches(r, access) and self._applies(r, facts, access)
        ]
        if denies:
            return _denied(access, denies)
        allows = [
            r
            for r in about
            if r.effect is Effect.ALLOW and self._touches(r, access) and self._applies(r, facts, access)
        ]
        missing = _uncovered(access, allows)
        if missing is None and not (access.temporary and self._may_use_temporary(facts)):
            return AccessDecision(access, Effect.DENY, near=self._near(facts, access, about))
        if missing:
            return AccessDecision(access, Effect.DENY, missing=missing, near=self._near(facts, access, about))
        limits = [r.max_rows for r in allows]
        if limits and None not in limits:
            self._limits.append(max(limit for limit in limits if limit is not None))
        holds = [
            r for r in about if r.effect is Effect.HOLD and self._touches(r, access) and self._applies(r, facts, access)
        ]
        if holds:
            self._holds.update({rule.name: rule for rule in holds})
            return AccessDecision(access, Effect.HOLD, _names(holds), message=_message(holds))
        return AccessDecision(access, Effect.ALLOW, _names(allows))

    def _may_use_temporary(self, facts: Facts) -> bool:
        """Whoever has `temp` on the database may do everything on temporary tables of their own."""
        temp = Access(Privilege.TEMP, Kind.DATABASE, ObjectName(self._context.database))
        return any(r.effect is Effect.ALLOW and self._applies(r, facts, temp) for r in self._rules.about(temp))

    def _in_force(self, rule: Rule) -> bool:
        return self._observed or rule.mode is Mode.ENFORCE

    def _touches(self, rule: Rule, access: Access) -> bool:
        """Whether the rule is about at least one of the access's columns."""
        if rule.columns is None or access.columns is None:
            return True
        return any(rule.columns.has(access, column) for column in access.columns)

    def _applies(self, rule: Rule, facts: Facts, access: Access | None) -> bool:
        """Who, database, date and conditions; what is unknown fails closed."""
        if rule.databases is not None and not any(d.matches(self._context.database) for d in rule.databases):
            return False
        if rule.until is not None and self._today() > rule.until:
            return False
        if not self._in_force(rule):
            return False
        allow = rule.effect is Effect.ALLOW
        who = rule.who.matches(self._context)
        if who is False:
            return False
        if who is None:
            self._unknown.append(f'rule "{rule.name}": the directory cannot tell the groups of "{self._context.user}"')
            if allow:
                return False
        if rule.condition is None:
            return True
        moment = Moment(self._context, facts, access, favour=allow)
        found = rule.condition.holds(moment)
        if found is None:
            self._wants_estimate = self._wants_estimate or moment.wants_estimate
            self._unknown += [f'rule "{rule.name}": {why}' for why in moment.unknown]
            return not allow
        return found

    def _today(self) -> str:
        return datetime.fromtimestamp(self._context.at, UTC).date().isoformat()

    def _near(self, facts: Facts, access: Access, about: list[Rule]) -> tuple[NearMiss, ...]:
        """The allow rules on this object that did not apply, and why."""
        return tuple(
            NearMiss(rule.name, why)
            for rule in sorted(about, key=lambda r: r.name)
            if rule.effect is Effect.ALLOW and (why := self._why_not(rule, facts, access))
        )

    def _why_not(self, rule: Rule, facts: Facts, access: Access) -> str | None:
        if rule.databases is not None and not any(d.matches(self._context.database) for d in rule.databases):
            return f'database "{self._context.database}" is not among its databases'
        if rule.until is not None and self._today() > rule.until:
            return f"it ended on {rule.until}"
        if rule.who.matches(self._context) is not True:
            return f"it is for {rule.who.in_words()}"
        if not self._touches(rule, access):
            return f"column {', '.join(access.columns or ())} is not among its columns"
        if rule.condition is not None and not self._applies(rule, facts, access):
            return "its conditions do not hold"
        return None


def _uncovered(access: Access, allows: list[Rule]) -> tuple[str, ...] | None:
    """The columns that no allow covers; None where nothing allows at all, () where all is covered."""
    if not allows:
        return None
    if not access.columns or any(rule.columns is None for rule in allows):
        return ()
    return tuple(
        column
        for column in access.columns
        if not any(rule.columns is not None and rule.columns.has(access, column) for rule in allows)
    )


def _denied(access: Access, rules: list[Rule]) -> AccessDecision:
    return AccessDecision(access, Effect.DENY, _names(rules), message=_message(rules))


def _names(rules: list[Rule]) -> tuple[str, ...]:
    return tuple(sorted(rule.name for rule in rules))


def _message(rules: list[Rule]) -> str | None:
    return next((rule.message for rule in sorted(rules, key=lambda r: r.name) if rule.message), None)


def _requirement(rule: Rule) -> HoldRequirement:
    return HoldRequirement(rule.name, rule.approvers, rule.timeout, rule.covers, rule.lasts, rule.message)
