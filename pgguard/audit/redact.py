"""Redaction: what the audit must not hold is taken out before a record is encoded.

Passwords in statements always; constants and bound values as configured. A hash tells equal values apart from others
and nothing else; with a key file it is an HMAC, so that nobody without the key can try values.
"""

import hashlib
import hmac
import re

import msgspec

from pgguard.audit.records import DecisionMade, Record
from pgguard.audit.settings import AuditSettings, Keeping
from pgguard.model.control import DeclareCursor, Prepare
from pgguard.model.facts import Facts
from pgguard.sql.literals import constants, replaced, secrets

MASK = "'***'"
_NEAR = re.compile(r' at or near "(.*)"', re.DOTALL)
_PLAIN = re.compile(r"[^\W\d]\w*|[^\w'\"]+")
"""A word or an operator: no constant, nor the beginning of one."""


class Redactor:
    def __init__(self, settings: AuditSettings, key: bytes | None) -> None:
        self._literals = settings.literals
        self._values = settings.values
        self._key = key

    def record(self, record: Record) -> Record:
        """The record as it may be written."""
        if not isinstance(record, DecisionMade):
            return record
        text = self.text(record.text)
        facts = tuple(self._facts(f) for f in record.facts)
        values = tuple(self.value(v) for v in record.values)
        if text is record.text and values == record.values and all(a is b for a, b in zip(facts, record.facts)):  # noqa: B905  # same length
            return record
        error = record.error if text is record.text else _without_near(record.error)
        return msgspec.structs.replace(record, text=text, values=values, facts=facts, error=error)

    def text(self, text: str) -> str:
        """The statement without its secrets, and with its constants as configured."""
        hidden = secrets(text)
        if hidden:
            text = replaced(text, hidden, [MASK] * len(hidden))
        if self._literals == "keep":
            return text
        spans = constants(text)
        marks = [self._mark(text[span.start : span.end], self._literals) for span in spans]
        return replaced(text, spans, marks)

    def value(self, value: str | None) -> str | None:
        """A bound value as configured; NULL stays NULL."""
        if value is None or self._values == "keep":
            return value
        return self._digest(value) if self._values == "hash" else "?"

    def _facts(self, facts: Facts) -> Facts:
        """PREPARE and DECLARE carry the text of another statement."""
        control = facts.control
        if not isinstance(control, Prepare | DeclareCursor):
            return facts
        query = self.text(control.query)
        if query == control.query:
            return facts
        return msgspec.structs.replace(facts, control=msgspec.structs.replace(control, query=query))

    def _mark(self, literal: str, keeping: Keeping) -> str:
        if literal == MASK:
            return MASK
        return f"'{self._digest(literal)}'" if keeping == "hash" else "'?'"

    def _digest(self, value: str) -> str:
        if self._key is None:
            return "#" + hashlib.sha256(value.encode()).hexdigest()[:16]
        return "#" + hmac.new(self._key, value.encode(), "sha256").hexdigest()[:16]


def _without_near(error: str | None) -> str | None:
    """The error of a text that has something to hide, without the part of the text that it shows."""
    return error and _NEAR.sub(lambda near: near[0] if _PLAIN.fullmatch(near[1]) else f" at or near {MASK}", error)
