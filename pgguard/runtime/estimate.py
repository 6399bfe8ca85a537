"""The planner's estimate of a statement: EXPLAIN, never ANALYZE, on the session's own connection.

Of a SELECT the rows of its result; of a write the rows it would touch, which are those that flow into ModifyTable: its
own row count is 0 without RETURNING. Of a COPY TO those of its query or table; what a COPY FROM brings nobody can tell.
"""

import json
from typing import Any

from pgguard.model.access import Kind, Privilege
from pgguard.model.context import Unknown
from pgguard.model.facts import Facts
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.session.judgement import Answer, Question, Request, Rows
from pgguard.sql.slices import copied_query

Estimate = float | Unknown | Refusal

_EXPLAINED = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY"})


def estimate_question(request: Request, statements: tuple[Facts, ...]) -> Question | None:
    """What to ask for a statement's estimate; None where EXPLAIN cannot tell it."""
    if len(statements) != 1:
        return None
    statement = _copied(request.text, statements[0]) if statements[0].kind == "COPY" else request.text
    if statement is None or statements[0].kind not in _EXPLAINED:
        return None
    text = b"explain (format json) " + statement
    return Question(text, request.parameters, request.formats, request.parameter_types)


def _copied(text: bytes, facts: Facts) -> bytes | None:
    """A query of what COPY TO gives; COPY takes of a table its own rows, not those of its children."""
    query = copied_query(text.decode())
    if query is not None:
        return query.encode()
    tables = [access for access in facts.accesses if access.kind is Kind.TABLE]
    name = tables[0].object if len(tables) == 1 else None
    if name is None or name.schema is None or tables[0].privilege is not Privilege.SELECT:
        return None
    return f"select from only {_quoted(name.schema)}.{_quoted(name.name)}".encode()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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
