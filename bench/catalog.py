"""What a large catalog costs: loading it, finding it unchanged, and how long the event loop waits meanwhile.

    python bench/catalog.py DSN [relations]

Makes a database `many_relations` beside the one of the DSN (postgresql://user@host:port/name) where it is missing.
"""

import asyncio
import resource
import sys
import time
from collections.abc import Awaitable

import asyncpg

from pgguard.runtime.catalogs import CatalogKeeper

DATABASE = "many_relations"
_AT_ONCE = 2000  # a transaction holds only so many locks


async def _make(server: str, count: int) -> None:
    connection = await asyncpg.connect(f"{server}/postgres")
    there = await connection.fetchval("select 1 from pg_database where datname = $1", DATABASE)
    if not there:
        await connection.execute(f"create database {DATABASE}")
    await connection.close()
    if there:
        return
    connection = await asyncpg.connect(f"{server}/{DATABASE}")
    for start in range(0, count, _AT_ONCE):
        await connection.execute(
            f"do $$ begin for i in {start}..{start + _AT_ONCE - 1} loop"
            " execute 'create table t' || i || ' (a int, b int, c text, d numeric, e timestamptz)'; end loop; end $$"
        )
    await connection.close()


async def _measured(what: str, work: Awaitable[None]) -> None:
    """Seconds for the work, and the longest that a task of one millisecond came late."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - before - 0.001)

    ticking = asyncio.create_task(tick())
    start = time.perf_counter()
    await work
    took = time.perf_counter() - start
    ticking.cancel()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{what:20}{took:8.2f} s, the loop waited at most {worst * 1000:.0f} ms, peak memory {memory} MB")


async def main(dsn: str, count: int = 100_000) -> None:
    server = dsn.rpartition("/")[0]
    await _make(server, count)
    keeper = CatalogKeeper(DATABASE, lambda database: asyncpg.connect(f"{server}/{database}"))
    await _measured("load", keeper.ready())
    await _measured("unchanged refresh", keeper.refresh())
    await keeper.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
