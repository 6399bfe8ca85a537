"""Where clients come in."""

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from pgguard.lab.ports import free_port
from pgguard.runtime.config import ListenSettings
from pgguard.runtime.entrance import HandedIn, Port


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")  # type: ignore[attr-defined]
        transport.close()


async def _greeting(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("localhost", port)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_a_port_is_open_until_it_is_closed():
    port = Port(ListenSettings(port=free_port()), {})
    assert not port.is_open
    await port.open(Greeter)
    assert port.is_open
    assert await _greeting(port._settings.port) == b"hello"
    port.close()
    with pytest.raises(OSError, match=r"refused|failed"):
        await _greeting(port._settings.port)


_ACTIVATED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
import asyncio
from pgguard.runtime.config import ListenSettings
from pgguard.runtime.entrance import Port
from tests.runtime.test_entrance import Greeter

async def main():
    port = Port(ListenSettings(port=1), {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
    await port.open(Greeter)
    print("open", flush=True)
    await asyncio.to_thread(input)

asyncio.run(main())
"""


async def test_a_socket_of_systemds_outlives_the_process_and_nobody_is_turned_away_meanwhile():
    """As sd_listen_fds(3) has it: descriptor 3 is the first. The second connection comes while nobody serves."""
    with socket.create_server(("localhost", 0)) as listening:
        port = listening.getsockname()[1]
        for _ in range(2):
            greeting = asyncio.create_task(_greeting(port))
            await asyncio.sleep(0)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _ACTIVATED, str(listening.fileno())),
                pass_fds=[listening.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": "."},
            )
            assert await asyncio.wait_for(greeting, 30) == b"hello"
            await process.communicate(b"\n")


async def test_what_was_handed_in_before_the_end_is_served():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    closed: list[None] = []
    entrance = HandedIn(theirs, lambda: closed.append(None))
    await entrance.open(Greeter)
    pairs = [socket.socketpair() for _ in range(100)]
    for near, _ in pairs:
        socket.send_fds(ours, [b"c"], [near.fileno()])
        near.close()
    entrance.close()
    assert not entrance.is_open
    for _, far in pairs:
        far.settimeout(10)
        assert await asyncio.to_thread(far.recv, 10) == b"hello"
        far.close()
    assert closed == [], "those who serve a connection tell of its end"
    ours.close()
    theirs.close()
