"""Messages in pieces: what comes out must not depend on how the bytes were cut."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgguard.wire.constants import MAX_MESSAGE, MAX_SMALL_MESSAGE, MAX_STARTUP, Frontend
from pgguard.wire.framing import FrontendFramer, Message, ProtocolViolation, first_packet_length, headers_alike, message

MESSAGES = st.lists(st.builds(message, st.sampled_from(Frontend), st.binary(max_size=40)), max_size=8)

SMALL = [
    Frontend.SYNC,
    Frontend.FLUSH,
    Frontend.TERMINATE,
    Frontend.COPY_DONE,
    Frontend.COPY_FAIL,
    Frontend.EXECUTE,
    Frontend.DESCRIBE,
    Frontend.CLOSE,
]


COPY = st.builds(message, st.just(Frontend.COPY_DATA), st.binary(max_size=8))


def apart(found: Iterable[Message]) -> list[bytes]:
    """Each message by itself, also those of a run."""
    parts = []
    for whole in found:
        rest = whole.raw
        for _ in range(whole.parts):
            assert rest[0] == whole.type
            end = 1 + int.from_bytes(rest[1:5], "big")
            parts.append(rest[:end])
            rest = rest[end:]
        assert not rest
        assert whole.parts == 1 or whole.type == Frontend.COPY_DATA
    return parts


@given(MESSAGES, st.integers(1, 60))
def test_every_cut_gives_the_same_messages(sent: list[bytes], size: int):
    stream, framer = b"".join(sent), FrontendFramer()
    found = [m for start in range(0, len(stream), size) for m in framer.feed(stream[start : start + size])]
    assert apart(found) == sent
    assert framer.held == 0


@given(st.lists(st.one_of(COPY, COPY, MESSAGES.filter(len).map(lambda some: some[0])), max_size=12), st.data())
def test_runs_of_copy_data_are_as_long_as_the_piece_allows(sent: list[bytes], data: st.DataObject):
    stream, framer = b"".join(sent), FrontendFramer()
    at = data.draw(st.integers(0, len(stream)))
    found = [[*framer.feed(piece)] for piece in (stream[:at], stream[at:])]
    assert apart([*found[0], *found[1]]) == sent
    assert framer.held == 0
    for piece in found:
        # the first one of a piece may be what the piece before began
        kinds = [one.type for one in piece[1:]]
        assert (Frontend.COPY_DATA, Frontend.COPY_DATA) not in pairwise(kinds)


def test_a_run_ends_before_a_length_that_no_message_has():
    good = message(Frontend.COPY_DATA, b"1") * 3
    for wrong in (b"d\0\0\0\3", b"d\0\0\1\0"):
        found = FrontendFramer(100).feed(good + wrong)
        assert next(found) == Message(Frontend.COPY_DATA, good, 3)
        with pytest.raises(ProtocolViolation):
            next(found)


@given(MESSAGES, st.binary(min_size=1, max_size=30), st.data())
def test_the_start_of_a_further_message_is_kept(sent: list[bytes], body: bytes, data: st.DataObject):
    last = message(Frontend.QUERY, body)
    cut = data.draw(st.integers(1, len(last) - 1))
    framer = FrontendFramer()
    assert apart(framer.feed(b"".join(sent) + last[:cut])) == sent
    assert framer.held == cut
    assert [m.raw for m in framer.feed(last[cut:])] == [last]


def alike_one_by_one(data: bytes, at: int) -> int:
    header, found = data[at : at + 5], 0
    while len(header) == 5 and data[at : at + 5] == header:
        found += 1
        at += 1 + int.from_bytes(header[1:], "big")
    return found if found >= 4 else 1


ROWS = st.builds(message, st.sampled_from(b"DDDDdC"), st.sampled_from([b"", b"1", b"D", b"D\0\0\0\5D", bytes(300)]))
RUNS = st.builds(lambda row, count: row * count, ROWS, st.sampled_from([1, 2, 3, 4, 5, 15, 16, 17, 80, 81, 400]))


@given(st.binary(max_size=3), st.lists(RUNS, min_size=1, max_size=4), st.integers(0, 320))
def test_headers_that_are_alike_are_as_many_as_one_by_one(before: bytes, runs: list[bytes], cut: int):
    data, at = before + b"".join(runs), len(before)
    data = data[: max(len(data) - cut, at + 5)]
    assert headers_alike(data, at) == alike_one_by_one(data, at)


@given(st.binary(min_size=5, max_size=40))
@example(b"D\0\0\0\0" * 4)
@example(b"D\xff\xff\xff\xff" * 4)
def test_headers_that_no_message_has_are_counted_the_same(data: bytes):
    assert headers_alike(data, 0) == alike_one_by_one(data, 0)


@pytest.mark.parametrize("length", [0, 1, 3, 0xFFFFFFFF, 0x80000000, MAX_MESSAGE + 1])
def test_a_length_that_no_message_has_is_refused_at_its_header(length: int):
    """Negative to the server, less than itself, or of 4 GiB: never waited for, never wrapped (pgx CVE-2024-27304)."""
    framer = FrontendFramer()
    with pytest.raises(ProtocolViolation, match="invalid message length"):
        list(framer.feed(b"Q" + length.to_bytes(4, "big")))


def test_messages_before_a_wrong_length_are_still_given():
    found = FrontendFramer().feed(message(Frontend.SYNC) + b"Q\0\0\0\0")
    assert next(found).raw == message(Frontend.SYNC)
    with pytest.raises(ProtocolViolation):
        next(found)


@pytest.mark.parametrize("kind", SMALL)
def test_messages_without_user_data_are_small(kind: Frontend):
    whole = message(kind, bytes(MAX_SMALL_MESSAGE - 4))
    assert [m.raw for m in FrontendFramer().feed(whole)] == [whole]
    with pytest.raises(ProtocolViolation):
        list(FrontendFramer().feed(bytes((kind,)) + (MAX_SMALL_MESSAGE + 1).to_bytes(4, "big")))


def test_the_limit_holds_for_what_carries_user_data():
    whole = message(Frontend.QUERY, bytes(96))
    assert [m.raw for m in FrontendFramer(100).feed(whole)] == [whole]
    with pytest.raises(ProtocolViolation):
        list(FrontendFramer(99).feed(whole[:5]))


@pytest.mark.parametrize("length", [0, 4, 7, MAX_STARTUP + 5, 0x80000000, 0xFFFFFFFF])
def test_a_length_that_no_startup_packet_has(length: int):
    assert first_packet_length(length.to_bytes(4, "big")[:3]) is None
    with pytest.raises(ProtocolViolation):
        first_packet_length(length.to_bytes(4, "big"))


@pytest.mark.parametrize("length", [8, MAX_STARTUP + 4])
def test_the_shortest_and_the_longest_startup_packet(length: int):
    assert first_packet_length(length.to_bytes(4, "big") + b"more") == length
