"""What is run at each target: pgbench with its own scripts, logins, a large result, COPY both ways."""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.targets import Target

Measured = dict[str, Any]

_PROTOCOLS = ("simple", "extended", "prepared")


@dataclass(frozen=True)
class Case:
    """One pgbench run; its log gives the latency of each transaction."""

    name: str
    words: tuple[str, ...]
    clients: int
    seconds: int

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
        out = _run(command, target)
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
            "per_second": tps,
            "p50_us": latencies[count // 2],
            "p99_us": latencies[count * 99 // 100],
            "cpu_us": cpu / count * 1e6,
        }


@dataclass(frozen=True)
class Bulk:
    """One psql that moves many rows; `per_second` is in MB of what psql writes or reads."""

    name: str
    sql: str
    source: str | None = None

    def run(self, target: Target, folder: Path) -> Measured:
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
    scripts = {"select": ("-S",), "tpcb": ("-b", "tpcb-like")}
    found: list[Case | Bulk] = [
        Case(f"{script}, {protocol}, {number} clients", (*words, "-M", protocol), number, seconds)
        for script, words in scripts.items()
        for protocol in _PROTOCOLS
        for number in clients
    ]
    return [
        *found,
        Case("login and one select", ("-S", "-C"), 1, seconds),
        Bulk("large result, MB/s", "select id, text from bulk"),
        Bulk("COPY out, MB/s", "copy bulk to stdout"),
        Bulk("COPY in, MB/s", "copy sink from stdin", source="COPY out"),
    ]


def _run(command: list[str], target: Target) -> str:
    done = subprocess.run(
        command, env={**os.environ, **target.environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed at {target.name}: {done.stderr}")
    return done.stdout
