"""Refusal: the poison that stands in the place of a refused message, and the error that the client gets for it.

A poison is certain to fail in the database's raw parser, under every setting and in every transaction state (42601),
so that the database itself aborts the transaction and skips until Sync. It carries nothing the client chose, and is
shorter than an identifier (63 bytes), so that no truncation notice precedes the error (field notes, section 2).
"""

from pgguard.model.refusal import Refusal
from pgguard.session.judgement import Moment
from pgguard.wire import backend, frontend

POISON_NAME = b"pgguard.poison"
"""The name under which a poison is parsed: a failing Parse of the unnamed statement would drop the client's."""

_MAX_ID = 63 - len("pgguard refused statement ")


def poison(moment: Moment, audit_id: str) -> bytes:
    """The message to relay instead of the refused one.

    A FunctionCall is replaced by a call of function 0, which exists nowhere: a Query would drop the client's unnamed
    statement, and the state afterwards would differ from that of a call that failed.
    """
    text = poison_text(audit_id)
    match moment:
        case Moment.QUERY:
            return frontend.query(text)
        case Moment.FUNCTION_CALL:
            return frontend.function_call(0)
        case Moment.PARSE | Moment.BIND | Moment.EXECUTE:
            return frontend.parse(POISON_NAME, text)


def poison_text(audit_id: str) -> bytes:
    mark = "".join(c for c in audit_id if c.isascii() and (c.isalnum() or c in "-.:"))
    return f"pgguard refused statement {mark[:_MAX_ID]}".encode()


def refusal_error(refusal: Refusal, severity: str = "ERROR") -> bytes:
    """The ErrorResponse that the client gets."""
    fields = {"S": severity, "V": severity, "C": str(refusal.sqlstate), "M": refusal.message}
    if refusal.detail:
        fields["D"] = refusal.detail
    if refusal.hint:
        fields["H"] = refusal.hint
    if refusal.position:
        fields["P"] = str(refusal.position)
    return backend.error(fields)
