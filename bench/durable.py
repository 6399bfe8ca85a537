"""What `sync = "always"` costs: the disk's fdatasync alone, and what the log adds until a record is known to be on it.

    python -m bench.durable [folder]

The folder should be on the disk that is to be judged. On busy cores run it before all others (`chrt -r 10`): whoever
sleeps at each step is otherwise told mostly how long it waits for a core.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench.audit import NOW, RULES, made
from pgguard.audit.log import AuditLog
from pgguard.audit.records import DecisionMade
from pgguard.audit.settings import AuditSettings
from pgguard.runtime.rulebook import load_rules

_TIMES = 2_000
_WAITING = (1, 8, 64)


def main(place: str | None) -> None:
    with tempfile.TemporaryDirectory(prefix="pgguard-bench-", dir=place) as name:
        folder = Path(name)
        (rules := folder / "rules").mkdir()
        (rules / "some.yaml").write_text(RULES)
        records = list(made(load_rules(rules, None), _TIMES))
        print("| what | median µs |")
        print("| --- | ---: |")
        print(f"| write and fdatasync alone | {_alone(folder):.0f} |")
        for waiting in _WAITING:
            took = uvloop.run(_committed(records, folder / f"{waiting}.jsonl", waiting))
            print(f"| a record on disk, {waiting} waiting at once | {took:.0f} |")


def _alone(folder: Path) -> float:
    file = os.open(folder / "alone", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    record, took = b"x" * 1_000, []
    for _ in range(_TIMES):
        began = time.perf_counter()
        os.write(file, record)
        os.fdatasync(file)
        took.append(time.perf_counter() - began)
    os.close(file)
    return statistics.median(took) * 1e6


async def _committed(records: list[DecisionMade], path: Path, waiting: int) -> float:
    """Microseconds until a record's commit is done, where so many are always under way."""
    log = AuditLog(AuditSettings(path=path, sync="always", rotate_bytes=0), NOW)
    coming, took = iter(records), []

    async def ask() -> None:
        for record in coming:
            began = time.perf_counter()
            await log.commit(record)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(ask() for _ in range(waiting)))
    log.close()
    return statistics.median(took) * 1e6


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else None)
