"""The worst night of an operator, in short: everything fails once, under load, while clients come and go.

PGGUARD_SOAK_SECONDS makes it as long as asked. Nothing unjudged may reach the database, nothing that was confirmed may
be lost, the audit must verify, and when all is over everybody is served as before.
"""

import asyncio
import os
import random
import shutil
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from pgguard.audit.files import all_files
from pgguard.audit.verify import verify_files
from pgguard.lab.lab import Lab, Plan
from pgguard.lab.ports import free_port
from tests.e2e.conftest import connected
from tests.e2e.psql import run_psql
from tests.soak.load import LOST, Load, allowed, reached

SECONDS = float(os.environ.get("PGGUARD_SOAK_SECONDS", "40"))
CLIENTS = 12

_SCHEMA = "create table sales.soak (mark text primary key);\ngrant select, insert on sales.soak to public;\n"
_RULE = "rules: [{name: soak, who: everyone, allow: [select, insert], on: sales.soak}]\n"


class Faults:
    """One fault after the other, each mended before the next."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.done: list[str] = []

    def all(self) -> list[Callable[[], None]]:
        return [
            self.database_restarts, self.directory_restarts, self.directory_is_silent, self.kdc_restarts,
            self.worker_dies, self.workers_are_replaced, self.rules_break, self.reload, self.backends_die,
        ]  # fmt: skip

    def database_restarts(self) -> None:
        self._lab.postgres.stop()
        self._lab.postgres.start()

    def directory_restarts(self) -> None:
        self._lab.slapd.stop()
        self._lab.slapd.start()

    def directory_is_silent(self) -> None:
        os.kill(self._lab.slapd.pid, signal.SIGSTOP)
        try:
            run_psql(self._lab, "alice", "select 1")  # takes its time
        finally:
            os.kill(self._lab.slapd.pid, signal.SIGCONT)

    def kdc_restarts(self) -> None:
        self._lab.realm.stop()
        self._lab.realm.start()

    def worker_dies(self) -> None:
        parent = self._lab.proxy.pid
        workers = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        os.kill(int(workers[0]), signal.SIGKILL)

    def workers_are_replaced(self) -> None:
        os.kill(self._lab.proxy.pid, signal.SIGUSR2)

    def rules_break(self) -> None:
        broken = self._lab.rules / "broken.yaml"
        broken.write_text("rules: [{name: x")
        os.kill(self._lab.proxy.pid, signal.SIGHUP)
        run_psql(self._lab, "alice", "select 1")
        broken.unlink()

    def reload(self) -> None:
        os.kill(self._lab.proxy.pid, signal.SIGHUP)

    def backends_die(self) -> None:
        self._lab.postgres.run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'")


@pytest.fixture
def soaked(servers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    rules, schema, metrics = servers / "soak-rules", tmp_path / "soak.sql", free_port()
    shutil.copytree("rules", rules)
    (rules / "soak.yaml").write_text(_RULE)
    schema.write_text(Path("pgguard/lab/shop/schema.sql").read_text() + _SCHEMA)
    settings = (
        "listen.workers=2", f"metrics.port={metrics}", "directory.refresh=0.5", "directory.timeout=1",
        "audit.rotate_bytes=2000000", "limits.drain_seconds=3",
    )  # fmt: skip
    plan = Plan(
        servers / "soak", sql=(schema,), rules=rules, settings=settings, postgres_settings={"log_statement": "all"}
    )
    with Lab(plan) as lab:
        for name, value in lab.environment("alice").items():
            if name.startswith("KRB5"):
                monkeypatch.setenv(name, value)
        yield lab, metrics


@pytest.mark.slow
async def test_whatever_fails_nothing_gets_through_and_nothing_is_lost(soaked: tuple[Lab, int]) -> None:
    lab, metrics = soaked
    chance = random.Random(7)
    load, faults = Load(lab, chance), Faults(lab)
    clients = [asyncio.create_task(load.run()) for _ in range(CLIENTS)]
    loop = asyncio.get_running_loop()
    over = loop.time() + SECONDS
    while True:
        for fault in chance.sample(faults.all(), len(faults.all())):
            before = load.answered
            await asyncio.to_thread(fault)
            faults.done.append(fault.__name__)
            await _until(lambda before=before: load.answered >= before + 5 * CLIENTS, faults.done, lab)
        if loop.time() > over:
            break
    load.end()
    await asyncio.gather(*clients)

    async with connected(lab, "alice") as connection:
        kept = {row["mark"] for row in await connection.fetch("select mark from sales.soak")}
    assert load.promised
    assert load.promised - kept == set()
    assert load.won == set()
    await _until(lambda: _gauge(metrics, "pgguard_sessions") == 0, ["the end: sessions are still counted"], lab)
    lab.proxy.stop()
    lab.postgres.stop()
    ran = reached(lab.postgres.log.read_text(errors="replace").splitlines())
    assert ran - allowed(lab) == set()
    assert {mark for mark in ran if mark.startswith("f")} == set()
    assert verify_files(all_files(lab.audit), None).findings == ()
    assert load.sessions > 5 * CLIENTS
    print(f"{load.sessions} sessions, {load.answered} answers, {load.cut_off} cut off, {len(faults.done)} faults")


async def _until(true: Callable[[], bool], what: list[str], lab: Lab) -> None:
    """Within a minute."""
    for _ in range(1200):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within a minute, after {what}; the log says:\n{lab.proxy.log.read_text()[-4000:]}")


def _gauge(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://localhost:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def _resident(pid: int) -> int:
    """KiB."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


@pytest.mark.slow
async def test_sessions_by_the_thousand_leave_nothing_behind(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory and open files after 300 sessions and after 1,500 are the same, but for what the allocator keeps."""
    for name, value in lab.environment("alice").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)

    async def visit(number: int) -> None:
        try:
            async with connected(lab, "alice") as connection:
                await connection.fetch(f"select id, {number} from sales.orders where id > $1", 1)
                if number % 3 == 0:
                    connection.terminate()
        except LOST:
            if number % 3:
                raise

    async def visits(first: int, count: int) -> tuple[int, int]:
        for start in range(first, first + count, 20):
            await asyncio.gather(*(visit(number) for number in range(start, start + 20)))
        await asyncio.to_thread(
            lab.postgres.run, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'"
        )
        return _resident(lab.proxy.pid), len(list(Path(f"/proc/{lab.proxy.pid}/fd").iterdir()))

    before, files = await visits(0, 300)
    after, files_after = await visits(300, 1200)
    assert after - before < 8 * 1024
    assert files_after <= files + 2
