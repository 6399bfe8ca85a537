"""Several workers on one port: to clients, approvers and operators they are one pgguard."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.ports import free_port
from pgguard.lab.process import await_reaping
from tests.e2e.conftest import connected, run_psql

_RULES = """
rules:
  - {name: a-dba, who: {group: writers}, hold: delete, on: sales.orders, approvers: {group: dba}}
  - {name: sleep, who: everyone, allow: execute, on: {function: pg_catalog.pg_sleep}}
"""
_WORKERS = 2
_LOST = (
    asyncpg.AdminShutdownError,
    asyncpg.InternalClientError,  # what asyncpg makes of 57P01 between two statements, from PostgreSQL too
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    OSError,
)


class Team:
    """A lab whose proxy has workers."""

    def __init__(self, lab: Lab, metrics: int) -> None:
        self.lab = lab
        self._metrics = metrics

    def pids(self) -> set[int]:
        parent = self.lab.proxy.pid
        return set(map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()))

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://localhost:{self._metrics}/metrics", timeout=10) as answer:
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def wait_for(self, what: Callable[[dict[str, float]], bool], complaint: str) -> None:
        pause = threading.Event()
        for _ in range(600):
            if what(self.metrics()):
                return
            pause.wait(0.05)
        raise AssertionError(f"{complaint}; the log says:\n{self.lab.proxy.log.read_text()[-3000:]}")

    def console(self, user: str, *commands: str) -> tuple[str, str]:
        done = run_psql(self.lab, user, *commands, PGDATABASE="pgguard")
        return done.stdout, done.stderr


@pytest.fixture(scope="module")
def team(servers: Path) -> Iterator[Team]:
    rules, port = servers / "workers-rules", free_port()
    shutil.copytree("rules", rules)
    (rules / "holds.yaml").write_text(_RULES)
    settings = (
        f"listen.workers={_WORKERS}", f"metrics.port={port}", 'console.admin_groups=["dba"]',
        "limits.sessions_per_user=12", "limits.drain_seconds=20",
    )  # fmt: skip
    with Lab(Plan(servers / "workers", rules=rules, settings=settings)) as lab:
        made = Team(lab, port)
        made.wait_for(lambda seen: seen["pgguard_workers"] == _WORKERS, "not all workers have come up")
        yield made


@pytest.fixture
def lab(team: Team) -> Lab:
    return team.lab


@pytest.fixture
def as_alice(lab: Lab, as_user: Callable[[str], None]) -> None:
    as_user("alice")


@asynccontextmanager
async def _one_on_each(lab: Lab) -> AsyncIterator[list[asyncpg.Connection]]:
    """Sessions of alice's: each goes to the worker that has the fewest."""
    async with connected(lab, "alice") as one, connected(lab, "alice") as other:
        yield [one, other]


@pytest.mark.usefixtures("as_alice")
async def test_sessions_of_all_workers_are_listed_counted_and_ended(team: Team):
    async with _one_on_each(team.lab) as sessions:
        assert team.metrics()["pgguard_sessions"] == 2
        listed = (await asyncio.to_thread(team.console, "dora", "show sessions"))[0].splitlines()
        assert [line.split("|")[1] for line in listed] == ["alice", "alice"]
        assert "sessions||2\n" in (await asyncio.to_thread(team.console, "dora", "show stats"))[0]
        for line in listed:
            name = line.split("|")[0]
            assert "no session" in (await asyncio.to_thread(team.console, "bob", f"terminate {name}"))[1]
            assert not (await asyncio.to_thread(team.console, "dora", f"terminate {name}"))[1]
        for session in sessions:
            with pytest.raises(_LOST):
                await session.fetch("select 1")


@pytest.mark.usefixtures("as_alice")
async def test_a_cancel_request_reaches_the_worker_whose_key_it_carries(lab: Lab):
    """It comes as a connection of its own, which goes to the worker with the fewest: to the other one, mostly."""
    async with _one_on_each(lab) as sessions:
        for session in sessions:
            with pytest.raises(TimeoutError):  # at which asyncpg sends the cancel request
                await session.execute("select pg_sleep(60)", timeout=0.2)
            assert await session.fetchval("select 1") == 1


async def test_what_is_held_in_any_worker_is_approved_in_any_other(team: Team, as_user: Callable[[str], None]):
    """Four holds, on both workers; each console session is on either."""
    as_user("bob")
    async with connected(team.lab, "bob") as one, connected(team.lab, "bob") as other:
        for session in (one, other, one, other):
            asked = asyncio.create_task(session.execute("delete from sales.orders where id = -1"))
            while not (shown := (await asyncio.to_thread(team.console, "dora", "show holds"))[0]):
                assert not asked.done()
            number = shown.split("|")[0]
            assert "goes on" in (await asyncio.to_thread(team.console, "dora", f"approve {number}"))[1]
            assert await asyncio.wait_for(asked, 20) == "DELETE 0"
            as_user("bob")


@pytest.mark.usefixtures("as_alice")
async def test_the_limits_hold_over_all_workers(lab: Lab):
    sessions = [await _connect(lab) for _ in range(12)]
    try:
        with pytest.raises(asyncpg.TooManyConnectionsError, match='user "alice" has 12 of 12 allowed'):
            await _connect(lab)
        await sessions.pop().close()
        sessions.append(await _connect_when_there_is_room(lab))
    finally:
        for session in sessions:
            await session.close()


async def _connect(lab: Lab) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=lab.proxy.host, port=lab.proxy.port, user="alice", database="shop", gsslib="gssapi", timeout=20
    )


async def _connect_when_there_is_room(lab: Lab) -> asyncpg.Connection:
    """A client is told goodbye before its place is given back."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await _connect(lab)
            except asyncpg.TooManyConnectionsError:
                pass


@pytest.mark.usefixtures("as_alice")
async def test_a_reload_reaches_every_worker(team: Team):
    """With rules that say another thing: told to one, heard by both, and to be seen in the metrics."""
    folder = team.lab.rules
    async with _one_on_each(team.lab) as sessions:
        (folder / "more.yaml").write_text("rules: [{name: no-orders, who: everyone, deny: read, on: sales.orders}]")
        try:
            assert "rules in force" in (await asyncio.to_thread(team.console, "dora", "reload"))[1]
            for session in sessions:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await session.fetch("select count(*) from sales.orders")
            assert len([name for name in team.metrics() if name.startswith("pgguard_rules_info")]) == 1
        finally:
            (folder / "more.yaml").unlink()
            os.kill(team.lab.proxy.pid, signal.SIGHUP)
        for session in sessions:
            async with asyncio.timeout(20):
                while not await _may_read(session):
                    pass


async def _may_read(session: asyncpg.Connection) -> bool:
    try:
        await session.fetch("select count(*) from sales.orders")
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


class Load:
    """Clients that ask all the time, and come again when their session has ended."""

    def __init__(self, lab: Lab, clients: int) -> None:
        self._lab = lab
        self._stopping = False
        self._clients = [asyncio.create_task(self._client()) for _ in range(clients)]
        self.statements = 0
        self.lost: list[Exception] = []
        """Of sessions that ended at rest."""
        self.cut: list[Exception] = []
        """Of those that ended in a transaction."""
        self.turned_away: list[Exception] = []

    async def _client(self) -> None:
        while not self._stopping:
            try:
                session = await _connect(self._lab)
            except (*_LOST, TimeoutError) as error:
                self.turned_away.append(error)
                continue
            await self._ask(session)
            session.terminate()

    async def _ask(self, session: asyncpg.Connection) -> None:
        while not self._stopping:
            transaction = session.transaction()
            try:
                await transaction.start()
            except _LOST as error:
                self.lost.append(error)
                return
            try:
                assert await session.fetchval("select count(*) from sales.orders") == 6
                await transaction.commit()
            except _LOST as error:
                self.cut.append(error)
                return
            self.statements += 1

    async def more(self, statements: int) -> None:
        """Until so many more have been answered."""
        wanted = self.statements + statements
        async with asyncio.timeout(60):
            while self.statements < wanted:
                await asyncio.wait(self._clients, timeout=0.05)

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._clients)


@pytest.mark.usefixtures("as_alice")
async def test_a_worker_that_is_killed_takes_its_own_sessions_along_and_no_others(team: Team):
    load = Load(team.lab, 6)
    await load.more(30)
    victim = min(team.pids())
    restarts = team.metrics()["pgguard_worker_restarts_total"]
    counted = team.metrics()['pgguard_statements_total{effect="allow"}']
    os.kill(victim, signal.SIGKILL)
    await load.more(100)
    await asyncio.to_thread(
        team.wait_for, lambda seen: seen["pgguard_workers"] == _WORKERS, "the killed worker is not replaced"
    )
    await load.stop()
    assert len(load.lost) + len(load.cut) == 3, "the other worker's sessions went on"
    seen = team.metrics()
    assert seen["pgguard_worker_restarts_total"] == restarts + 1
    assert seen['pgguard_statements_total{effect="allow"}'] >= counted, "what the dead one counted is not forgotten"
    assert victim not in team.pids()
    assert "worker 0 ended with status -9; it is replaced" in team.lab.proxy.log.read_text()
    _verify(team.lab)


@pytest.mark.usefixtures("as_alice")
async def test_all_workers_are_replaced_under_load_and_nobody_is_turned_away(team: Team):
    load = Load(team.lab, 6)
    await load.more(30)
    before = team.pids()
    os.kill(team.lab.proxy.pid, signal.SIGUSR2)
    while team.pids() & before:  # bounded by the load's own patience
        await load.more(5)
    await load.more(30)
    await load.stop()
    assert load.turned_away == []
    assert load.cut == []
    assert len(load.lost) >= 6
    assert len(team.pids()) == _WORKERS
    _verify(team.lab)


@pytest.mark.usefixtures("as_alice")
@pytest.mark.slow
async def test_workers_whose_supervisor_is_killed_let_transactions_end_and_then_end_themselves(team: Team):
    workers = team.pids()
    async with _one_on_each(team.lab) as (one, other):
        async with one.transaction():
            os.kill(team.lab.proxy.pid, signal.SIGKILL)
            assert await one.fetchval("select count(*) from sales.orders") == 6
        for session in (one, other):
            ended = asyncio.Event()
            session.add_termination_listener(lambda _, ended=ended: ended.set())
            if not session.is_closed():
                await asyncio.wait_for(ended.wait(), 20)
    await asyncio.to_thread(await_reaping, workers, 20)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    team.lab.proxy.stop()
    team.lab.proxy.start()
    await asyncio.to_thread(team.wait_for, lambda seen: seen["pgguard_workers"] == _WORKERS, "it does not start again")
    _verify(team.lab)


@pytest.mark.slow
@pytest.mark.usefixtures("as_alice")
async def test_a_worker_whose_event_loop_does_not_turn_is_replaced(team: Team):
    stuck = min(team.pids())
    os.kill(stuck, signal.SIGSTOP)
    await asyncio.to_thread(team.wait_for, lambda _: stuck not in team.pids(), "it is not killed")
    await asyncio.to_thread(team.wait_for, lambda seen: seen["pgguard_workers"] == _WORKERS, "it is not replaced")
    async with _one_on_each(team.lab) as sessions:
        assert [await session.fetchval("select 1") for session in sessions] == [1, 1]


def _verify(lab: Lab) -> None:
    """The chain of all workers' records is whole."""
    done = subprocess.run(
        [sys.executable, "-m", "pgguard", "audit", "verify", lab.audit], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_workers_run_the_installed_code_wherever_pgguard_is_started(servers: Path):
    """In a checkout of another version they ran that one: Python looks in the current folder first."""
    here = servers / "elsewhere"
    (here / "pgguard").mkdir(parents=True)
    (here / "pgguard" / "__init__.py").write_text("raise SystemExit('this is another pgguard')\n")
    ship = 'audit.ship=[{to = "stdout"}]'
    with Lab(Plan(here, settings=(f"listen.workers={_WORKERS}", ship))) as lab:
        assert run_psql(lab, "alice", "select count(*) from sales.orders where id < 0").stdout == "0\n"
        pause = threading.Event()
        while '"session-start"' not in (told := lab.proxy.log.read_text()):  # shipped by a process of its own
            assert "another pgguard" not in told
            pause.wait(0.05)
