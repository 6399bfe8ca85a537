"""What several workers bring, and what they cost: one, two and four of them, in interleaved runs over one lab.

    python -m bench.workers [rounds]

pgbench -S, prepared, by 16 clients against a hundred rules. The processor is that of all of pgguard's processes: what
grows there with the workers is the price of one audit log for all.
"""

import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.cases import Case
from bench.targets import Target, fill, second_proxy, write_rules
from pgguard.lab.lab import Lab, Plan

_COUNTS = (1, 2, 4)


def main(rounds: int) -> None:
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="pgguard-bench-")))
        folder.chmod(0o755)
        write_rules(folder / "rules", "public.pgbench_accounts", ["aid", "abalance"])
        lab = running.enter_context(Lab(Plan(folder / "lab", rules=folder / "rules", proxy=False)))
        fill(lab, 1)
        targets = []
        for count in _COUNTS:
            proxy = running.enter_context(second_proxy(lab, folder / f"of-{count}", f"listen.workers={count}"))
            environment = {**lab.environment("alice"), "PGGSSENCMODE": "disable", "PGPORT": str(proxy.port)}
            targets.append(Target(f"{count}", environment, proxy.pid))
        case = Case("select", ("-S", "-Mprepared", "-j2"), 16, 4)
        runs = [case.run(target, folder) for _ in range(rounds) for target in targets]
    print("| workers | transactions a second | median latency, µs | processor a transaction, µs |")
    print("| --- | --- | --- | --- |")
    for target in targets:
        own = [run for run in runs if run["target"] == target.name]
        middle = {key: statistics.median(run[key] for run in own) for key in ("per_second", "p50_us", "cpu_us")}
        print(f"| {target.name} | {middle['per_second']:.0f} | {middle['p50_us']:.0f} | {middle['cpu_us']:.0f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 3)
