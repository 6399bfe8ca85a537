"""What facts cost: a new statement, one whose skeleton is known, and one whose text is known.

    python bench/facts.py DSN [rounds]

The database holds tests/sql/schema.sql.
"""

import asyncio
import sys
import time
from collections.abc import Callable

import asyncpg

from pgguard.database.catalog_loader import load_catalog
from pgguard.runtime.facts_cache import FactsCache
from pgguard.sql.analyze import Analysis, analyze
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings
from pgguard.sql.skeleton import skeleton

STATEMENT = """
select c.name, o.total, i.price from app.customers c join app.orders o on o.customer_id = c.id
  join app.items i on i.order_id = o.id where c.id = 42 and o.status = 'open' and i.price > 3.5
 order by o.total limit 10
"""
SETTINGS = Settings(("pg_catalog", "app", "public"), "postgres", "postgres")


async def _load(dsn: str) -> Catalog:
    connection = await asyncpg.connect(dsn)
    try:
        return await load_catalog(connection)
    finally:
        await connection.close()


def _microseconds(work: Callable[[], object], rounds: int) -> float:
    start = time.perf_counter()
    for _ in range(rounds):
        work()
    return (time.perf_counter() - start) / rounds * 1e6


def main(dsn: str, rounds: int = 2000) -> None:
    catalog = asyncio.run(_load(dsn))
    cache: FactsCache[Analysis] = FactsCache(1 << 20)
    cache.put(STATEMENT, SETTINGS, 1, analyze(STATEMENT, catalog, SETTINGS))
    for what, work in (
        ("new, three tables joined", lambda: analyze(STATEMENT, catalog, SETTINGS)),
        ("its skeleton", lambda: skeleton(STATEMENT)),
        ("known text", lambda: cache.get(STATEMENT, SETTINGS, 1)),
    ):
        print(f"{what:26}{_microseconds(work, rounds):10.1f} us")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
