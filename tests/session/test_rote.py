"""Pieces that are known by rote: what is taken for a repetition is one, whatever bytes come."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judges import AllowAll

from pgguard.session.names import known_as
from pgguard.session.rote import Rote, beginning, taken_apart
from pgguard.session.session import Session
from pgguard.wire import frontend
from pgguard.wire.constants import Frontend
from pgguard.wire.framing import FrontendFramer, message

names = st.sampled_from([b"", b"a", b"a" * 70, b"\xff"])
values = st.lists(st.one_of(st.none(), st.binary(max_size=5)), max_size=4).map(tuple)
formats = st.sampled_from([(), (0,), (1,)])
describes = st.sampled_from([b"", message(Frontend.DESCRIBE, b"P\0"), message(Frontend.DESCRIBE, b"Sa\0")])


def executing(names: tuple[bytes, bytes], bound: tuple, form: tuple = (), middle: bytes = b"", limit: int = 0) -> bytes:
    """`names`: of the portal and of the statement."""
    return frontend.bind(*names, bound, form) + middle + frontend.execute(names[0], limit) + frontend.sync()


@given(st.tuples(names, names), values, values, st.tuples(formats, describes, st.integers(0, 2)))
def test_a_repetition_with_other_values_is_read(named, first, other, rest):
    rote = taken_apart(executing(named, first, *rest))
    assert rote is not None
    assert (rote.portal, rote.statement, rote.formats) == (known_as(named[0]), known_as(named[1]), rest[0])
    assert rote.describes == bool(rest[1])
    again = executing(named, other, *rest)
    assert rote.values(again) == (other if len(other) == len(first) else None)
    assert beginning(again) == beginning(executing(named, first))


@given(st.tuples(names, names), values, values, st.tuples(formats, describes, st.integers(0, 2)), st.binary(max_size=9))
def test_a_repetition_behind_its_own_parse_is_read(named, first, other, rest, text):
    parse = frontend.parse(named[1], text.replace(b"\0", b""), (23,))
    rote = taken_apart(parse + executing(named, first, *rest))
    assert rote is not None
    assert rote.parse == frontend.read_parse(parse)
    again = parse + executing(named, other, *rest)
    assert rote.values(again) == (other if len(other) == len(first) else None)
    assert rote.values(again[len(parse) :]) is None
    assert rote.values(frontend.parse(named[1], b"another", (23,)) + executing(named, other, *rest)) is None
    assert beginning(again) != beginning(again[len(parse) :])


@given(st.binary(max_size=20))
def test_a_query_is_read_where_it_is_the_same(text):
    piece = frontend.query(text)
    rote = taken_apart(piece)
    assert rote == Rote(piece)
    assert beginning(piece) == piece
    assert rote.values(piece) == ()
    assert rote.values(piece + frontend.sync()) is None


@settings(max_examples=500)
@given(values, formats, describes, st.sampled_from([b"", frontend.parse(b"s", b"select 1", (23,))]), st.data())
def test_what_is_read_is_cut_and_read_as_any_other(bound, form, middle, parse, data):
    """The invariant: any bytes that are taken for a repetition are these messages, with these values."""
    piece = parse + executing((b"p", b"s"), bound, form, middle)
    rote = taken_apart(piece)
    assert rote is not None
    changed = bytearray(piece)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(changed) - 1)))
        match data.draw(st.sampled_from(["change", "remove", "insert"])):
            case "change" if changed:
                changed[at] = data.draw(st.sampled_from([0, 1, 4, 255, changed[at] ^ 1]))
            case "remove":
                del changed[at : at + data.draw(st.integers(1, 5))]
            case _:
                changed[at:at] = data.draw(st.binary(max_size=5))
    found = rote.values(bytes(changed)) if changed else None
    if found is None:
        return
    read = list(FrontendFramer().feed(bytes(changed)))
    before = list(FrontendFramer().feed(piece))
    assert b"".join(each.raw for each in read) == changed
    bind = 1 if parse else 0
    assert (read[:bind], read[bind + 1 :]) == (before[:bind], before[bind + 1 :])
    assert frontend.read_bind(read[bind].raw) == frontend.read_bind(before[bind].raw)._replace(values=found)


@pytest.mark.parametrize(
    "piece",
    [
        executing((b"", b"a"), (b"1",)) * 2,
        executing((b"", b"a"), (b"1",))[:-1],
        frontend.query(b"select 1") * 2,
        frontend.query(b"select 1")[:-1] + b"1",
        frontend.bind(b"a", b"a") + frontend.execute(b"b") + frontend.sync(),
        frontend.bind(b"", b"a")[:-1] + b"\1" + frontend.execute(b"") + frontend.sync(),
        frontend.bind(b"", b"a") + frontend.sync(),
        frontend.parse(b"b", b"select 1") + executing((b"", b"a"), ()),
        frontend.parse(b"a", b"select 1") * 2 + executing((b"", b"a"), ()),
        b"B\0\0\0\3",
    ],
)
def test_other_pieces_are_not_known_by_rote(piece):
    """`frontend.query(...)[:-1] + b"1"` has no NUL: no Query that the session allows, and so none that it learns."""
    assert taken_apart(piece) in {None, Rote(piece)}


class _Raising(AllowAll):
    def precedent(self, number: int) -> None:
        raise RuntimeError(f"no precedent of {number}")


def test_a_judge_that_fails_to_find_a_precedent_breaks_nothing():
    session = Session(_Raising(), limit=1 << 20, parameters={})
    session.client_data(frontend.query(b"select 1"))
    assert session.take_server() == [frontend.query(b"select 1")]


def test_what_is_long_or_of_another_kind_has_no_beginning():
    assert beginning(frontend.query(b"x" * 5000)) is None
    assert beginning(frontend.sync()) is None
