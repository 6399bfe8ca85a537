"""How fast the audit is: appending a million records, verifying them, deciding them again, looking into them.

    python bench/audit.py [records] [folder]

The folder should be on the disk that is to be judged.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self

from pgguard.audit.log import AuditLog
from pgguard.audit.records import DecisionMade
from pgguard.audit.redecide import redecide_files
from pgguard.audit.settings import AuditSettings
from pgguard.audit.verify import verify_files
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.facts import Facts
from pgguard.policy.decide import decide
from pgguard.policy.rule_set import RuleSet
from pgguard.runtime.rulebook import load_rules

NOW = "2026-03-02T10:00:00+00:00"
USERS = 50
REPEATED = 4
"""How often a session asks the same within a second: these have the decision of the first."""
RULES = """
rules:
  - {name: orders, who: {group: analysts}, allow: select, on: sales.orders, columns: [id, total]}
  - {name: customers, who: {group: support}, allow: select, on: sales.customers, when: {hours: "08:00-18:00"}}
  - {name: no-blind-writes, who: everyone, deny: [update, delete], on: "*.*", when: {statement: {where: absent}}}
"""


class Stopwatch:
    """Seconds that passed within its `with` blocks, and the CPU seconds of this process and of those that it ended."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> Self:
        self.wall -= time.perf_counter()
        self.cpu -= sum(os.times()[:4])
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.cpu += sum(os.times()[:4])

    def __str__(self) -> str:
        return f"{self.wall:.1f} s, {self.cpu:.1f} s of CPU"


def made(rule_set: RuleSet, records: int) -> Iterator[DecisionMade]:
    """What 50 users ask of two tables, each statement four times."""
    statements = []
    for table in ("orders", "customers"):
        access = Access(Privilege.SELECT, Kind.TABLE, ObjectName(table, "sales"), columns=("id", "total"))
        statements.append((table, (Facts("SELECT", (access,), shape=table, estimable=True, reads_only=True),)))
    for number in range(records):
        turn, again = divmod(number, REPEATED)
        table, facts = statements[turn % 2]
        if not again:
            user = f"user{turn % USERS}"
            context = Context(
                user=user,
                principal=f"{user}@EXAMPLE.COM",
                database="shop",
                at=1772445600.0 + turn / 100,
                groups=("analysts", "staff"),
                address=f"10.0.0.{turn % USERS}",
            )
            decision = decide(rule_set, facts, context)
        text = f"select id, total from sales.{table} where id = {number}"
        yield DecisionMade(
            NOW, f"s-{number}", "s", "query", text, decision.effect, context, facts, decision, rule_set.identity
        )


def write(path: Path, rules: Path, records: int) -> Stopwatch:
    """What appending so many decisions takes, `append` alone."""
    coming = made(load_rules(rules, None), records)
    log = AuditLog(AuditSettings(path=path, rotate_bytes=0), NOW)
    watch = Stopwatch()
    while some := list(islice(coming, 1000)):
        with watch:
            for record in some:
                log.append(record)
    log.close()
    return watch


def command(log: Path, *words: str) -> str:
    """What a command takes, in time and memory."""
    with Stopwatch() as watch:
        running = subprocess.Popen(
            [sys.executable, "-m", "pgguard", "audit", *words, str(log)], stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(running.pid, 0)
    return f"{watch}, {used.ru_maxrss >> 10} MiB at most" + (f", status {status}" if status else "")


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        rules = folder / "rules"
        rules.mkdir()
        (rules / "rules.yaml").write_text(RULES, encoding="utf-8")
        log = folder / "audit.jsonl"
        watch = write(log, rules, records)
        each, cpu = watch.wall / records * 1e6, watch.cpu / records * 1e6
        print(f"append: {each:.1f} µs a record, {cpu:.1f} µs of CPU, {log.stat().st_size / records:.0f} bytes a record")
        with Stopwatch() as watch:
            report = verify_files([log], None)
        print(f"verify: {report.records} records in {watch}, {len(report.findings)} findings")
        with Stopwatch() as watch:
            outcome = redecide_files([log], partial(load_rules, rules, None), 2, lambda _: None)
        print(f"decide again: {outcome.decided} in {watch}, by two processes, {len(outcome.unlike)} not reproduced")
        for words in ("search --user user7 --effect deny", "stats", f"export -o {folder / 'out.csv'}"):
            print(f"{words.split()[0]}: {command(log, *words.split())}")


if __name__ == "__main__":
    main()
