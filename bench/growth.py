"""How the parts of a decision grow with what they are made over: rules, groups, tables. In process, by themselves."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.cases import Measured
from bench.rules import CONTEXT, microseconds, rule_set, statements
from pgguard.cli._common import read_catalog
from pgguard.policy.decide import decide
from pgguard.sql.analyze import analyze
from pgguard.sql.catalog import Catalog, Relation
from pgguard.sql.environment import Settings

_CALLS = 200
_ROUNDS = 7
_TEXT = "select name from sales.customers where id = $1"
_SETTINGS = Settings(("pg_catalog", "public"), "alice", "alice")


def growth() -> list[Measured]:
    return [
        _row("a decision, µs", "rules", (10, 10_000), lambda count: microseconds(rule_set(count), statements(count))),
        _row("a decision, µs", "groups of the user", (1, 1_000), _by_groups),
        _row("the facts of a new statement, µs", "tables", (100, 100_000), _by_tables),
    ]


def _row(what: str, of: str, sizes: tuple[int, int], measure: Callable[[int], float]) -> Measured:
    few, many = sizes
    return {"what": what, "of": of, "few": few, "many": many, "at_few": measure(few), "at_many": measure(many)}


def _by_groups(count: int) -> float:
    groups = tuple(sorted(["analysts", *(f"group{number}" for number in range(count - 1))]))
    context, rules, facts = msgspec.structs.replace(CONTEXT, groups=groups), rule_set(100), statements(100)[:1]
    return _median(lambda: decide(rules, facts, context))


def _by_tables(count: int) -> float:
    snapshot = read_catalog(Path("rules/shop.catalog.json")).snapshot
    more = tuple(
        Relation("app", f"t{number}", "r", ("id", "total"), oid=1_000_000 + number, types=(23, 1700), numbers=(1, 2))
        for number in range(count)
    )
    catalog = Catalog(msgspec.structs.replace(snapshot, relations=(*snapshot.relations, *more)))
    return _median(lambda: analyze(_TEXT, catalog, _SETTINGS))


def _median(work: Callable[[], object]) -> float:
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(_CALLS):
            work()
        rounds.append((time.perf_counter() - began) / _CALLS * 1e6)
    return statistics.median(rounds)
