"""The trace: readable, whole whatever the pieces, and without secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgguard.wire import backend, frontend
from pgguard.wire.constants import Authentication, Backend, Frontend
from pgguard.wire.framing import message
from pgguard.wire.trace import Sender, Trace, describe

SAID_BY_CLIENT = {
    frontend.query(b"select 1"): 'F 14 Query "select 1"',
    frontend.query(b'a\n"b"'): 'F 11 Query "a\\n\\"b\\""',
    frontend.parse(b"s", b"select $1", (23,)): 'F 23 Parse "s" "select $1" 23',
    frontend.bind(b"p", b"s", (b"secret", None)): 'F 29 Bind "p" "s" 2 [6] NULL',
    frontend.execute(b"p", 5): 'F 11 Execute "p" 5',
    frontend.close_portal(b"p"): 'F 8 Close "P" "p"',
    frontend.function_call(7): "F 15 FunctionCall 7 0",
    frontend.sync(): "F 5 Sync",
    frontend.copy_fail(b"why"): 'F 9 CopyFail "why"',
    message(Frontend.COPY_DATA, b"secret"): "F 11 CopyData [6]",
    message(ord("z")): "F 5 Unknown 0x7A",
    message(Frontend.EXECUTE, b"p"): "F 6 Execute malformed: invalid string in message",
}

SAID_BY_SERVER = {
    backend.ready_for_query(b"T"): 'B 6 ReadyForQuery "T"',
    backend.command_complete("SELECT 1"): 'B 14 CommandComplete "SELECT 1"',
    backend.row_description(["a", "b"]): 'B 47 RowDescription 2 "a" "b"',
    backend.data_row(["secret", None]): "B 21 DataRow 2 [6] NULL",
    backend.error(
        {"S": "ERROR", "C": "42601", "M": "no", "F": "scan.l"}
    ): 'B 32 ErrorResponse S "ERROR" C "42601" M "no"',
    backend.parameter_status("TimeZone", "UTC"): 'B 18 ParameterStatus "TimeZone" "UTC"',
    backend.authentication(Authentication.OK): "B 9 Authentication OK",
    message(Backend.PARSE_COMPLETE): "B 5 ParseComplete",
}


@pytest.mark.parametrize(("raw", "line"), SAID_BY_CLIENT.items())
def test_what_a_client_says(raw: bytes, line: str):
    assert describe(Sender.CLIENT, raw) == line


@pytest.mark.parametrize(("raw", "line"), SAID_BY_SERVER.items())
def test_what_a_server_says(raw: bytes, line: str):
    assert describe(Sender.SERVER, raw) == line


@pytest.mark.parametrize(
    ("sender", "raw"),
    [
        (Sender.CLIENT, frontend.password(b"hush")),
        (Sender.CLIENT, frontend.query(b"alter role r PassWord 'hush'")),
        (Sender.CLIENT, frontend.parse(b"", b"alter role r password 'hush'")),
        (Sender.CLIENT, frontend.query(b"create subscription s connection 'host=h user=hush' publication p")),
        (Sender.CLIENT, frontend.query(b"copy t to program 'psql postgresql://u:hush@h/d'")),
        (Sender.CLIENT, frontend.query(b"set app.api_TOKEN = 'hush'")),
        (Sender.CLIENT, frontend.query(b"select crypt('hush', gen_salt('bf'))")),
        (Sender.CLIENT, frontend.bind(b"", b"", (b"hush",))),
        (Sender.CLIENT, message(Frontend.COPY_DATA, b"hush")),
        (Sender.SERVER, backend.authentication(Authentication.GSS_CONTINUE, b"hush")),
        (Sender.SERVER, backend.key_data(backend.KeyData(1, b"hush"))),
        (Sender.SERVER, backend.data_row(["hush"])),
    ],
)
def test_no_secret_is_told(sender: Sender, raw: bytes):
    assert "hush" not in describe(sender, raw)


@given(st.integers(1, 40))
def test_the_pieces_do_not_matter(size: int):
    stream, trace = b"".join(SAID_BY_CLIENT), Trace(Sender.CLIENT)
    lines = [line for start in range(0, len(stream), size) for line in trace.feed(stream[start : start + size])]
    assert lines == list(SAID_BY_CLIENT.values())


@given(st.sampled_from(Sender), st.binary(max_size=60))
def test_any_bytes_are_told(sender: Sender, data: bytes):
    for line in Trace(sender).feed(data):
        assert line.startswith(sender.value)
        assert line.isprintable()
