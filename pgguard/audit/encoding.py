"""Records to bytes. What decisions of one moment have in common is encoded once.

Theory of operation. A session that repeats a statement within a second is decided by the very same values
(runtime/recent.py): context, facts and decision are the same objects, and by far the largest part of the record. Their
encoding is kept by identity, beside the objects themselves, so that no other object can take their place. Where the
text is the same as well, a Form has all that such records have in common, and is filled in.
"""

from collections.abc import Sequence

import msgspec

from pgguard.audit.records import MARK, DecisionMade, Record

_REMEMBERED = 256
_ROOM = 8 << 20
"""Bytes of their encoding, and of forms as much; the objects themselves take about as much again."""

_encode = msgspec.json.Encoder().encode

_Parts = tuple[object, object, object]
_Encoded = tuple[msgspec.Raw, msgspec.Raw, msgspec.Raw]


_HEAD = b'{%b"type":"decision","at":"' % MARK


class Form(msgspec.Struct, frozen=True):
    """What decision records have in common that differ in nothing but `at`, `id`, `session`, `values` and `refers`.

    The rest of their fields, in the order in which they are encoded: `first`, then the values, `then`, what they refer
    to, and `last`.
    """

    first: bytes
    then: bytes
    last: bytes

    def filled(self, at: str, session: bytes, number: int, values: Sequence[str | None], refers: bytes) -> bytes:
        """The record, as Encoder.encode would have it. `session`: its name as JSON, as `refers` is; empty for none."""
        return b"".join((
            _HEAD, at.encode(), b'","id":', session[:-1], b"-%d" % number, b'","session":', session, self.first,
            b',"values":' + _encode(values) if values else b"", self.then,
            b',"refers":' + refers if refers else b"", self.last,
        ))  # fmt: skip


class Encoder:
    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()
        self._known: dict[tuple[int, int, int], tuple[_Parts, _Encoded]] = {}
        self._taken = 0
        self._forms: dict[tuple[object, ...], tuple[_Parts, Form]] = {}
        self._taken_by_forms = 0

    def encode(self, record: Record) -> bytes:
        """One JSON object, its schema first."""
        if isinstance(record, DecisionMade) and record.decision is not None:
            context, facts, decision = self._parts(record)
            record = msgspec.structs.replace(record, context=context, facts=facts, decision=decision)
        return b"{" + MARK + self._encoder.encode(record)[1:]

    def form(self, record: DecisionMade) -> Form:
        """Of this record and those like it: one for all sessions whose statement was decided by the same objects."""
        parts = record.context, record.facts, record.decision
        told = record.moment, record.text, record.effect, record.rules, record.error, record.redact, record.hidden
        key = (*map(id, parts), *told, record.binary, record.types)
        known = self._forms.get(key)
        if known is not None:
            return known[1]
        common = msgspec.structs.replace(
            record, at="", id="", session="", values=(), binary=(), types=(), refers=(), redact=None, hidden=()
        )
        form = Form(
            first=self.encode(common).partition(b'"session":""')[2][:-1],
            then=_fields(binary=record.binary, types=record.types),
            last=_fields(redact=record.redact, hidden=record.hidden) + b"}",
        )
        if len(self._forms) >= _REMEMBERED or self._taken_by_forms > _ROOM:
            self._forms.clear()
            self._taken_by_forms = 0
        self._taken_by_forms += len(form.first)
        self._forms[key] = parts, form
        return form

    def _parts(self, record: DecisionMade) -> _Encoded:
        parts = record.context, record.facts, record.decision
        key = id(record.context), id(record.facts), id(record.decision)
        known = self._known.get(key)
        if known is not None:
            return known[1]
        encode = self._encoder.encode
        encoded = msgspec.Raw(encode(parts[0])), msgspec.Raw(encode(parts[1])), msgspec.Raw(encode(parts[2]))
        if len(self._known) >= _REMEMBERED or self._taken > _ROOM:
            self._known.clear()
            self._taken = 0
        self._taken += sum(map(len, encoded))
        self._known[key] = parts, encoded
        return encoded


def _fields(**values: object) -> bytes:
    """As they stand behind other fields: those that are empty are left out."""
    return b"".join([b',"%b":%b' % (name.encode(), _encode(value)) for name, value in values.items() if value])
