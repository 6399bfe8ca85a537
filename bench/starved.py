"""Does PostgreSQL wait for the proxy while it copies? For each way: how long its backend worked, wanted a core, slept.

    python -m bench.starved [rounds]

How long a COPY takes says little of a proxy: the same one takes half as long again a minute later. A backend that never
sleeps is what the transfer waits for, whoever stands before it. The kernel counts what it had of a core, and what it
wanted of one and did not get (`/proc/PID/schedstat`); the rest of the time it waited for the other end of its socket.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, cast

from bench.cases import Measured
from bench.targets import GSS, WORKERS, Target, ground

_ROWS = 1_000_000
_COPIES = {"COPY out": "\\copy bulk to 'bulk.copy'", "COPY in": "\\copy sink from 'bulk.copy'"}
_FIGURES = ("took", "worked", "wanted a core", "slept")


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="pgguard-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with ground(folder, _ROWS, 0) as targets:
            ways = [target for target in targets if target.name not in {GSS, WORKERS}]
            runs = [
                run
                for number in range(rounds)
                for target in ways[number % len(ways) :] + ways[: number % len(ways)]
                for run in _runs(target, folder)
            ]
    print(f"| | way | {' | '.join(f'{figure}, ms' for figure in _FIGURES)} |")
    print(f"| --- | --- |{' ---: |' * len(_FIGURES)}")
    for copy in _COPIES:
        for target in ways:
            own = [run for run in runs if (run["copy"], run["target"]) == (copy, target.name)]
            middle = (statistics.median(run[figure] for run in own) for figure in _FIGURES)
            print(f"| {copy} | {target.name} | {' | '.join(f'{figure * 1e3:,.0f}' for figure in middle)} |")


def _runs(target: Target, folder: Path) -> list[Measured]:
    """Both copies, by one psql, which says at the end of each command that it is there."""
    with subprocess.Popen(
        ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"],
        env={**os.environ, **target.environment}, cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as psql:  # fmt: skip
        to, out = cast("IO[str]", psql.stdin), cast("IO[str]", psql.stdout)

        def done(command: str) -> str:
            """What it prints. psql ends with the first error, and tells of it."""
            to.write(f"{command}\n\\echo done\n")
            to.flush()
            printed = ""
            while (line := out.readline()) != "done\n":
                if not line:
                    raise SystemExit(f"{target.name}: psql ended at {command}")
                printed += line
            return printed

        done("truncate sink;")
        backend = Path(f"/proc/{done('select pg_backend_pid();').strip()}/schedstat")
        runs = []
        for copy, command in _COPIES.items():
            before = _spent(backend)
            done(command)
            took, worked, wanted = (now - then for now, then in zip(_spent(backend), before, strict=True))
            figures = (took, worked, wanted, took - worked - wanted)
            runs.append({"copy": copy, "target": target.name, **dict(zip(_FIGURES, figures, strict=True))})
        to.close()
    return runs


def _spent(backend: Path) -> tuple[float, float, float]:
    """Seconds: the clock's, those it ran, and those it was ready to run (Linux, scheduler/sched-stats)."""
    ran, waited = backend.read_text().split()[:2]
    return time.perf_counter(), int(ran) / 1e9, int(waited) / 1e9


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 10)
