"""Cancel requests between nodes: each finds its owner, and none goes round in circles."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgguard.runtime.config import ConfigError, parse_config
from pgguard.runtime.peers import Peers, PeersSettings
from pgguard.wire.backend import KeyData
from pgguard.wire.startup import CancelRequest, read_first_packet

NOWHERE = "localhost:1"


@asynccontextmanager
async def node(peers: Peers) -> AsyncIterator[tuple[str, list[CancelRequest]]]:
    """Where a node listens, and which requests are for sessions of its own."""
    own = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(4)
        packet = read_first_packet(head + await reader.readexactly(int.from_bytes(head, "big") - 4))
        assert isinstance(packet, CancelRequest)
        taken = await peers.take(packet)
        if taken is not None:
            own.append(taken)
        writer.close()

    server = await asyncio.start_server(serve, "localhost", 0)
    async with server:
        yield f"localhost:{server.sockets[0].getsockname()[1]}", own


@given(st.integers(1, 1023), st.integers(0, (1 << 31) - 1))
def test_a_key_stays_a_positive_number_and_keeps_the_low_bits(number: int, process: int):
    key = Peers(PeersSettings(number, {str(number): NOWHERE})).mark(KeyData(process, b"abcd"))
    assert 0 <= key.process < 1 << 31
    assert (key.process >> 21, key.process & 0x1FFFFF, key.secret) == (number, process & 0x1FFFFF, b"abcd")


@pytest.mark.parametrize("secret", [b"1234", b"1" * 32])
async def test_a_request_reaches_the_node_whose_key_it_names(secret: bytes):
    second = Peers(PeersSettings(2, {"1": NOWHERE, "2": NOWHERE}))
    key = second.mark(KeyData(77, secret))
    async with node(second) as (where, own):
        first = Peers(PeersSettings(1, {"1": NOWHERE, "2": where}))
        assert await first.take(CancelRequest(*key)) is None
        assert own == [CancelRequest(*key)]


async def test_ones_own_and_those_of_nobody_stay():
    first = Peers(PeersSettings(1, {"1": NOWHERE, "2": NOWHERE}))
    for process in (*first.mark(KeyData(5, b"1234"))[:1], 5, 9 << 21, -1):
        request = CancelRequest(process, b"1234")
        assert await first.take(request) == request
    alone = Peers(None)
    key = CancelRequest(*alone.mark(KeyData(4194304, b"1234")))
    assert key.process == 4194304, "a backend's number may have 22 bits"
    assert await alone.take(key) == key


async def test_nodes_that_contradict_each_other_send_nothing_in_circles():
    """Each holds the other for the owner: without a mark a request would go to and fro for ever."""
    third = Peers(PeersSettings(3, {"2": NOWHERE, "3": NOWHERE}))
    key = KeyData(2 << 21, b"1234")
    async with node(third) as (where, own):
        third._others[2] = ("localhost", int(where.rpartition(":")[2]))
        first = Peers(PeersSettings(1, {"1": NOWHERE, "2": where}))
        async with asyncio.timeout(10):
            assert await first.take(CancelRequest(*key)) is None
        assert own == [CancelRequest(*key)]


async def test_a_node_that_is_gone_costs_a_warning(caplog: pytest.LogCaptureFixture):
    first = Peers(PeersSettings(1, {"1": NOWHERE, "2": NOWHERE}))
    assert await first.take(CancelRequest(2 << 21, b"1234")) is None
    assert "could not pass a cancel request on to localhost port 1" in caplog.text


@pytest.mark.parametrize(
    ("peers", "what"),
    [
        ({"node": 3, "addresses": {"1": NOWHERE}}, "node is 3, which addresses do not name"),
        ({"node": 1, "addresses": {"1": "host"}}, "no address; write it as host:port"),
        ({"node": 1, "addresses": {"1024": NOWHERE}}, "from 1 to 1023"),
    ],
)
def test_settings_that_make_no_sense_are_told(peers: dict[str, object], what: str, tmp_path):
    with pytest.raises(ConfigError, match=rf"(?s)\[peers\].*{what}"):
        parse_config({"peers": peers}, tmp_path / "pgguard.toml")
