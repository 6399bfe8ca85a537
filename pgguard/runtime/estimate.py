"""The planner's estimate of a statement: EXPLAIN, never ANALYZE, on the session's own connection.

Of a SELECT the rows of its result; of a write the rows it would touch, which are those that flow into ModifyTable: its
own row count is 0 without RETURNING. Of one that writes in its WITH, the larger of both. Of a COPY TO those of its
query or table; what a COPY FROM brings nobody can tell. Of a DECLARE or FETCH those of the cursor's query. The values
that are bound come along, so that the estimate is for these. Of an EXECUTE it is unknown: EXPLAIN would run the
functions in its arguments.
"""

import json
from typing import Any

from pgguard.model.access import Kind, Privilege
from pgguard.model.context import Unknown
from pgguard.model.control import ExecutePrepared, FetchCursor
from pgguard.model.facts import Facts
from pgguard.model.refusal import Refusal
from pgguard.runtime.analysis import SHORT
from pgguard.session.judgement import Answer, Names, Question, Request, Rows
from pgguard.sql.slices import copied_query

Estimate = float | Unknown | Refusal

_EXPLAINED = frozenset({
    "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "DECLARE CURSOR", "CREATE TABLE AS", "SELECT INTO",
    "CREATE MATERIALIZED VIEW",
})  # fmt: skip
_READS_ON = frozenset({"FETCH", "MOVE"})
_WRITES = "ModifyTable"
_FLOWS = frozenset({"Outer", "Member"})
"""How what flows into it is related to a ModifyTable: from 14 on, and before."""

_EXPLAIN = b"explain (format json) "


def estimate_question(request: Request, statements: tuple[Facts, ...], names: Names | None) -> Question | None:
    """What to ask for a statement's estimate; None where EXPLAIN cannot tell it."""
    if len(statements) != 1:
        return None
    (facts,) = statements
    if facts.kind in _READS_ON and isinstance(facts.control, FetchCursor):
        portal = None if names is None else names.portal(facts.control.name)
        if portal is None:
            return None
        query = portal.prepared
        return Question(_EXPLAIN + query.text, portal.parameters, portal.formats, query.parameter_types)
    if facts.kind == "COPY" and len(request.text) > SHORT:
        return None  # to cut a long text into tokens takes long, and nobody is served meanwhile
    statement = _copied(request.text, facts) if facts.kind == "COPY" else request.text
    if statement is None or facts.kind not in _EXPLAINED or isinstance(facts.control, ExecutePrepared):
        return None
    return Question(_EXPLAIN + statement, request.parameters, request.formats, request.parameter_types)


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
        return Refusal(answer.sqlstate, answer.message)
    try:
        plan: Any = json.loads("".join(row[0] or "" for row in answer.rows))[0]["Plan"]
    except (ValueError, LookupError, TypeError):
        return Unknown.UNKNOWN
    written = _written(plan)
    own = 0 if plan.get("Node Type") == _WRITES else plan.get("Plan Rows", 0)
    return float(max(own, written))


def _written(plan: Any) -> int:
    """The rows that flow into each ModifyTable of a plan: those in its WITH write beside it, or under a SELECT."""
    rows, waiting = 0, [plan]
    while waiting:
        node = waiting.pop()
        below = node.get("Plans", ())
        if node.get("Node Type") == _WRITES:
            rows += sum(child.get("Plan Rows", 0) for child in below if child.get("Parent Relationship") in _FLOWS)
        waiting += below
    return rows
