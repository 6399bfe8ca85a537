"""Records to bytes. What decisions of one moment have in common is encoded once.

Theory of operation. A session that repeats a statement within a second is decided by the very same values
(runtime/recent.py): context, facts and decision are the same objects, and by far the largest part of the record. Their
encoding is kept by identity, beside the objects themselves, so that no other object can take their place.
"""

import msgspec

from pgguard.audit.records import MARK, DecisionMade, Record

_REMEMBERED = 256
_ROOM = 8 << 20
"""Bytes of their encoding; the objects themselves take about as much again."""

_Parts = tuple[object, object, object]
_Encoded = tuple[msgspec.Raw, msgspec.Raw, msgspec.Raw]


class Encoder:
    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()
        self._known: dict[tuple[int, int, int], tuple[_Parts, _Encoded]] = {}
        self._taken = 0

    def encode(self, record: Record) -> bytes:
        """One JSON object, its schema first."""
        if isinstance(record, DecisionMade) and record.decision is not None:
            context, facts, decision = self._parts(record)
            record = msgspec.structs.replace(record, context=context, facts=facts, decision=decision)
        return b"{" + MARK + self._encoder.encode(record)[1:]

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
