"""`pgguard rules learn`: the rules load, allow all that the log holds, and say no more than is needed."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from pgguard.audit.log import AuditLog
from pgguard.audit.records import DecisionMade
from pgguard.audit.settings import AuditSettings
from pgguard.model.context import Context
from pgguard.model.decision import Effect
from pgguard.policy.decide import decide
from pgguard.runtime.rulebook import load_rules
from pgguard.sql.analyze import Refused, analyze
from pgguard.sql.catalog import restore
from pgguard.sql.environment import Settings

Pgguard = Callable[..., Result]
RULES = Path(__file__).parents[2] / "rules"
CATALOG = RULES / "shop.catalog.json"
NOW = "2026-03-02T10:00:00+00:00"

GROUPS = {
    "alice": ("analysts", "staff"),
    "ada": ("analysts", "staff"),
    "bob": ("staff", "writers"),
    "carol": ("staff", "support"),
    "dan": ("staff", "support"),
    "eve": (),
}
Did = tuple[str, str]


@pytest.fixture
def audit(tmp_path: Path) -> Callable[..., Path]:
    """An audit of these statements, which ran under rules that were only observed."""
    catalog = restore(CATALOG.read_bytes())
    folder = tmp_path / "none"
    folder.mkdir()
    (folder / "none.yaml").write_text("rules: []")
    rules = load_rules(folder, None)

    def write(*did: Did, effect: Effect = Effect.ALLOW, database: str = "shop") -> Path:
        log = AuditLog(AuditSettings(path=tmp_path / "audit.jsonl"), NOW)
        for number, (user, sql) in enumerate(did):
            context = Context(user, f"{user}@EXAMPLE.COM", database, time.time(), GROUPS[user])
            found = analyze(sql, catalog, Settings(("pg_catalog", "public"), user, user))
            assert not isinstance(found, Refused), found
            made = decide(rules, found.statements, context)
            log.append(
                DecisionMade(NOW, f"s-{number}", "s", "query", sql, effect, context, found.statements, made, "x")
            )
        log.close()
        return tmp_path / "audit.jsonl"

    return write


LOG = (
    ("alice", "select id, total from sales.orders where id = 1"),
    ("ada", "select status from sales.orders"),
    ("ada", "select count(*) from sales.products"),
    ("bob", "insert into sales.orders (customer_id, total) values (1, 2)"),
    ("bob", "update sales.orders set status = 'paid' where id = 3"),
    ("carol", "select name, city from sales.customers"),
    ("dan", "select name from sales.customers"),
    ("eve", "select amount from hr.salaries"),
    ("eve", "select oid from pg_class where relname = lower('X')"),
    ("eve", "create temp table scratch (id int)"),
    ("alice", "begin"),
)

LEARNT = """\
# Learnt from 11 statements of 6 users, for review:
# a group stands for its members where at least half of those seen did the same. The baseline's is left out.
rules:
  - name: analysts-select-sales-orders
    who: {group: analysts}
    allow: select
    on: sales.orders
    columns: [id, status, total]
  - name: analysts-select-sales-products
    # analysts: 1 of the 2 members seen
    who: {group: analysts}
    allow: select
    on: sales.products
    columns: [id]
  - name: support-select-sales-customers
    who: {group: support}
    allow: select
    on: sales.customers
    columns: [city, name]
  - name: writers-select-sales-orders
    who: {group: writers}
    allow: select
    on: sales.orders
    columns: [id]
  - name: writers-insert-sales-orders
    who: {group: writers}
    allow: insert
    on: sales.orders
    columns: [customer_id, total]
  - name: writers-update-sales-orders
    who: {group: writers}
    allow: update
    on: sales.orders
    columns: [status]
  - name: eve-temp-shop
    who: {user: eve}
    allow: temp
    on: {database: shop}
  - name: eve-select-hr-salaries
    who: {user: eve}
    allow: select
    on: hr.salaries
    columns: [amount]
"""


def test_a_log_becomes_rules_that_a_person_can_read(pgguard: Pgguard, audit: Callable[..., Path]):
    learnt = pgguard("rules", "learn", audit(*LOG))
    assert (learnt.exit_code, learnt.stderr) == (0, "")
    assert learnt.output == LEARNT


def test_the_rules_load_and_replaying_the_log_allows_all_of_it(
    pgguard: Pgguard, audit: Callable[..., Path], tmp_path: Path
):
    log = audit(*LOG)
    folder = tmp_path / "learnt"
    folder.mkdir()
    (folder / "learnt.yaml").write_text(pgguard("rules", "learn", log).output)
    assert pgguard("check", folder, "--catalog", CATALOG, "--strict").exit_code == 0
    replayed = pgguard("replay", log, "--rules", folder, "--workers", "1", "--format", "json")
    assert '"after":"deny"' not in replayed.output
    assert '"after":"allow"' in replayed.output
    assert '"decided":11' in replayed.output


def test_what_was_refused_or_held_is_not_learnt_unless_asked(pgguard: Pgguard, audit: Callable[..., Path]):
    log = audit(LOG[0], effect=Effect.DENY)
    left = pgguard("rules", "learn", log)
    assert left.output.endswith("# Not learnt from: 1 statements that got deny.\nrules: []\n")
    assert "on: sales.orders" in pgguard("rules", "learn", "--refused", log).output


def test_a_catalog_shortens_whole_tables_and_whole_schemas(pgguard: Pgguard, audit: Callable[..., Path]):
    catalog = restore(CATALOG.read_bytes())
    tables = [r.name for r in catalog.snapshot.relations if r.schema == "sales" and r.kind in "rvmfp"]
    log = audit(*(("alice", f"table sales.{name}") for name in tables), ("ada", "table sales.orders"))
    assert "    columns: [" in pgguard("rules", "learn", log).output
    learnt = pgguard("rules", "learn", log, "--catalog", CATALOG).output
    assert learnt.count("- name:") == 1
    assert 'who: {group: analysts}\n    allow: select\n    on: "sales.*"\n' in learnt


def test_of_several_databases_each_rule_names_its_own(pgguard: Pgguard, audit: Callable[..., Path]):
    audit(LOG[0])
    log = audit(("bob", "select id from sales.orders"), database="other")
    learnt = pgguard("rules", "learn", log).output
    assert "    database: shop\n" in learnt
    assert "    database: other\n" in learnt


def test_a_log_of_another_version_is_told_with_its_place(pgguard: Pgguard, tmp_path: Path):
    (tmp_path / "audit.jsonl").write_text("{}\n")
    learnt = pgguard("rules", "learn", tmp_path / "audit.jsonl")
    assert learnt.exit_code == 1
    assert "audit.jsonl:1: no record of this version" in learnt.stderr
