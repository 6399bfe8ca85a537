"""asyncpg in the transports that it has: types it looks up, pools, timeouts, COPY, cursors, notifications."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import asyncpg
import pytest

from pgguard.lab.certificates import Certificates
from pgguard.lab.lab import Lab

pytestmark = pytest.mark.parametrize("client", ["plain", "tls"], indirect=True)


@pytest.fixture
def options(
    client: dict[str, str], open_lab: Lab, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    """What `connect` and `create_pool` take; over TLS the proxy's certificate is verified."""
    for name, value in client.items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)
    where = {"host": open_lab.proxy.host, "port": open_lab.proxy.port, "user": "alice", "database": "shop"}
    tls = client["PGSSLMODE"] == "require" and ssl.create_default_context(cafile=str(certificates.authority))
    return {**where, "ssl": tls, "gsslib": "gssapi", "timeout": 20}


@pytest.fixture
async def connection(options: dict[str, object]) -> AsyncIterator[asyncpg.Connection]:
    made = await asyncpg.connect(**options)
    yield made
    await made.close(timeout=5)


async def test_types_are_looked_up_and_carried(connection: asyncpg.Connection):
    """For an unknown type asyncpg asks the catalogs in the middle of its own prepare."""
    await connection.execute(
        "drop type if exists asked, mood; create type mood as enum ('well', 'ill');"
        "create type asked as (who text, mood mood, at timestamptz[], amount numeric)"
    )
    value = await connection.fetchval("select row('ä', 'ill', '{2026-01-01 00:00+00}', 1.50)::asked")
    assert (value["who"], value["mood"], value["at"][0].year, str(value["amount"])) == ("ä", "ill", 2026, "1.50")
    assert await connection.fetchval("select ($1::asked).amount", value) == value["amount"]
    assert await connection.fetchval("select $1::int4range", asyncpg.Range(1, 5)) == asyncpg.Range(1, 5)
    await connection.execute("drop type asked, mood")


async def test_many_rows_in_and_out(connection: asyncpg.Connection):
    await connection.execute("create temp table many (n int primary key, t text)")
    await connection.executemany("insert into many values ($1, $2)", [(n, "x" * n) for n in range(300)])
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.executemany("insert into many values ($1, $2)", [(n, "") for n in range(600, 500, -1)] * 2)
    records = [(n, None) for n in range(1000, 4000)]
    assert await connection.copy_records_to_table("many", records=records) == "COPY 3000"
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.copy_records_to_table("many", records=records)
    inserted = await connection.fetchmany(
        "insert into many values ($1, $2) returning n", [(n, "returned") for n in range(4000, 4100)]
    )
    assert [row["n"] for row in inserted] == list(range(4000, 4100))
    assert await connection.fetchval("select count(*) from many") == 3400


async def test_a_timeout_cancels_what_runs_and_nothing_else(connection: asyncpg.Connection):
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await connection.execute("select pg_sleep(60)", timeout=0.2)
        assert await connection.fetch("select 1") == [(1,)]


async def test_cursors_savepoints_and_a_reset(connection: asyncpg.Connection):
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        cursor = await connection.cursor("select generate_series(1, 50)")
        assert [row[0] for row in await cursor.fetch(10)] == list(range(1, 11))
        assert await cursor.forward(5) == 5
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with connection.transaction():
                await connection.execute("select 1/0")
        assert (await cursor.fetchrow())[0] == 16
    await connection.execute("set timezone to 'Asia/Tokyo'; select pg_advisory_lock(7)")
    await connection.reset()
    assert connection.get_settings().TimeZone != "Asia/Tokyo"
    assert await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0


async def test_a_pool_and_notifications(options: dict[str, object]):
    heard: asyncio.Queue[str] = asyncio.Queue()

    def hear(connection: object, pid: int, channel: str, payload: str) -> None:
        heard.put_nowait(payload)

    async with asyncpg.create_pool(min_size=2, max_size=4, **options) as pool:
        async with pool.acquire() as listener:
            await listener.add_listener("heard", hear)
            await asyncio.gather(*(pool.execute("select pg_notify('heard', $1)", f"{n}") for n in range(20)))
            async with asyncio.timeout(10):
                assert {await heard.get() for _ in range(20)} == {f"{n}" for n in range(20)}
            await listener.remove_listener("heard", hear)
        assert await asyncio.gather(*(pool.fetchval("select $1::int", n) for n in range(50))) == list(range(50))


async def test_a_statement_whose_table_changes_is_prepared_anew(connection: asyncpg.Connection):
    """ "cached plan must not change result type": asyncpg forgets the statement, and tries again outside a block."""
    await connection.execute(
        "drop table if exists changing; create table changing (a int); insert into changing values (1)"
    )
    assert tuple(await connection.fetchrow("select * from changing")) == (1,)
    await connection.execute("alter table changing add column b text default 'b'")
    assert tuple(await connection.fetchrow("select * from changing")) == (1, "b")
    await connection.execute("drop table changing")
