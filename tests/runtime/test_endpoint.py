"""An endpoint over a real socket pair."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from pgguard.runtime import endpoint as module
from pgguard.runtime.endpoint import Endpoint, EndpointClosed


@pytest.fixture(autouse=True)
async def settled() -> AsyncIterator[None]:
    """Connections that a test has closed are closed before its event loop is."""
    yield
    for _ in range(5):
        await asyncio.sleep(0)


class Collector:
    def __init__(self) -> None:
        self.data = bytearray()
        self.gone = asyncio.Event()
        self.may_write: list[bool] = []

    def received(self, data: bytes) -> None:
        self.data += data

    def lost(self) -> None:
        self.gone.set()

    def hung_up(self) -> bool:
        return False

    def writable(self, *, now: bool) -> None:
        self.may_write.append(now)


async def connected() -> tuple[Endpoint, socket.socket]:
    ours, theirs = socket.socketpair()
    _, endpoint = await asyncio.get_running_loop().create_connection(Endpoint, sock=ours)
    return endpoint, theirs


async def test_what_lies_unread_goes_to_the_receiver_first():
    endpoint, peer = await connected()
    collector = Collector()
    peer.sendall(b"startuprest")
    assert await endpoint.read(7) == b"startup"
    endpoint.hand_over(collector)
    peer.close()
    async with asyncio.timeout(5):
        await collector.gone.wait()
    assert collector.data == b"rest"


async def test_a_peer_that_leaves_ends_a_read():
    endpoint, peer = await connected()
    peer.sendall(b"abc")
    peer.close()
    with pytest.raises(EndpointClosed):
        await endpoint.read(4)


async def test_a_paused_endpoint_still_notices_that_its_peer_is_gone(monkeypatch: pytest.MonkeyPatch):
    """pause_reading() hides a client's FIN: its backend query ran on, and its hold waited for nobody."""
    monkeypatch.setattr(module, "_HANG_UP_SECONDS", 0.01)
    endpoint, peer = await connected()
    collector = Collector()
    endpoint.hand_over(collector)
    endpoint.pause(watch=True)
    peer.sendall(b"unread")
    peer.close()
    async with asyncio.timeout(5):
        await collector.gone.wait()
    assert collector.data == b""


async def test_a_resumed_endpoint_reads_on():
    endpoint, peer = await connected()
    collector = Collector()
    endpoint.hand_over(collector)
    endpoint.pause(watch=True)
    peer.sendall(b"later")
    endpoint.resume()
    peer.close()
    async with asyncio.timeout(5):
        await collector.gone.wait()
    assert collector.data == b"later"


async def test_a_peer_that_does_not_read_is_told_to_the_receiver():
    endpoint, peer = await connected()
    collector = Collector()
    endpoint.hand_over(collector)
    endpoint.write(b"x" * 8_000_000)
    assert collector.may_write == [False]
    with peer:
        received = 0
        peer.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            while received < 8_000_000:
                received += len(await loop.sock_recv(peer, 1 << 20))
    async with asyncio.timeout(5):
        await collector.gone.wait()
    assert collector.may_write == [False, True]


async def test_a_flood_before_login_is_not_buffered_without_bound():
    endpoint, peer = await connected()
    peer.setblocking(False)
    flood = asyncio.create_task(asyncio.get_running_loop().sock_sendall(peer, b"x" * 8_000_000))
    async with asyncio.timeout(5):
        await endpoint.peek(module._LOGIN_BUFFER)
    assert endpoint.buffered < 2 * module._LOGIN_BUFFER
    assert not flood.done()
    flood.cancel()
    endpoint.abort()
    peer.close()
    async with asyncio.timeout(5):
        await endpoint.until_closed()
