"""What the user reads when a statement is refused: as PostgreSQL words it, with the rule and what to ask for.

Source of the wording: PostgreSQL's aclcheck_error ("permission denied for table t").
"""

from pgguard.model.access import Access, Kind
from pgguard.model.decision import AccessDecision, Decision, Effect
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState


def refusal_of(decision: Decision, audit_id: str) -> Refusal:
    """The error for a denied statement: its first denied access; DETAIL names the rule and the audit record."""
    denied = next(d for d in decision.accesses if d.effect is Effect.DENY)
    return Refusal(
        SqlState.INSUFFICIENT_PRIVILEGE,
        _message(denied),
        detail=f"{_why(denied, decision)} Audit id: {audit_id}.",
        hint=_hint(denied),
    )


def _message(denied: AccessDecision) -> str:
    access = denied.access
    columns = denied.missing
    if columns and access.columns:
        what = "column" if len(columns) == 1 else "columns"
        return f"permission denied for {what} {', '.join(columns)} of {_object(access)}"
    return f"permission denied for {_object(access)}"


def _object(access: Access) -> str:
    if access.kind is Kind.OPAQUE:
        return f"statement {access.object.name}"
    return f"{access.kind.value.replace('_', ' ')} {access.object}"


def _why(denied: AccessDecision, decision: Decision) -> str:
    privilege = denied.access.privilege.value
    if denied.rules:
        names = ", ".join(f'"{name}"' for name in denied.rules)
        return f"Denied {privilege} by {'rule' if len(denied.rules) == 1 else 'rules'} {names}."
    unknown = f" ({'; '.join(decision.unknown)})" if decision.unknown else ""
    return f"No rule allows {privilege} on it{unknown}."


def _hint(denied: AccessDecision) -> str | None:
    if denied.message:
        return denied.message
    if not denied.near:
        return None
    near = denied.near[0]
    return f'Rule "{near.rule}" does not apply: {near.why}.'
