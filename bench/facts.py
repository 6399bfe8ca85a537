"""What facts cost: a new statement, one whose skeleton is known, and one whose text is known.

    python bench/facts.py DSN [rounds]

The database holds tests/sql/schema.sql.
"""

import asyncio
import math
import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

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
BARE, USUAL = STATEMENT.replace("app.", ""), Settings(("pg_temp_3", "pg_catalog", "app", "public"), "app", "app")
"""Without schemas, in a session with temporary tables under the default `"$user", public`."""


async def _load(dsn: str) -> Catalog:
    connection = await asyncpg.connect(dsn)
    try:
        return await load_catalog(connection)
    finally:
        await connection.close()


class Cost(NamedTuple):
    """Microseconds: of the fastest round, and of the processor on average. Others' load changes the second least."""

    fastest: float
    processor: float


def _cost(work: Callable[[], object], rounds: int) -> Cost:
    fastest, began = math.inf, time.process_time()
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        fastest = min(fastest, time.perf_counter() - start)
    return Cost(fastest * 1e6, (time.process_time() - began) / rounds * 1e6)


def main(dsn: str, rounds: int = 2000) -> None:
    catalog = asyncio.run(_load(dsn))
    cache: FactsCache[Analysis] = FactsCache(1 << 20)
    cache.put(STATEMENT, SETTINGS, 1, analyze(STATEMENT, catalog, SETTINGS))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'microseconds':34}{'fastest':>10}{'processor':>12}")
    for what, work in (
        ("new, three tables joined", lambda: analyze(STATEMENT, catalog, SETTINGS)),
        ("the same by the search_path", lambda: analyze(BARE, catalog, USUAL)),
        ("its skeleton", lambda: skeleton(STATEMENT)),
        ("known text", lambda: cache.get(STATEMENT, SETTINGS, 1)),
    ):
        cost = _cost(work, rounds)
        print(f"{what:34}{cost.fastest:10.1f}{cost.processor:12.1f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
