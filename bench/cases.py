"""What is run at each target: pgbench with its own scripts and ours, logins, large results, COPY both ways."""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bench.targets import BARE, GSS, WORKERS, Target

Measured = dict[str, Any]

_PIPELINE = 1_000
_SCRIPTS = {
    "pipeline": "\\startpipeline\n"
    + "select abalance from pgbench_accounts where aid = 1;\n" * _PIPELINE
    + "\\endpipeline\n",
    "unseen": "\\set n random(1, 2000000000)\nselect abalance as c:n from pgbench_accounts where aid = 1;\n",
}
"""Each `unseen` statement names its column as none before: no cache knows it, not even by its skeleton."""


@dataclass(frozen=True)
class Case:
    """One pgbench run; its log gives the latency of each transaction.

    `also`: the further targets that it runs at. `statements`: in a transaction; all figures are of one of them.
    `times`: so many rounds of it for one that is asked for.
    """

    name: str
    words: tuple[str, ...]
    clients: int
    seconds: int
    also: tuple[str, ...] = ()
    statements: int = 1
    times: ClassVar[int] = 1

    def run(self, target: Target, folder: Path) -> Measured:
        prefix = folder / "transactions"
        before = target.cpu()
        command = [
            "pgbench",
            "-n",
            *self.words,
            f"-c{self.clients}",
            f"-T{self.seconds}",
            "-l",
            f"--log-prefix={prefix}",
        ]
        out = _run(command, target, folder)
        cpu = target.cpu() - before
        logs = list(folder.glob("transactions.*"))
        latencies = sorted(int(line.split()[2]) for log in logs for line in log.read_text().splitlines())
        for log in logs:
            log.unlink()
        tps = float(re.findall(r"^tps = ([0-9.]+)", out, re.MULTILINE)[0])
        count = len(latencies)
        return {
            "case": self.name,
            "target": target.name,
            "per_second": tps * self.statements,
            "p50_us": latencies[count // 2] / self.statements,
            "p99_us": latencies[count * 99 // 100] / self.statements,
            "cpu_us": cpu / count / self.statements * 1e6,
        }


@dataclass(frozen=True)
class Bulk:
    """One psql that moves much; `per_second` is in MB of what psql writes or reads.

    `first`: SQL that makes each run begin with the same, not measured. A run is short, and takes PostgreSQL half as
    long again a moment later, whatever the way: hence more rounds.
    """

    name: str
    sql: str
    source: str | None = None
    first: str | None = None
    also: tuple[str, ...] = ()
    times: ClassVar[int] = 4

    def run(self, target: Target, folder: Path) -> Measured:
        if self.first:
            _run(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-c", self.first], target, folder)
        file = folder / "bulk.copy"
        feed = file.open("rb") if self.source else subprocess.DEVNULL
        before, began = target.cpu(), time.perf_counter()
        with (folder / ("null" if self.source else "bulk.copy")).open("wb") as out:
            subprocess.run(
                ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", self.sql],
                env={**os.environ, **target.environment}, stdin=feed, stdout=out, check=True,
            )  # fmt: skip
        seconds, cpu = time.perf_counter() - began, target.cpu() - before
        return {
            "case": self.name,
            "target": target.name,
            "per_second": file.stat().st_size / seconds / 1e6,
            "cpu_us": cpu * 1e6,
        }


def cases(clients: list[int], seconds: int) -> list[Case | Bulk]:
    pgbench = [
        Case(f"{name}, {protocol}, {number} clients", (*words, "-M", protocol), number, seconds, also)
        for name, words, protocol, also in (
            ("select", ("-S",), "simple", ()),
            ("select", ("-S",), "extended", ()),
            ("select", ("-S",), "prepared", (BARE, GSS, WORKERS)),
            ("tpcb", ("-b", "tpcb-like"), "simple", ()),
            ("tpcb", ("-b", "tpcb-like"), "prepared", ()),
        )
        for number in clients
    ]
    return [
        *pgbench,
        Case(
            f"select in a pipeline of {_PIPELINE:,}",
            ("-f", "pipeline.sql", "-M", "extended"),
            1,
            seconds,
            statements=_PIPELINE,
        ),
        Case("select never seen before", ("-f", "unseen.sql", "-M", "simple"), 1, seconds),
        Case("login and one select", ("-S", "-C"), 1, seconds, (GSS,)),
        Bulk("large result, MB/s", "select id, text from bulk", also=(BARE, GSS)),
        Bulk("values of 1 MB, MB/s", "select repeat('x', 1048576) from generate_series(1, 100)", also=(BARE,)),
        Bulk("COPY out, MB/s", "copy bulk to stdout", also=(BARE,)),
        Bulk("COPY in, MB/s", "copy sink from stdin", source="COPY out", first="truncate sink", also=(BARE,)),
    ]


def write_scripts(folder: Path) -> None:
    for name, text in _SCRIPTS.items():
        (folder / f"{name}.sql").write_text(text)


def _run(command: list[str], target: Target, folder: Path) -> str:
    done = subprocess.run(
        command, env={**os.environ, **target.environment}, capture_output=True, text=True, check=False, cwd=folder
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed at {target.name}: {done.stderr}")
    return done.stdout
