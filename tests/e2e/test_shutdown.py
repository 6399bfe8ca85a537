"""The proxy ends in order: transactions end first, nobody new comes in, and the service manager hears of it."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from pgguard.lab.lab import Lab, Plan
from tests.e2e.conftest import connected


@pytest.fixture(scope="module")
def own(servers: Path) -> Iterator[Lab]:
    with Lab(Plan(servers / "shutdown", settings=("limits.drain_seconds=20",))) as running:
        yield running


@pytest.fixture
def alice(own: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab, with the proxy just started, and alice's ticket in this process's environment."""
    own.proxy.stop()
    own.proxy.start()
    for name, value in own.environment("alice").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)
    return own


async def _gone(connection: asyncpg.Connection) -> None:
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    if not connection.is_closed():
        await asyncio.wait_for(ended.wait(), 20)


async def test_idle_sessions_end_and_transactions_are_let_end(alice: Lab):
    async with connected(alice, "alice") as idle, connected(alice, "alice") as busy:
        transaction = busy.transaction()
        await transaction.start()
        os.kill(alice.proxy.pid, signal.SIGTERM)
        await _gone(idle)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((alice.proxy.host, alice.proxy.port), timeout=5).close()
        assert await busy.fetchval("select count(*) from sales.orders") == 6
        await transaction.commit()
        await _gone(busy)
    await asyncio.to_thread(alice.proxy.stop)  # wait for it
    assert '"what":"stop"' in alice.audit.read_text().splitlines()[-1]


async def test_a_second_signal_cuts_it_short(alice: Lab):
    async with connected(alice, "alice") as busy:
        await busy.transaction().start()
        os.kill(alice.proxy.pid, signal.SIGTERM)
        asleep = asyncio.create_task(busy.execute("select count(*) from sales.orders, generate_series(1, 1000000000)"))
        running = "select count(*) from pg_stat_activity where usename = 'alice' and state = 'active'"
        while (await asyncio.to_thread(alice.postgres.run, running)).strip() != "1":
            assert not asleep.done()
        os.kill(alice.proxy.pid, signal.SIGTERM)
        with pytest.raises((asyncpg.QueryCanceledError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)):
            await asyncio.wait_for(asleep, 20)
    assert (await asyncio.to_thread(alice.postgres.run, running)).strip() == "0"


def test_the_service_manager_hears_of_each_step(own: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own.proxy.stop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        own.proxy.start()
        heard = [systemd.recv(1000), systemd.recv(1000)]
        os.kill(own.proxy.pid, signal.SIGHUP)
        heard += [systemd.recv(1000), systemd.recv(1000)]
        own.proxy.stop()
        heard.append(systemd.recv(1000))
    steps = [message.partition(b"\n")[0] for message in heard]
    assert steps == [b"WATCHDOG=1", b"READY=1", b"RELOADING=1", b"READY=1", b"STOPPING=1"]
