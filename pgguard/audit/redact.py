"""Redaction: what the audit must not hold is taken out before a record is encoded.

Passwords in statements always; constants and bound values as configured, or as the rules asked for this statement. A
hash tells equal values apart from others and nothing else; with a key file it is an HMAC, so that nobody without the
key can try values.
"""

import hashlib
import hmac
import re
from collections import OrderedDict

import msgspec

from pgguard.audit.records import DecisionMade, Record
from pgguard.audit.settings import AuditSettings, Keeping
from pgguard.model.access import Access, Kind, ObjectName
from pgguard.model.control import DeclareCursor, Prepare
from pgguard.model.decision import Redaction, strictest
from pgguard.model.facts import Facts
from pgguard.model.secrecy import speaks_of_secrets
from pgguard.sql.literals import MASK, constants, masked, replaced, tells_login

_NEAR = re.compile(r' at or near "(.*)"', re.DOTALL)
_QUOTED = re.compile(r'"([^"]*)"')
_BY_SQLSTATE = re.compile(r"[0-9A-Z]{5}: ")
_PLAIN = re.compile(r"[^\W\d]\w*|[^\w'\"]+")
"""A word or an operator: no constant, nor the beginning of one."""

LONG = 8 * 1024
"""Characters beyond which a text that is to be looked through takes long."""

_ROOM = 8 << 20
"""Characters of long texts whose redacted form is remembered."""

_CARRIES_TEXT = (Prepare, DeclareCursor)
"""What has the text of another statement in its facts."""


class Redactor:
    """To look through a long text takes a second a megabyte: whoever must not wait for that asks `untold` first, has
    `text` called in a process of its own, and tells what came of it by `learn`.
    """

    def __init__(self, settings: AuditSettings, key: bytes | None) -> None:
        self._literals = settings.literals
        self._values = settings.values
        self._key = key
        self._known: OrderedDict[tuple[str, Keeping], str] = OrderedDict()
        self._room = _ROOM

    def record(self, record: Record) -> Record:
        """The record as it may be written."""
        if not isinstance(record, DecisionMade):
            return record
        literals, bound = self._keeping(self._literals, record.redact), self._keeping(self._values, record.redact)
        text, facts, values = self.text(record.text, literals), record.facts, record.values
        if any([isinstance(f.control, _CARRIES_TEXT) for f in facts]):  # noqa: C419  # it is short, and half the time so
            facts = tuple(self._facts(f, literals) for f in facts)
        if values and bound != "keep":
            values = tuple(self.value(v, bound) for v in values)
        if text is record.text and facts is record.facts and values is record.values:
            return record
        hidden = (*(["text"] if text != record.text else ()), *(["values"] if values != record.values else ()))
        error = _error(record, text)
        record = msgspec.structs.replace(record, text=text, values=values, facts=facts, error=error, hidden=hidden)
        return _without_logins(record)

    def keeps_values(self, asked: Redaction | None) -> bool:
        """Whether values are written as they were bound, where the rules asked for this."""
        return self._keeping(self._values, asked) == "keep"

    def untold(self, record: DecisionMade) -> list[tuple[str, Keeping]]:
        """The long texts of a record that are still to be looked through, each with what is to be kept of it."""
        texts = (record.text, *(f.control.query for f in record.facts if isinstance(f.control, _CARRIES_TEXT)))
        literals = self._keeping(self._literals, record.redact)
        return [(text, literals) for text in texts if self._takes_long(text, literals)]

    def _takes_long(self, text: str, literals: Keeping) -> bool:
        unknown = len(text) > LONG and (text, literals) not in self._known
        return unknown and (literals != "keep" or speaks_of_secrets(text))

    def for_people(self, text: str) -> str:
        """The statement without its secrets, at once: one that takes long, and has not been looked through, is one."""
        return MASK if self._takes_long(text, "keep") else self.text(text, "keep")

    def learn(self, text: str, literals: Keeping, redacted: str) -> None:
        if (text, literals) in self._known:
            return  # two sessions had the same
        self._known[text, literals] = redacted
        self._room -= len(text) + len(redacted)
        while self._room < 0:
            (old, _), shown = self._known.popitem(last=False)
            self._room += len(old) + len(shown)

    @staticmethod
    def _keeping(configured: Keeping, asked: Redaction | None) -> Keeping:
        """The stricter of what is configured and what the rules asked for; KEEP is asked for only where all do."""
        if asked is None or asked is Redaction.KEEP:
            return configured if asked is None else "keep"
        return strictest((Redaction(configured), asked)).value

    def text(self, text: str, literals: Keeping) -> str:
        """The statement without its secrets, and with its constants as asked."""
        known = self._known.get((text, literals)) if len(text) > LONG else None
        if known is not None:
            return known
        text = masked(text)
        if literals == "keep":
            return text
        spans = constants(text)
        marks = [self._mark(text[span.start : span.end], literals) for span in spans]
        return replaced(text, spans, marks)

    def value(self, value: str | None, values: Keeping) -> str | None:
        """A bound value as asked; NULL stays NULL."""
        if value is None or values == "keep":
            return value
        return self._digest(value) if values == "hash" else "?"

    def _facts(self, facts: Facts, literals: Keeping) -> Facts:
        control = facts.control
        if not isinstance(control, _CARRIES_TEXT):
            return facts
        query = self.text(control.query, literals)
        return msgspec.structs.replace(facts, control=msgspec.structs.replace(control, query=query))

    def _mark(self, literal: str, keeping: Keeping) -> str:
        if literal == MASK:
            return MASK
        return f"'{self._digest(literal)}'" if keeping == "hash" else "'?'"

    def _digest(self, value: str) -> str:
        if self._key is None:
            return "#" + hashlib.sha256(value.encode()).hexdigest()[:16]
        return "#" + hmac.new(self._key, value.encode(), "sha256").hexdigest()[:16]


def _error(record: DecisionMade, text: str) -> str | None:
    """The error of a record, without what it shows of the statement and the redacted text does not."""
    error = record.error
    if error is None or text is record.text:
        return error
    if _BY_SQLSTATE.match(error) is None:  # an error of pgguard's own, which may quote anything
        return error.partition(":")[0]
    error = _NEAR.sub(lambda near: near[0] if _PLAIN.fullmatch(near[1]) else f" at or near {MASK}", error)
    return _QUOTED.sub(lambda quoted: quoted[0] if _shows(text, quoted[1]) else MASK, error)


def _shows(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def _without_logins(record: DecisionMade) -> DecisionMade:
    """Without the names of objects that are commands with a password in them (COPY TO PROGRAM)."""
    accesses = [access for facts in record.facts for access in facts.accesses]
    if not any(_holds_login(access) for access in accesses):
        return record
    replace = msgspec.structs.replace
    facts = tuple(replace(one, accesses=tuple(map(_without_login, one.accesses))) for one in record.facts)
    decision = record.decision
    if decision is not None:
        decided = (replace(one, access=_without_login(one.access)) for one in decision.accesses)
        decision = replace(decision, accesses=tuple(decided))
    return replace(record, facts=facts, decision=decision)


def _holds_login(access: Access) -> bool:
    return access.kind is Kind.SERVER and tells_login(access.object.name)


def _without_login(access: Access) -> Access:
    return msgspec.structs.replace(access, object=ObjectName(MASK)) if _holds_login(access) else access
