"""What the user reads when a statement is refused: as PostgreSQL words it, with the rule and what to ask for.

Source of the wording: PostgreSQL's aclcheck_error ("permission denied for table t").
Where the configuration hides what a user may not know, a table that the rules hide and one that does not exist get
the very same answer: `hidden_refusal`.
"""

from pgguard.model.access import Access, Kind
from pgguard.model.decision import AccessDecision, Decision, Effect
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState

NAMES_UNKNOWN = frozenset({
    SqlState.UNDEFINED_TABLE, SqlState.UNDEFINED_COLUMN, SqlState.UNDEFINED_FUNCTION, SqlState.UNDEFINED_OBJECT,
    SqlState.INVALID_SCHEMA_NAME, SqlState.AMBIGUOUS_COLUMN, SqlState.AMBIGUOUS_FUNCTION,
})  # fmt: skip
"""Refusals that tell which names exist, and so become a `hidden_refusal` where that is asked for."""


def refusal_of(decision: Decision, audit_id: str, *, hide_unknown: bool = False) -> Refusal:
    """The error for a denied statement: its first denied access; DETAIL names the rule and the audit record.

    `hide_unknown`: where no rule names the refusal, nothing is told that a user may not know.
    """
    denied = next(d for d in decision.accesses if d.effect is Effect.DENY)
    if hide_unknown and not denied.rules and not denied.missing:
        return hidden_refusal(audit_id)
    return Refusal(
        SqlState.INSUFFICIENT_PRIVILEGE,
        _message(denied),
        detail=f"{_why(denied, decision)} Audit id: {audit_id}.",
        hint=_hint(denied),
    )


def hidden_refusal(audit_id: str) -> Refusal:
    """The one answer to names that are hidden and to names that do not exist (42P01, 42703, 42883, 3F000)."""
    return Refusal(
        SqlState.INSUFFICIENT_PRIVILEGE,
        "permission denied, or a name in the statement does not exist",
        detail=f"Audit id: {audit_id}.",
        hint="Check the names; if they are right, ask for access with the audit id.",
    )


def _message(denied: AccessDecision) -> str:
    access = denied.access
    columns = denied.missing
    if not columns and len(access.columns or ()) == 1 and any("not among its columns" in m.why for m in denied.near):
        columns = access.columns or ()
    if columns:
        what = "column" if len(columns) == 1 else "columns"
        return f"permission denied for {what} {', '.join(columns)} of {_object(access)}"
    return f"permission denied for {_object(access)}"


def access_in_words(access: Access) -> str:
    """As a person reads it: "select on table sales.orders (id, status)"."""
    columns = f" ({', '.join(access.columns)})" if access.columns else ""
    return f"{access.privilege.value} on {_object(access)}{columns}"


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
