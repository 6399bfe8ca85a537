"""Deciding: facts and context to allow, deny or hold (rule-language, section 2). Pure and total.

One access: any matching deny denies; what the matching allows together do not cover is denied; any matching hold
holds; else it is allowed. A statement, and a string of statements, is as strict as its strictest access. What is
unknown fails closed: an allow that may not apply does not, a deny or hold that may apply does.

The planner's estimate costs a round trip: it is asked for only where the decision would differ between the best and
the worst that it can say. Near misses are worked out for denied accesses only.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import inf

import msgspec

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context, Unknown
from pgguard.model.control import Transaction
from pgguard.model.decision import AccessDecision, Decision, Effect, HoldRequirement, NearMiss
from pgguard.model.facts import Facts
from pgguard.policy.conditions import Condition, Moment
from pgguard.policy.rule import Mode, Rule
from pgguard.policy.rule_set import Met, RuleSet, meets
from pgguard.policy.why import why_not

_STRICTER = {Effect.ALLOW: 0, Effect.HOLD: 1, Effect.DENY: 2}


def decide(rules: RuleSet, statements: Sequence[Facts], context: Context) -> Decision:
    """The decision over a string of statements in one context."""
    decision = _settled(rules, statements, context, observed=False)
    if not rules.observes:
        return decision
    observed = _settled(rules, statements, context, observed=True)
    if observed.wants_estimate and not decision.wants_estimate:
        decision = msgspec.structs.replace(decision, wants_estimate=True)
    if observed.effect is decision.effect and observed.rules == decision.rules:
        return decision
    return msgspec.structs.replace(decision, observed=observed.effect, observed_rules=observed.rules)


def _settled(rules: RuleSet, statements: Sequence[Facts], context: Context, *, observed: bool) -> Decision:
    worst = _Deciding(rules, context, observed=observed).decide(statements)
    if not worst.wants_estimate:
        return worst
    favourable = msgspec.structs.replace(context, estimated_rows=Unknown.SKIPPED)
    best = _Deciding(rules, favourable, observed=observed).decide(statements)
    if best.effect is Effect.DENY:
        return best
    same = best.effect is worst.effect and best.holds == worst.holds and best.max_rows == worst.max_rows
    return msgspec.structs.replace(worst, wants_estimate=False) if same else worst


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
        self._told: dict[tuple[int, bool], tuple[bool | None, Moment]] = {}
        """What conditions that look at the context alone have told, by the identity of the condition, and `favour`."""
        self._plain: dict[int | None, bool] = {}
        """What these have settled of rules, by the rules' question (rule_set.Met)."""

    def decide(self, statements: Sequence[Facts]) -> Decision:
        found: list[AccessDecision] = []
        for facts in statements:
            found += [self._access(facts, access) for access in facts.accesses] or self._killed(facts)
        effect = max((d.effect for d in found), key=_STRICTER.__getitem__, default=Effect.ALLOW)
        holds = self._holds if effect is Effect.HOLD else {}
        named = {d.rules for d in found if d.effect is effect}
        return Decision(
            effect=effect,
            rules=named.pop() if len(named) == 1 else tuple(sorted(set().union(*named))),
            accesses=tuple(found),
            holds=tuple(_requirement(holds[name]) for name in sorted(holds)),
            max_rows=min(self._limits, default=None),
            wants_estimate=self._wants_estimate,
            unknown=tuple(dict.fromkeys(self._unknown)),
        )

    def _killed(self, facts: Facts) -> list[AccessDecision]:
        """The kill switch meets statements without accesses too, but what ends a transaction always passes."""
        if not self._rules.kill_switches or (isinstance(facts.control, Transaction) and facts.control.ends):
            return []
        about = ((rule, meets(rule, self._context)) for rule in self._rules.kill_switches)
        met = [Met.of(rule, sure=sure is True) for rule, sure in about if sure is not False]
        switches = self._matching(met, facts, None)
        nothing = Access(Privilege.RUN, Kind.OPAQUE, ObjectName(facts.kind))
        return [_denied(nothing, switches)] if switches else []

    def _access(self, facts: Facts, access: Access) -> AccessDecision:
        if access.columns == () and access.candidates and self._rules.about(access).columns:
            return self._any_column(facts, access)
        return self._judge(facts, access)

    def _any_column(self, facts: Facts, access: Access) -> AccessDecision:
        """The privilege on at least one column: as the single column that fares best, with the longest result."""
        limits, holds = self._limits, self._holds
        best: tuple[AccessDecision, list[int], dict[str, Rule]] | None = None
        for column in access.candidates:
            self._limits, self._holds = [], dict(holds)
            found = self._judge(facts, msgspec.structs.replace(access, columns=(column,)))
            if best is None or _fares(found, self._limits) < _fares(*best[:2]):
                best = found, self._limits, self._holds
            if best[0].effect is Effect.ALLOW and not best[1]:
                break
        assert best is not None, "there are candidates"
        decision, own, self._holds = best
        self._limits = [*limits, *own]
        return msgspec.structs.replace(decision, access=access, missing=())

    def _judge(self, facts: Facts, access: Access) -> AccessDecision:
        meeting = self._rules.meeting(access, self._context)
        denies = self._matching(meeting.denies, facts, access)
        if denies:
            return _denied(access, denies)
        allows = self._matching(meeting.allows, facts, access)
        missing = _uncovered(access, allows)
        if missing is None or missing:
            allows = self._on_temporary(facts) if access.temporary else []
            if not allows:
                return AccessDecision(access, Effect.DENY, (), missing or (), self._near(facts, access, missing))
        limits = [rule.max_rows for rule in allows if rule.max_rows is not None]
        if limits and len(limits) == len(allows):
            self._limits.append(max(limits))
        holds = self._matching(meeting.holds, facts, access)
        if holds:
            self._holds.update((rule.name, rule) for rule in holds)
            return AccessDecision(access, Effect.HOLD, _names(holds), message=_message(holds))
        return AccessDecision(access, Effect.ALLOW, _names(allows))

    def _matching(self, met: Iterable[Met], facts: Facts, access: Access | None) -> list[Rule]:
        plain = self._plain.get  # looked up in place: an access may meet hundreds of rules
        return [
            one.rule
            for one in met
            if (self._applies(one, facts, access) if (found := plain(one.question)) is None else found)
        ]

    def _on_temporary(self, facts: Facts) -> list[Rule]:
        """Whoever has `temp` on the database may do everything on temporary tables of their own."""
        temp = Access(Privilege.TEMP, Kind.DATABASE, ObjectName(self._context.database))
        meeting = self._rules.meeting(temp, self._context)
        return [] if self._matching(meeting.denies, facts, temp) else self._matching(meeting.allows, facts, temp)

    def _applies(self, met: Met, facts: Facts, access: Access | None) -> bool:
        """What of a rule may differ from one moment to the next: its end and its conditions.

        What is unknown fails closed.
        """
        rule = met.rule
        if rule.mode is Mode.OBSERVE and not self._observed:
            return False
        if rule.until is not None and self._today() > rule.until:
            return False
        allow = rule.effect is Effect.ALLOW
        found, moment = self._ask(rule.condition, facts, access, favour=allow)
        if found is False or (found is True and met.sure):
            if met.question is not None and not moment.of_statement:
                self._plain[met.question] = found
            return found
        self._wants_estimate = self._wants_estimate or (moment.wants_estimate and (met.sure or not allow))
        self._unknown += [f'rule "{rule.name}": {why}' for why in moment.unknown]
        if not met.sure:
            self._unknown.append(f'rule "{rule.name}": the directory cannot tell the groups of "{self._context.user}"')
        return not allow

    def _ask(
        self, condition: Condition | None, facts: Facts, access: Access | None, *, favour: bool
    ) -> tuple[bool | None, Moment]:
        """What a condition says, asked once for all rules that share it where it looks at the context alone."""
        key = id(condition), favour
        told = self._told.get(key)
        if told is None:
            moment = Moment(self._context, facts, access, favour=favour)
            told = (True if condition is None else condition.holds(moment)), moment
            if not moment.of_statement:
                self._told[key] = told
        return told

    def _today(self) -> str:
        return datetime.fromtimestamp(self._context.at, UTC).date().isoformat()

    def _near(self, facts: Facts, access: Access, missing: tuple[str, ...] | None) -> tuple[NearMiss, ...]:
        """The allow rules on this object that do not cover it, and why not: the rules for this very user first."""
        wanted = missing or access.columns or ()
        rules = sorted(self._rules.about(access).allows, key=lambda rule: rule.who.matches(self._context) is not True)
        found = ((rule.name, self._why_not(rule, facts, access, wanted)) for rule in rules)
        return tuple(NearMiss(name, why) for name, why in found if why is not None)

    def _why_not(self, rule: Rule, facts: Facts, access: Access, wanted: tuple[str, ...]) -> str | None:
        """`wanted`: the columns that nothing allows."""
        reasons = []
        if rule.mode is Mode.OBSERVE and not self._observed:
            reasons.append("it is only observed")
        if rule.databases is not None and not any(d.matches(self._context.database) for d in rule.databases):
            reasons.append(f'database "{self._context.database}" is not among its databases')
        if rule.until is not None and self._today() > rule.until:
            reasons.append(f"it ended on {rule.until}")
        if rule.who.matches(self._context) is not True:
            reasons.append(rule.who.missing(self._context))
        outside = [c for c in wanted if rule.columns is not None and not rule.columns.has(access, c)]
        if outside:
            what = "column" if len(outside) == 1 else "columns"
            reasons.append(f"{what} {', '.join(outside)} not among its columns")
        moment = Moment(self._context, facts, access, favour=True)
        if rule.condition is not None and not rule.condition.holds(moment):
            reasons.append(why_not(rule.condition, moment))
        return "; ".join(reasons) or None


def _fares(found: AccessDecision, limits: list[int]) -> tuple[int, float]:
    """The less the better: how strict the decision is, then how much its limit takes away."""
    return _STRICTER[found.effect], -min(limits, default=inf)


def _uncovered(access: Access, allows: list[Rule]) -> tuple[str, ...] | None:
    """The columns that no allow covers; None where nothing allows at all, () where all is covered."""
    if not allows:
        return None
    if not access.columns:
        return ()
    columns = []
    for rule in allows:
        if rule.columns is None:
            return ()
        columns.append(rule.columns)
    return tuple(c for c in access.columns if not any(some.has(access, c) for some in columns))


def _denied(access: Access, rules: list[Rule]) -> AccessDecision:
    columns = [rule.columns for rule in rules]
    about = (
        ()
        if None in columns
        else (c for c in access.columns or () if any(some and some.has(access, c) for some in columns))
    )
    return AccessDecision(access, Effect.DENY, _names(rules), tuple(about), message=_message(rules))


def _names(rules: list[Rule]) -> tuple[str, ...]:
    return tuple(sorted([rule.name for rule in rules]))


def _message(rules: list[Rule]) -> str | None:
    return next((rule.message for rule in sorted(rules, key=lambda r: r.name) if rule.message), None)


def _requirement(rule: Rule) -> HoldRequirement:
    return HoldRequirement(rule.name, rule.approvers, rule.timeout, rule.covers, rule.lasts, rule.message)
