"""The door's rules, without a socket."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgguard.model.context import Replication, Transport
from pgguard.session.doorway import Doorway, Next, NotAdmitted, Startup, read_startup
from pgguard.wire.constants import PROTOCOL_3_0, PROTOCOL_3_2
from pgguard.wire.framing import ProtocolViolation
from pgguard.wire.startup import (
    CancelRequest,
    GssEncRequest,
    SslRequest,
    StartupMessage,
    read_first_packet,
    startup_message,
)


def startup(version: int = PROTOCOL_3_0, **parameters: str) -> Startup:
    return read_startup(StartupMessage(version, {"user": "alice", **parameters}))


def test_both_encryptions_may_be_asked_for_in_either_order_after_a_no():
    doorway = Doorway(tls=False)
    assert doorway.take(SslRequest(), 0) is Next.ANSWER_NO
    assert doorway.take(GssEncRequest(), 0) is Next.START_GSS
    assert doorway.transport is Transport.GSS


@pytest.mark.parametrize(("first", "second"), list(itertools.product([SslRequest(), GssEncRequest()], repeat=2)))
def test_no_encryption_inside_encryption(first: SslRequest | GssEncRequest, second: SslRequest | GssEncRequest):
    doorway = Doorway(tls=True)
    doorway.take(first, 0)
    with pytest.raises(ProtocolViolation, match="inside an encrypted connection"):
        doorway.take(second, 0)


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("request_", [SslRequest(), GssEncRequest()])
def test_bytes_stuffed_behind_a_request_end_the_connection(tls: bool, request_: SslRequest | GssEncRequest):
    """CVE-2021-23214: an attacker in the middle spoke first inside the client's own encrypted session."""
    with pytest.raises(ProtocolViolation, match="unencrypted data"):
        Doorway(tls=tls).take(request_, 1)


def test_a_cancel_request_passes_at_any_time():
    cancel = CancelRequest(7, b"1234")
    doorway = Doorway(tls=True)
    assert doorway.take(cancel, 0) == cancel
    doorway.take(SslRequest(), 0)
    assert doorway.take(cancel, 0) == cancel


def test_the_database_defaults_to_the_user():
    assert startup().database == "alice"
    assert startup(database="").database == "alice"
    assert startup(database="shop").database == "shop"
    with pytest.raises(NotAdmitted, match="no PostgreSQL user name"):
        read_startup(StartupMessage(PROTOCOL_3_0, {"database": "shop"}))


@pytest.mark.parametrize(
    ("asked", "options", "spoken", "told"),
    [
        (PROTOCOL_3_0, {}, PROTOCOL_3_0, False),
        (PROTOCOL_3_2, {}, PROTOCOL_3_2, False),
        (PROTOCOL_3_0 + 1, {}, PROTOCOL_3_0, True),
        (PROTOCOL_3_0 + 3, {}, PROTOCOL_3_2, True),
        (PROTOCOL_3_0 + 9999, {}, PROTOCOL_3_2, True),
        (PROTOCOL_3_0, {"_pq_.x": "1"}, PROTOCOL_3_0, True),
    ],
)
def test_versions(asked: int, options: dict[str, str], spoken: int, told: bool):
    """A NegotiateProtocolVersion that changes nothing, or names 3.1, is an error for libpq 18."""
    read = startup(asked, **options)
    assert (read.version, read.negotiate, read.refused_options) == (spoken, told, tuple(options))


def test_settings_are_those_of_options_and_packet_in_the_order_the_database_applies_them():
    read = startup(
        options=r"-c role=boss --work-mem=1MB  -cDateStyle=ISO\ -x", search_path="x", application_name="psql"
    )
    assert read.settings == (("role", "boss"), ("work_mem", "1MB"), ("datestyle", "ISO -x"), ("search_path", "x"))
    assert read.application_name == "psql"
    assert startup(options="-c application_name=a").application_name == "a"
    assert startup(options="-c application_name=a", application_name="b").application_name == "b"


def test_two_spellings_of_one_setting_are_one():
    """Judged under one spelling, applied under the other: so a client could have named a principal of its own."""
    read = startup(options="-c pgguard.principal=a -c work_mem=1", **{"PGGUARD.Principal": "b", "Work_Mem": "2"})
    assert read.settings == (("pgguard.principal", "b"), ("work_mem", "2"))


@pytest.mark.parametrize("options", ["-d 5", "x", "-c", "-c x", "--=1", "-c user=postgres", "--replication=database"])
def test_options_that_are_no_setting_are_refused(options: str):
    with pytest.raises(NotAdmitted):
        startup(options=options)


@pytest.mark.parametrize("name", ["Role", "USER", "Client_Encoding", "Replication"])
def test_a_name_in_two_spellings_is_refused(name: str):
    """The database compares names without case, and takes the last (pgbouncer CVE-2025-12819)."""
    with pytest.raises(NotAdmitted, match="spelling"):
        startup(**{"role": "x", name: "y"})


def test_a_key_that_stands_twice_is_refused():
    twice = startup_message(PROTOCOL_3_0, {"user": "alice"})[8:-1] * 2 + b"\0"
    with pytest.raises(ProtocolViolation, match="twice"):
        read_first_packet((len(twice) + 8).to_bytes(4, "big") + PROTOCOL_3_0.to_bytes(4, "big") + twice)


@pytest.mark.parametrize("name", ["UTF8", "utf-8", "'utf-8'", "unicode", "UTF_8"])
def test_every_spelling_of_utf8_passes(name: str):
    """asyncpg sends it in quotes; PostgreSQL compares letters and digits only."""
    assert startup(client_encoding=name).client_encoding == "UTF8"
    assert startup(options=f"-c client_encoding={name}").client_encoding == "UTF8"


@pytest.mark.parametrize("name", ["LATIN1", "SJIS", "GBK", "", "utf"])
def test_other_encodings_get_a_clear_error(name: str):
    for parameters in ({"client_encoding": name}, {"options": f"-c Client_Encoding={name}"}):
        with pytest.raises(NotAdmitted, match="is not supported by pgguard") as caught:
            startup(**parameters)
        assert "UTF8" in (caught.value.refusal.hint or "")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        *((value, Replication.NONE) for value in ("false", "0", "OFF", "of", "n", "f")),
        *((value, Replication.PHYSICAL) for value in ("t", "True", "on", "1", "yes")),
        ("database", Replication.DATABASE),
    ],
)
def test_replication_is_read_as_the_server_reads_it(value: str, wanted: Replication):
    read = startup(replication=value, database="shop")
    assert read.replication is wanted
    assert read.database == ("replication" if wanted is Replication.PHYSICAL else "shop")


@pytest.mark.parametrize("value", ["", "o", "Database", "truest", "2"])
def test_a_replication_that_the_server_does_not_know_is_refused(value: str):
    with pytest.raises(NotAdmitted, match='invalid value for parameter "replication"'):
        startup(replication=value)


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(_TEXT.filter(bool), _TEXT, max_size=6), st.integers(PROTOCOL_3_0, PROTOCOL_3_0 + 0xFFFF))
def test_a_startup_packet_is_read_or_refused_and_never_more(parameters: dict[str, str], version: int):
    packet = read_first_packet(startup_message(version, parameters))
    assert packet == StartupMessage(version, parameters)
    try:
        read = Doorway(tls=True).take(packet, 0)
    except NotAdmitted:
        return
    assert isinstance(read, Startup)
    assert {name.lower() for name, _ in read.settings}.isdisjoint({"user", "database", "replication", "options"})


@given(st.binary(min_size=8, max_size=200))
def test_any_bytes_are_a_packet_or_a_protocol_violation(data: bytes):
    packet = len(data).to_bytes(4, "big") + data[4:]
    with contextlib.suppress(ProtocolViolation, NotAdmitted):
        Doorway(tls=True).take(read_first_packet(packet), 0)
