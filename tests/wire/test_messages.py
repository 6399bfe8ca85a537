"""Every codec: what is written reads back; what is cut short, too long or negative is refused, and never read beyond."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgguard.wire import backend, frontend, startup
from pgguard.wire.constants import Authentication, Backend, Frontend, RequestCode
from pgguard.wire.framing import ProtocolViolation, message

STRING = st.binary(max_size=12).map(lambda raw: raw.replace(b"\0", b""))
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
VALUES = st.lists(st.none() | st.binary(max_size=9), max_size=4).map(tuple)
FORMATS = st.lists(st.sampled_from([0, 1]), max_size=3).map(tuple)
OIDS = st.lists(st.integers(0, 0xFFFFFFFF), max_size=4).map(tuple)

READERS: list[tuple[Callable[[bytes], Any], bytes]] = [
    (frontend.read_query, frontend.query(b"select 1")),
    (frontend.read_parse, frontend.parse(b"name", b"select $1", (23, 0xFFFFFFFF))),
    (frontend.read_bind, frontend.bind(b"portal", b"name", (b"1", None, b""), (0, 1, 0))),
    (frontend.read_execute, frontend.execute(b"portal", 7)),
    (frontend.read_target, frontend.close_portal(b"portal")),
    (frontend.read_function_call, frontend.function_call(1598)),
]
NAMES = [reader.__name__ for reader, _ in READERS]


@given(STRING, STRING, OIDS)
def test_a_parse_reads_back(name: bytes, text: bytes, types: tuple[int, ...]):
    assert frontend.read_parse(frontend.parse(name, text, types)) == (name, text, types)


@given(STRING, STRING, VALUES, FORMATS)
def test_a_bind_reads_back(portal: bytes, name: bytes, values: tuple[bytes | None, ...], formats: tuple[int, ...]):
    read = frontend.read_bind(frontend.bind(portal, name, values, formats))
    assert (read.portal, read.statement, read.values, read.formats) == (portal, name, values, formats)


@given(STRING, st.integers(-(2**31), 2**31 - 1))
def test_an_execute_reads_back(portal: bytes, limit: int):
    assert frontend.read_execute(frontend.execute(portal, limit)) == (portal, limit)


@given(STRING)
def test_targets_read_back(name: bytes):
    assert frontend.read_target(frontend.close_statement(name)) == (ord("S"), name)
    assert frontend.read_target(frontend.close_portal(name)) == (ord("P"), name)


@pytest.mark.parametrize(("reader", "whole"), READERS, ids=NAMES)
def test_a_message_cut_anywhere_is_refused(reader: Callable[[bytes], Any], whole: bytes):
    reader(whole)
    for end in range(5, len(whole)):
        with pytest.raises(ProtocolViolation):
            reader(whole[:end])


@pytest.mark.parametrize(("reader", "whole"), READERS, ids=NAMES)
def test_nothing_may_follow_inside_a_message(reader: Callable[[bytes], Any], whole: bytes):
    """`select 1\\0; drop table t` is one statement to a reader that stops at the NUL, and two texts on the wire."""
    for trailing in (b"\0", b"; drop table t\0"):
        with pytest.raises(ProtocolViolation):
            reader(whole + trailing)


@pytest.mark.parametrize(("reader", "whole"), READERS, ids=NAMES)
@given(data=st.data())
def test_any_change_is_read_or_refused(reader: Callable[[bytes], Any], whole: bytes, data: st.DataObject):
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(5, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolViolation):
        reader(bytes(changed))


@pytest.mark.parametrize("length", [-2, -(2**31), 2**31 - 1, 100])
def test_a_value_of_a_length_that_is_not_there(length: int):
    """Negative beyond NULL's -1, or longer than the message (pgproto3 CVE-2026-4427)."""
    head = b"\0\0" + b"\0\0" + b"\0\1"
    raw = message(Frontend.BIND, head + length.to_bytes(4, "big", signed=True) + b"1" + b"\0\0")
    with pytest.raises(ProtocolViolation):
        frontend.read_bind(raw)


@pytest.mark.parametrize("count", [2, 0x7FFF, 0xFFFF])
def test_more_values_announced_than_there_are(count: int):
    raw = message(Frontend.BIND, b"\0\0\0\0" + count.to_bytes(2, "big") + b"\0\0\0\1x\0\0")
    with pytest.raises(ProtocolViolation):
        frontend.read_bind(raw)


# the server's messages

FIELDS = st.dictionaries(st.sampled_from("SVCMDHP"), TEXT)


@given(FIELDS)
def test_error_fields_read_back(fields: dict[str, str]):
    assert backend.read_fields(backend.error(fields)) == fields
    assert backend.read_fields(backend.notice(fields)) == fields


def test_a_nul_in_an_error_text_cannot_end_its_field():
    assert backend.read_fields(backend.error({"M": "a\0Hb"})) == {"M": "aHb"}


@given(TEXT, TEXT)
def test_a_parameter_status_reads_back(name: str, value: str):
    assert backend.read_parameter_status(backend.parameter_status(name, value)) == (name, value)


@given(st.integers(-(2**31), 2**31 - 1), st.binary(min_size=4, max_size=256))
def test_key_data_reads_back(process: int, secret: bytes):
    key = backend.KeyData(process, secret)
    assert backend.read_key_data(backend.key_data(key)) == key


@pytest.mark.parametrize("length", [0, 3, 257])
def test_a_key_that_no_version_has(length: int):
    with pytest.raises(ProtocolViolation):
        backend.read_key_data(message(Backend.BACKEND_KEY_DATA, bytes(4 + length)))


@given(st.sampled_from(Authentication), st.binary(max_size=20))
def test_authentication_reads_back(code: Authentication, data: bytes):
    assert backend.read_authentication(backend.authentication(code, data)) == (code, data)


@given(st.lists(st.none() | TEXT, max_size=5))
def test_a_row_reads_back(values: list[str | None]):
    read = backend.read_data_row(backend.data_row(values))
    assert [None if value is None else value.decode() for value in read] == values


@given(TEXT)
def test_a_command_tag_reads_back(tag: str):
    assert backend.read_command_tag(backend.command_complete(tag)) == tag


# packets without a type

PARAMETERS = st.dictionaries(TEXT.filter(bool), TEXT, max_size=4)


@given(PARAMETERS)
def test_a_startup_message_reads_back(parameters: dict[str, str]):
    read = startup.read_first_packet(startup.startup_message(3 << 16, parameters))
    assert read == startup.StartupMessage(3 << 16, parameters)


def test_the_requests_read_back():
    assert startup.read_first_packet(startup.ssl_request()) == startup.SslRequest()
    gss = (8).to_bytes(4, "big") + RequestCode.GSSENC.to_bytes(4, "big")
    assert startup.read_first_packet(gss) == startup.GssEncRequest()


@given(st.integers(-(2**31), 2**31 - 1), st.binary(min_size=4, max_size=256))
def test_a_cancel_request_reads_back(process: int, secret: bytes):
    assert startup.read_first_packet(startup.cancel_request(process, secret)) == (process, secret)


@pytest.mark.parametrize("length", [0, 3, 257])
def test_a_cancel_request_with_a_key_of_no_version(length: int):
    with pytest.raises(ProtocolViolation):
        startup.read_first_packet(startup.cancel_request(1, bytes(length)))


@pytest.mark.parametrize(
    "body",
    [
        b"user\0eve",  # the value does not end
        b"user\0eve\0",  # the list does not end
        b"user\0eve\0\0\0",  # something follows the end
        b"user\0eve\0user\0postgres\0\0",  # the database would take the last one
        b"us\xff\0eve\0\0",
    ],
)
def test_a_startup_message_that_is_none(body: bytes):
    packet = (8 + len(body)).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + body
    with pytest.raises(ProtocolViolation):
        startup.read_first_packet(packet)


@pytest.mark.parametrize("major", [0, 2, 4, 1234])
def test_another_protocol_is_named(major: int):
    packet = (9).to_bytes(4, "big") + (major << 16).to_bytes(4, "big") + b"\0"
    with pytest.raises(ProtocolViolation, match=f"unsupported frontend protocol {major}.0"):
        startup.read_first_packet(packet)


@given(st.binary(min_size=4, max_size=60))
def test_any_first_packet_is_read_or_refused(rest: bytes):
    with contextlib.suppress(ProtocolViolation):
        startup.read_first_packet((4 + len(rest)).to_bytes(4, "big") + rest)
