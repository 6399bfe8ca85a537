"""A cancel request that is late: what it was meant for has ended, and the next statement is not for it.

Other proxies let it hit that one (pgbouncer #717). Here a gate before the database holds the cancel's connection back, so
that it certainly comes late.
"""

import asyncio
import os
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from pgguard.lab.lab import Lab
from pgguard.lab.ports import free_port
from pgguard.lab.proxy import Proxy, override, to_toml

CANCEL_REQUEST = (80877102).to_bytes(4, "big")


class Gate:
    """Relays connections to the database; those that begin with a CancelRequest wait until `opened`."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self.came = asyncio.Event()
        self.opened = asyncio.Event()
        self.seen = b""
        """All that went to the database."""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(8)
        if first[4:] == CANCEL_REQUEST:
            self.came.set()
            await self.opened.wait()
        back, on = await asyncio.open_connection(*self._to)
        on.write(first)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._relay(reader, on))
            both.create_task(self._relay(back, writer))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.seen += data
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def gate(lab: Lab) -> AsyncIterator[Gate]:
    made = Gate(lab.postgres.host, lab.postgres.port)
    yield made
    made.opened.set()


@pytest.fixture
async def session(
    lab: Lab, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[psycopg.AsyncConnection]:
    """dora's, through a proxy whose database is behind the gate."""
    port = free_port()
    async with await asyncio.start_server(gate.take, "localhost", 0) as server:
        behind = server.sockets[0].getsockname()[1]
        sections = tomllib.loads(lab.config.read_text())
        audit = f"audit.path={tmp_path / 'audit.jsonl'}"
        override(sections, [f"listen.port={port}", f"database.port={behind}", "rules.mode=observe", audit])
        (tmp_path / "pgguard.toml").write_text(to_toml(sections))
        proxy = Proxy(tmp_path / "pgguard.toml", port, {**os.environ, **lab.realm.environment()}, tied=True)
        await asyncio.to_thread(proxy.start)
        for name, value in lab.environment("dora").items():
            if name.startswith("KRB5"):
                monkeypatch.setenv(name, value)
        try:
            where = f"host=localhost port={port} user=dora dbname=shop gssencmode=disable"
            async with await psycopg.AsyncConnection.connect(where, autocommit=True) as made:
                yield made
        finally:
            await asyncio.to_thread(proxy.stop)


async def test_the_next_statement_waits_until_a_late_cancel_is_over(
    lab: Lab, gate: Gate, session: psycopg.AsyncConnection
):
    with psycopg.connect(lab.postgres.dsn("shop"), autocommit=True, gssencmode="disable") as lock:
        lock.execute("select pg_advisory_lock(4711)")
        first = asyncio.create_task(session.execute("select pg_advisory_lock(4711)"))
        waits = "select count(*) from pg_locks where not granted and objid = 4711"
        while (await asyncio.to_thread(lock.execute, waits)).fetchone() != (1,):
            pass
        cancel = asyncio.create_task(session.cancel_safe())
        await asyncio.wait_for(gate.came.wait(), 20)
        lock.execute("select pg_advisory_unlock(4711)")
        assert (await asyncio.wait_for(first, 20)).statusmessage == "SELECT 1", "it has ended before its cancel came"

    second = asyncio.create_task(session.execute("select 'the next one', pg_sleep(0.2)"))
    async with await psycopg.AsyncConnection.connect(session.info.dsn, autocommit=True, gssencmode="disable") as other:
        await other.execute("select 'another session'")
    assert b"'another session'" in gate.seen
    assert b"'the next one'" not in gate.seen, "it waits in pgguard"

    gate.opened.set()
    await asyncio.wait_for(cancel, 20)
    assert (await (await asyncio.wait_for(second, 20)).fetchone() or ())[0] == "the next one"
