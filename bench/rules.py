"""What a decision costs with 10 and with 10,000 rules over as many tables: the ratio should stay near one.

Run: `.venv/bin/python bench/rules.py`
"""

import statistics
import time

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.facts import Facts
from pgguard.policy.decide import decide
from pgguard.policy.load import RuleFile, load
from pgguard.policy.rule_set import RuleSet
from pgguard.sql.shape import shape_of_text

SIZES = (10, 10_000)
ROUNDS = 5
DECISIONS = 5_000
CONTEXT = Context(user="alice", principal="alice@EXAMPLE.COM", database="shop", at=0.0, groups=("analysts",))


def rule_set(count: int) -> RuleSet:
    """One allow rule a table."""
    rules = "".join(
        f"  - {{name: r{n}, who: {{group: analysts}}, allow: select, on: app.t{n}, columns: [id, total]}}\n"
        for n in range(count)
    )
    return load([RuleFile("rules.yaml", f"rules:\n{rules}".encode())], [], shape_of_text)


def statements(count: int) -> list[Facts]:
    """Reads of two columns, spread over the tables."""
    step = max(1, count // 1000)
    return [
        Facts(
            "SELECT",
            accesses=(Access(Privilege.SELECT, Kind.TABLE, ObjectName(f"t{n}", "app"), ("id", "total")),),
        )
        for n in range(0, count, step)
    ]


def microseconds(rules: RuleSet, known: list[Facts]) -> float:
    """The median over rounds of what one decision of a known statement takes."""
    for facts in known:
        assert decide(rules, [facts], CONTEXT).effect == "allow"
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for number in range(DECISIONS):
            decide(rules, [known[number % len(known)]], CONTEXT)
        rounds.append((time.perf_counter() - begun) / DECISIONS * 1e6)
    return statistics.median(rounds)


def main() -> None:
    costs = {}
    for count in SIZES:
        begun = time.perf_counter()
        rules = rule_set(count)
        loading = time.perf_counter() - begun
        costs[count] = microseconds(rules, statements(count))
        print(f"{count:6} rules: {costs[count]:6.1f} us a decision, {loading:.2f} s to load")
    few, many = SIZES
    print(f"ratio {many}/{few}: {costs[many] / costs[few]:.2f}")


if __name__ == "__main__":
    main()
