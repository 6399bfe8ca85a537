"""What the analysis says against what PostgreSQL says, statement by statement.

`python -m tests.oracle.compare DSN COUNT [SEED]` compares that many generated statements on a database that holds
tests/sql/schema.sql, and prints each difference.
"""

import asyncio
import re
import sys
from collections import Counter
from random import Random
from typing import NamedTuple

import asyncpg
import psycopg

from pgguard.database.catalog_loader import load_catalog
from pgguard.model.access import Kind, Privilege
from pgguard.model.facts import Facts
from pgguard.sql.analyze import Refused, analyze
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings
from tests.oracle.generate_all import AnyMaker
from tests.sql.postgres_tree import Called, Oracle, Touched

_TEMPORARY = re.compile(r"\bpg_temp_\d+\.")
_TOLD = 10_000
"""A line on the way for so many statements."""

PATH = ("pg_catalog", "app", "public")


class Difference(NamedTuple):
    """`verdict`: exact, more (an access too many), less (an access missed), opaque, refused, or invalid (PostgreSQL refuses it)."""

    verdict: str
    less: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


async def catalog_of(dsn: str) -> Catalog:
    connection = await asyncpg.connect(dsn)
    try:
        return await load_catalog(connection)
    finally:
        await connection.close()


def compare(statement: str, catalog: Catalog, oracle: Oracle, path: tuple[str, ...] = PATH) -> Difference:
    """Relations by privilege and column, and functions outside pg_catalog."""
    try:
        relations, functions = oracle.ask(statement)
    except psycopg.Error as error:
        return Difference("invalid", (str(error),))
    found = analyze(statement, catalog, Settings(path, "postgres", "postgres"))
    if isinstance(found, Refused):
        return Difference("refused", (found.message,))
    facts = found.statements[0]
    if facts.opaque is not None:
        return Difference("opaque", (facts.opaque,))
    return judged(facts, relations, functions)


def judged(facts: Facts, relations: set[Touched], functions: set[Called]) -> Difference:
    """Facts against what PostgreSQL says."""
    theirs = {f"{p} {s}.{n} {c}" for s, n, p, columns in relations for c in columns or ("",)}
    theirs |= {f"execute {s}.{n}({','.join(a)})" for s, n, a in functions if s != "pg_catalog"}
    ours = set()
    for access in facts.accesses:
        name = access.object
        if access.kind is Kind.TABLE:
            ours |= {f"{access.privilege.value} {name.schema}.{name.name} {c}" for c in access.columns or ("",)}
        elif access.kind is Kind.FUNCTION and access.privilege is Privilege.EXECUTE and name.schema != "pg_catalog":
            arguments = ",".join(name.arguments or ())  # PostgreSQL leaves out the session's own temporary schema
            ours.add(f"execute {name.schema}.{name.name}({_TEMPORARY.sub('', arguments)})")
    # a privilege on at least one column is implied by any named one
    named = {line.rpartition(" ")[0] for line in theirs | ours if not line.endswith(" ")}
    bare = {
        line for line in theirs | ours if line.endswith(" ") and line[:-1] in named and not line.startswith("delete")
    }
    less, more = sorted(theirs - ours - bare), sorted(ours - theirs - bare)
    return Difference("less" if less else "more" if more else "exact", tuple(less), tuple(more))


def main(dsn: str, count: int, seed: str = "any") -> int:
    catalog, oracle = asyncio.run(catalog_of(dsn)), Oracle(dsn)
    verdicts: Counter[str] = Counter()
    for number in range(count):
        statement = AnyMaker(Random(f"{seed}.{number}")).statement()
        difference = compare(statement, catalog, oracle)
        verdicts[difference.verdict] += 1
        if difference.verdict not in {"exact", "invalid"}:
            print(difference.verdict, "|", statement, "|", *difference.less, "|", *difference.more)
        if number % _TOLD == _TOLD - 1:
            print(number + 1, dict(verdicts), flush=True)
    oracle.close()
    print(dict(verdicts))
    return 1 if verdicts["less"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
