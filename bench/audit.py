"""How fast the audit is: appending, verifying a million records, deciding them again.

    python bench/audit.py [records] [folder]

The folder should be on the disk that is to be judged.
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from pgguard.audit.log import AuditLog
from pgguard.audit.records import DecisionMade
from pgguard.audit.redecide import redecide_files
from pgguard.audit.settings import AuditSettings
from pgguard.audit.verify import verify_files
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.facts import Facts
from pgguard.policy.decide import decide
from pgguard.runtime.rulebook import load_rules

NOW = "2026-03-02T10:00:00+00:00"
RULES = """
rules:
  - {name: orders, who: {group: analysts}, allow: select, on: sales.orders, columns: [id, total]}
  - {name: customers, who: {group: support}, allow: select, on: sales.customers, when: {hours: "08:00-18:00"}}
  - {name: no-blind-writes, who: everyone, deny: [update, delete], on: "*.*", when: {statement: {where: absent}}}
"""


def write(path: Path, rules: Path, records: int) -> float:
    """Seconds for appending so many decisions; what is measured is `append` alone."""
    rule_set = load_rules(rules, None)
    log = AuditLog(AuditSettings(path=path, rotate_bytes=0), NOW)
    context = Context(
        "alice", "alice@EXAMPLE.COM", "shop", 1772445600.0, groups=("analysts", "staff"), address="10.0.0.1"
    )
    made = []
    for table in ("orders", "customers"):
        access = Access(Privilege.SELECT, Kind.TABLE, ObjectName(table, "sales"), columns=("id", "total"))
        facts = (Facts("SELECT", (access,), shape=table, estimable=True, reads_only=True),)
        made.append((table, facts, decide(rule_set, facts, context)))
    taken = 0.0
    for number in range(records):
        table, facts, decision = made[number % 2]
        text = f"select id, total from sales.{table} where id = {number}"
        record = DecisionMade(
            NOW, f"s-{number}", "s", "query", text, decision.effect, context, facts, decision, rule_set.identity
        )
        began = time.perf_counter()
        log.append(record)
        taken += time.perf_counter() - began
    log.close()
    return taken


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        rules = folder / "rules"
        rules.mkdir()
        (rules / "rules.yaml").write_text(RULES, encoding="utf-8")
        log = folder / "audit.jsonl"
        taken = write(log, rules, records)
        print(f"append: {taken / records * 1e6:.1f} µs a record, {log.stat().st_size / records:.0f} bytes a record")
        began = time.perf_counter()
        report = verify_files([log], None)
        print(
            f"verify: {report.records} records in {time.perf_counter() - began:.1f} s, {len(report.findings)} findings"
        )
        began = time.perf_counter()
        outcome = redecide_files([log], partial(load_rules, rules, None), 2, lambda _: None)
        taken = time.perf_counter() - began
        print(
            f"decide again: {outcome.decided} in {taken:.1f} s by two processes, {len(outcome.unlike)} not reproduced"
        )


if __name__ == "__main__":
    main()
