"""What rules ask the audit to leave out of a statement's record.

Theory of operation. Where in a statement a value of some column stands cannot be told for sure: it may pass through
expressions, functions and parameters. So redaction by column is of the whole statement: one that touches a column with
a redacted label has none of its constants and bound values in the audit. A rule's own `redact` counts where it
decided. Statements that nobody could look into (syntax errors, DO blocks) are redacted as strictly as anything in the
rule set is: what they touch is unknown.
"""

from collections.abc import Iterable

from pgguard.model.access import Kind
from pgguard.model.decision import AccessDecision, Decision, Redaction, strictest
from pgguard.model.facts import Facts
from pgguard.policy.rule_set import RuleSet

_UNSEEN = frozenset({Kind.OPAQUE, Kind.LANGUAGE})


def redaction_of(rules: RuleSet, statements: Iterable[Facts], decision: Decision | None) -> Redaction | None:
    """What the rules ask for; None leaves it to the audit's settings. KEEP is given only where every rule says so."""
    if not rules.redactions:
        return None
    if decision is None or any(_unseen(facts) for facts in statements):
        return strictest(rules.redactions)
    asked = [found for access in decision.accesses for found in _asked(rules, access)]
    wanted = [redaction for redaction in asked if redaction is not None]
    hidden = [redaction for redaction in wanted if redaction is not Redaction.KEEP]
    if hidden:
        return strictest(hidden)
    return Redaction.KEEP if wanted and None not in asked else None


def _unseen(facts: Facts) -> bool:
    return facts.opaque is not None or any(access.kind in _UNSEEN for access in facts.accesses)


def _asked(rules: RuleSet, decided: AccessDecision) -> Iterable[Redaction | None]:
    access = decided.access
    for columns, redaction in rules.redacted_columns:
        if any(columns.has(access, column) for column in access.columns or access.candidates):
            yield redaction
    for name in decided.rules:
        rule = rules.by_name.get(name)
        if rule is not None and not rule.baseline:
            yield rule.redact
