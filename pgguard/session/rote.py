"""Pieces of a client's that come again word for word, but for the values that they bind.

Theory of operation. An application sends few statements, each many times: as one Query, or in one piece as Bind,
perhaps Describe, Execute and Sync, with other values each time, and where it does not keep its statements prepared, a
Parse before them. Such a piece is taken apart once; the next one that begins alike is held against it, and where
nothing but the values differs, all that its messages say is known.

# INVARIANT: a piece that `values` has read is cut into messages as FrontendFramer would cut it, and each of them reads
as its pattern does, but for the values of the Bind.
"""

import struct
from collections.abc import Sequence
from weakref import ReferenceType, ref

import msgspec

from pgguard.session.judgement import Judge, Names, Precedent, Prepared
from pgguard.session.names import known_as
from pgguard.wire import frontend
from pgguard.wire.constants import Frontend
from pgguard.wire.framing import FrontendFramer, Message, ProtocolViolation

_LONGEST = 4096
"""Bytes of a piece: what is longer costs more to judge than to take apart."""

_REMEMBERED = 16
"""Pieces of a session: what a transaction of an application usually consists of."""

_QUERY, _PARSE, _BIND = int(Frontend.QUERY), int(Frontend.PARSE), int(Frontend.BIND)
_NAMING = frozenset({_PARSE, _BIND})
_BODY = 5
_int32 = struct.Struct("!i").unpack_from

_EXECUTING = {
    bytes((Frontend.BIND, Frontend.EXECUTE, Frontend.SYNC)): False,
    bytes((Frontend.BIND, Frontend.DESCRIBE, Frontend.EXECUTE, Frontend.SYNC)): True,
}
"""By the types of their messages, the pieces that run a prepared statement; and whether they ask for a description."""


class Rote(msgspec.Struct, frozen=True):
    """One piece, taken apart.

    Of a Query `start` is all of it, and `statement` None. Of others `before` is the Parse, if there is one, `start` the
    body of the Bind before its values, `count` how many these are, and `rest` what is behind them, down to the Sync.
    `parse`: what the Parse says; `statement`, `portal`, `formats`: what the Bind says; `describes`: whether a Describe
    is among them.
    """

    start: bytes
    before: bytes = b""
    parse: frontend.Parse | None = None
    statement: str | None = None
    portal: str = ""
    formats: tuple[int, ...] = ()
    describes: bool = False
    count: int = 0
    results: int = 0
    """Bytes of `rest` that are still the Bind's: the formats of its results."""
    rest: bytes = b""

    def values(self, piece: bytes) -> tuple[bytes | None, ...] | None:
        """What a piece that begins alike binds; None where it is not this one but for the values."""
        if self.statement is None:
            return () if piece == self.start else None
        bind = len(self.before)
        known = piece.startswith(self.before) and piece[bind : bind + 1] == b"B"
        if not known or not piece.startswith(self.start, bind + _BODY):
            return None
        at = bind + _BODY + len(self.start)
        values: list[bytes | None] = []
        try:
            for _ in range(self.count):
                length = _int32(piece, at)[0]
                at += 4
                if length >= 0:
                    values.append(piece[at : at + length])
                    at += length
                elif length == -1:
                    values.append(None)
                else:
                    return None
            ends = bind + 1 + _int32(piece, bind + 1)[0]
        except struct.error:
            return None
        return tuple(values) if at + self.results == ends and piece[at:] == self.rest else None


class Known(msgspec.Struct, frozen=True):
    """A piece with what its requests were allowed by. `prepared`: what its Bind is about; None for a Query."""

    rote: Rote
    precedents: tuple[ReferenceType[Precedent], ...]
    prepared: Prepared | None


class Rotes:
    """The pieces that one session knows by rote, by their beginnings."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def known(self, key: bytes) -> Known | None:
        return self._known.get(key)

    def learn(self, key: bytes, piece: bytes, first: int, judge: Judge, names: Names) -> None:
        """Know this piece, which has just been taken; its first request had this number."""
        known = self._known.get(key)
        rote = taken_apart(piece) if known is None or known.rote.values(piece) is None else known.rote
        precedent = None if rote is None else judge.precedent(first)  # which costs more than to take it apart
        if rote is None or precedent is None:
            return
        prepared, precedents = None, [precedent]
        if rote.parse is not None:
            bound = judge.precedent(first + 1)
            if bound is None:
                return
            precedents.append(bound)
            prepared = Prepared(rote.parse.text, rote.parse.types)
        elif rote.statement is not None:
            prepared = names.prepared(rote.statement)
            assert prepared is not None, "what was allowed has a statement"
        if len(self._known) >= _REMEMBERED and key not in self._known:
            self._known.clear()
        self._known[key] = Known(rote, tuple(map(ref, precedents)), prepared)


def beginning(piece: bytes) -> bytes | None:
    """What pieces have in common that may be alike: all of a Query, the names of a Bind, a Parse's name and text.

    None for all others.
    """
    if len(piece) > _LONGEST:
        return None
    if piece[0] == _QUERY:
        return piece
    if piece[0] not in _NAMING:
        return None
    return piece[:1] + piece[_BODY : piece.find(b"\0", piece.find(b"\0", _BODY) + 1) + 1]


def taken_apart(piece: bytes) -> Rote | None:
    """The pattern of a piece; None for one that has none."""
    framer = FrontendFramer()
    try:
        messages = list(framer.feed(piece))
        if framer.held or not messages:
            return None
        if len(messages) == 1 and messages[0].type == _QUERY:
            return Rote(piece)
        parse = messages[0] if messages[0].type == _PARSE else None
        behind = messages if parse is None else messages[1:]
        describes = _EXECUTING.get(bytes([message.type for message in behind]))
        return None if describes is None else _executing(parse, behind, describes=describes)
    except ProtocolViolation:
        return None


def _executing(parsing: Message | None, messages: Sequence[Message], *, describes: bool) -> Rote | None:
    raw, execute = messages[0].raw, frontend.read_execute(messages[-2].raw)
    bind = frontend.read_bind(raw)
    before = b"" if parsing is None else parsing.raw
    parse = frontend.read_parse(before) if before else None
    if execute.portal != bind.portal or (parse is not None and parse.name != bind.statement):
        return None
    if describes:
        frontend.read_target(messages[1].raw)
    results = len(raw) - 2 - 2 * len(bind.result_formats)
    start = results - sum([4 + len(value or b"") for value in bind.values])
    return Rote(
        start=raw[_BODY:start],
        before=before,
        parse=parse,
        statement=known_as(bind.statement),
        portal=known_as(bind.portal),
        formats=bind.formats,
        describes=describes,
        count=len(bind.values),
        results=len(raw) - results,
        rest=b"".join((raw[results:], *[message.raw for message in messages[1:]])),
    )
