"""The planner's estimate of a statement: EXPLAIN, never ANALYZE, on the session's own connection.

Of a SELECT the rows of its result; of a write the rows it would touch, which are those that flow into ModifyTable: its
own row count is 0 without RETURNING.
"""

import json
from typing import Any

from pgguard.model.context import Unknown
from pgguard.model.facts import Facts
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.session.judgement import Answer, Question, Request, Rows

Estimate = float | Unknown | Refusal

_EXPLAINED = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"})


def estimate_question(request: Request, statements: tuple[Facts, ...]) -> Question | None:
    """What to ask for a statement's estimate; None where EXPLAIN cannot tell it."""
    if len(statements) != 1 or statements[0].kind not in _EXPLAINED:
        return None
    text = b"explain (format json) " + request.text
    return Question(text, request.parameters, request.formats, request.parameter_types)


def read_estimate(answer: Answer) -> Estimate:
    """The rows; the planner's own error as a refusal: the statement itself would have failed with it."""
    if not isinstance(answer, Rows):
        state = next((s for s in SqlState if s.value == answer.sqlstate), None)
        return Unknown.UNKNOWN if state is None else Refusal(state, answer.message)
    try:
        plan: Any = json.loads("".join(row[0] or "" for row in answer.rows))[0]["Plan"]
    except (ValueError, LookupError, TypeError):
        return Unknown.UNKNOWN
    if plan.get("Node Type") == "ModifyTable":
        return float(sum(child.get("Plan Rows", 0) for child in plan.get("Plans", ())))
    return float(plan.get("Plan Rows", 0))
