"""What systemd hears, on a socket as its own."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgguard.runtime.service_manager import ServiceManager


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


def test_it_hears_of_ready_reloading_and_stopping(systemd: socket.socket):
    manager = ServiceManager({"NOTIFY_SOCKET": systemd.getsockname()}, 7)
    manager.ready("serving")
    manager.reloading()
    manager.stopping()
    assert systemd.recv(1000) == b"READY=1\nSTATUS=serving"
    assert systemd.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert systemd.recv(1000).startswith(b"STOPPING=1\n")


def test_an_abstract_socket_is_one_too():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("")  # the kernel chooses an abstract name (unix(7))
        listening.settimeout(10)
        ServiceManager({"NOTIFY_SOCKET": "@" + listening.getsockname()[1:].decode()}, 7).ready("serving")
        assert listening.recv(1000).startswith(b"READY=1")


async def test_the_watchdog_is_fed_three_times_in_its_time(systemd: socket.socket):
    environment = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "300000", "WATCHDOG_PID": "7"}
    feeding = asyncio.create_task(ServiceManager(environment, 7).feed_watchdog())
    began = asyncio.get_running_loop().time()
    assert [await asyncio.to_thread(systemd.recv, 1000) for _ in range(4)] == [b"WATCHDOG=1"] * 4
    assert asyncio.get_running_loop().time() - began >= 0.29
    feeding.cancel()


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "9", "WATCHDOG_PID": "8"}])
async def test_nobody_is_told_what_nobody_waits_for(environment: dict[str, str]):
    """Another process's watchdog is not fed; a socket that is gone costs a warning, and no more."""
    manager = ServiceManager(environment, 7)
    manager.ready("serving")
    await asyncio.wait_for(manager.feed_watchdog(), 10)
