"""Messages in pieces: what comes out must not depend on how the bytes were cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgguard.wire.constants import MAX_MESSAGE, MAX_SMALL_MESSAGE, MAX_STARTUP, Frontend
from pgguard.wire.framing import FrontendFramer, ProtocolViolation, first_packet_length, message

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


@given(MESSAGES, st.integers(1, 60))
def test_every_cut_gives_the_same_messages(sent: list[bytes], size: int):
    stream, framer = b"".join(sent), FrontendFramer()
    found = [m.raw for start in range(0, len(stream), size) for m in framer.feed(stream[start : start + size])]
    assert found == sent
    assert framer.held == 0


@given(MESSAGES, st.binary(min_size=1, max_size=30), st.data())
def test_the_start_of_a_further_message_is_kept(sent: list[bytes], body: bytes, data: st.DataObject):
    last = message(Frontend.QUERY, body)
    cut = data.draw(st.integers(1, len(last) - 1))
    framer = FrontendFramer()
    assert [m.raw for m in framer.feed(b"".join(sent) + last[:cut])] == sent
    assert framer.held == cut
    assert [m.raw for m in framer.feed(last[cut:])] == [last]


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
