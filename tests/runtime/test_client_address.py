"""Whose address counts: the balancer's word from listed networks, the socket's own from all others."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest

from pgguard.runtime.client_address import ClientAddresses
from pgguard.runtime.config import ConfigError, parse_config
from pgguard.runtime.endpoint import Endpoint, EndpointClosed
from pgguard.wire import startup
from pgguard.wire.framing import ProtocolViolation
from pgguard.wire.proxy_protocol import SIGNATURE

BALANCER, OTHER = "127.0.0.8", "127.0.0.9"
LISTED = ClientAddresses(["10.1.0.0/16", f"{BALANCER}/32"])


def header_for(client: str, command: int = 0x21) -> bytes:
    source = ip_address(client)
    addresses = source.packed + bytes(len(source.packed) + 4)
    return SIGNATURE + struct.pack("!BBH", command, 0x11 if source.version == 4 else 0x21, len(addresses)) + addresses


@asynccontextmanager
async def connected(source: str) -> AsyncIterator[tuple[Endpoint, socket.socket]]:
    """An endpoint with a client from that loopback address."""
    accepted: asyncio.Queue[Endpoint] = asyncio.Queue()

    class Accepting(Endpoint):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted.put_nowait(self)

    server = await asyncio.get_running_loop().create_server(Accepting, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname(), source_address=(source, 0))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    endpoint = await accepted.get()
    try:
        yield endpoint, client
    finally:
        client.close()
        endpoint.abort()
        await endpoint.until_closed()
        server.close()


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::7"])
async def test_a_listed_balancer_tells_the_client_and_nothing_behind_the_header_is_touched(client: str):
    async with connected(BALANCER) as (endpoint, sender):
        sender.sendall(header_for(client) + startup.ssl_request() + b"more")
        async with asyncio.timeout(10):
            assert await LISTED.of(endpoint) == client
            assert await endpoint.read(12) == startup.ssl_request() + b"more"


async def test_a_header_may_come_byte_by_byte():
    async with connected(BALANCER) as (endpoint, sender):
        asked = asyncio.create_task(LISTED.of(endpoint))
        whole = header_for("192.0.2.7")
        for position in range(len(whole) - 1):
            sender.sendall(whole[position : position + 1])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asked), 0.005)
            assert not asked.done()
        sender.sendall(whole[-1:])
        async with asyncio.timeout(10):
            assert await asked == "192.0.2.7"


@pytest.mark.parametrize("sent", [header_for("192.0.2.7"), b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n"])
async def test_nobody_else_may_tell_an_address(sent: bytes):
    async with connected(OTHER) as (endpoint, sender):
        sender.sendall(sent)
        with pytest.raises(ProtocolViolation, match="does not list"):
            await LISTED.of(endpoint)


async def test_others_connect_as_ever():
    async with connected(OTHER) as (endpoint, sender):
        sender.sendall(startup.ssl_request())
        assert await LISTED.of(endpoint) == OTHER
        assert await endpoint.read(8) == startup.ssl_request()


async def test_a_balancer_that_tells_nothing_is_refused_but_for_a_cancel_request():
    async with connected(BALANCER) as (endpoint, sender):
        sender.sendall(startup.ssl_request())
        with pytest.raises(ProtocolViolation, match="send-proxy-v2 is missing"):
            await LISTED.of(endpoint)
    async with connected(BALANCER) as (endpoint, sender):
        sender.sendall(startup.cancel_request(1, b"1234"))
        assert await LISTED.of(endpoint) == BALANCER


async def test_a_balancers_health_check_is_its_own():
    async with connected(BALANCER) as (endpoint, sender):
        sender.sendall(header_for("192.0.2.7", command=0x20))
        assert await LISTED.of(endpoint) == BALANCER


async def test_a_header_that_ends_too_soon_is_no_client():
    async with connected(BALANCER) as (endpoint, sender):
        sender.sendall(header_for("192.0.2.7")[:-1])
        sender.shutdown(socket.SHUT_WR)
        with pytest.raises(EndpointClosed):
            async with asyncio.timeout(10):
                await LISTED.of(endpoint)


def test_a_network_that_is_none_is_told_with_its_key(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)\[listen\].*10\.0\.0\.1/8 has host bits set"):
        parse_config({"listen": {"proxy_from": ["10.0.0.1/8"]}}, tmp_path / "pgguard.toml")
