"""The audit under violence: kills in a loop under load, a full disk. PostgreSQL's own log is the witness."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from pgguard.audit.files import all_files
from pgguard.audit.reading import records
from pgguard.audit.records import Changed, DecisionMade
from pgguard.audit.verify import verify_files
from pgguard.lab.lab import Lab
from pgguard.lab.terminal import PSQL, Terminal
from pgguard.model.decision import Effect
from tests.audit.collectors import wait_for
from tests.e2e.conftest import connected, run_psql

OwnLab = Callable[..., Lab]

_MARK = re.compile(r"/\*(m\d+)\*/")
_SESSIONS = 6


class _Load:
    """Sessions that ask one statement after the other, each with a mark of its own, and come back when cut off."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._ending = False
        self.asked = 0
        self.answered: set[str] = set()
        self.cut_off = 0
        self._wanted = 0
        self._there = asyncio.Event()

    def end(self) -> None:
        self._ending = True

    async def more(self, count: int) -> None:
        """Wait until so many more statements were answered."""
        self._wanted = len(self.answered) + count
        self._there.clear()
        async with asyncio.timeout(60):
            await self._there.wait()

    def _mark(self) -> str:
        self.asked += 1
        return f"m{self.asked}"

    async def session(self, number: int) -> None:
        while not self._ending:
            try:
                async with connected(self._lab, "alice") as connection:
                    await self._ask(connection, number)
            except (
                *(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError),
                asyncpg.InternalClientError,  # what asyncpg makes of a session that ends between two statements
            ):
                self.cut_off += 1

    async def _ask(self, connection: asyncpg.Connection, number: int) -> None:
        while not self._ending:
            mark = self._mark()
            if number % 3 == 0:
                await connection.execute(f"select 1 /*{mark}*/")
            elif number % 3 == 1:
                await connection.fetch(f"select id from sales.orders where id > $1 /*{mark}*/", 3)
            else:
                await connection.execute(f"begin; select 2 /*{mark}*/; commit")
            self.answered.add(mark)
            if len(self.answered) >= self._wanted:
                self._there.set()
            with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"select card_number from sales.customers /*{self._mark()}*/")


def _use_ticket(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in lab.environment("alice").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)


def _allowed(lab: Lab) -> set[str]:
    """The marks of all statements that the audit has as allowed."""
    made = (r for r in records(all_files(lab.audit)) if isinstance(r, DecisionMade) and r.effect is Effect.ALLOW)
    return {mark for record in made for mark in _MARK.findall(record.text)}


def _reached(lab: Lab) -> set[str]:
    """The marks of all statements that PostgreSQL says it has got to run."""
    lines = lab.postgres.log.read_text(errors="replace").splitlines()
    ran = (line for line in lines if re.search(r"LOG:  (statement|execute [^:]*): ", line))
    return {mark for line in ran for mark in _MARK.findall(line)}


@pytest.mark.slow
async def test_every_statement_that_reached_the_server_has_its_record_however_pgguard_is_killed(
    own_lab: OwnLab, monkeypatch: pytest.MonkeyPatch
):
    lab = own_lab("audit.rotate_bytes=300000", postgres_settings={"log_statement": "all"})
    _use_ticket(lab, monkeypatch)
    load = _Load(lab)
    sessions = [asyncio.create_task(load.session(number)) for number in range(_SESSIONS)]
    for turn in range(8):
        await load.more(50 + 37 * turn)  # the moment of the kill is another one each time
        os.kill(lab.proxy.pid, signal.SIGKILL)
        await asyncio.to_thread(lab.proxy.stop)
        await asyncio.to_thread(lab.proxy.start)
    load.end()
    await asyncio.gather(*sessions)
    lab.proxy.stop()
    lab.postgres.stop()

    assert verify_files(all_files(lab.audit), None).findings == ()
    reached, allowed = _reached(lab), _allowed(lab)
    assert reached - allowed == set()
    assert load.answered - reached == set()
    assert len(reached) > 1400
    assert load.cut_off >= 8
    started = [r for r in records(all_files(lab.audit)) if isinstance(r, Changed) and r.what == "start"]
    assert len(started) == 9


def _workers(supervisor: int) -> list[int]:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [int(c) for c in children if b"audit.shipping" not in Path(f"/proc/{c}/cmdline").read_bytes()]


def _started(lab: Lab) -> int:
    """How many workers have ever come up."""
    return lab.proxy.log.read_text(errors="replace").count("accepting connections")


@pytest.mark.slow
async def test_killed_workers_hang_ups_rotation_and_compression_lose_no_record(
    own_lab: OwnLab, monkeypatch: pytest.MonkeyPatch
):
    """All at once, under load; the supervisor and its other worker go on."""
    settings = ("listen.workers=2", "audit.rotate_bytes=60000")
    lab = own_lab(*settings, postgres_settings={"log_statement": "all"})
    _use_ticket(lab, monkeypatch)
    load = _Load(lab)
    sessions = [asyncio.create_task(load.session(number)) for number in range(_SESSIONS)]
    for turn in range(4):
        up = turn + 2  # the two of the beginning, and one for each that was killed
        await asyncio.to_thread(wait_for, lambda up=up: _started(lab) >= up, 90)
        await load.more(60)
        os.kill(_workers(lab.proxy.pid)[turn % 2], signal.SIGKILL)
        os.kill(lab.proxy.pid, signal.SIGHUP)
    await load.more(60)
    load.end()
    await asyncio.gather(*sessions)
    lab.proxy.stop()
    lab.postgres.stop()
    files = all_files(lab.audit)
    assert verify_files(files, None).findings == ()
    assert sum(file.suffix == ".gz" for file in files) > 2
    assert _reached(lab) - _allowed(lab) == set()
    assert load.answered - _reached(lab) == set()
    assert load.cut_off >= 4


def test_one_kill_under_load_leaves_no_statement_unrecorded(own_lab: OwnLab, monkeypatch: pytest.MonkeyPatch):
    """The short form of the above."""
    lab = own_lab(postgres_settings={"log_statement": "all"})
    _use_ticket(lab, monkeypatch)

    async def kill_under_load() -> _Load:
        load = _Load(lab)
        sessions = [asyncio.create_task(load.session(number)) for number in range(3)]
        await load.more(60)
        os.kill(lab.proxy.pid, signal.SIGKILL)
        load.end()
        await asyncio.gather(*sessions)
        return load

    load = asyncio.run(kill_under_load())
    lab.proxy.stop()
    lab.proxy.start()
    lab.proxy.stop()
    lab.postgres.stop()
    assert verify_files(all_files(lab.audit), None).findings == ()
    assert _reached(lab) - _allowed(lab) == set()
    assert load.answered - _reached(lab) == set()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of a megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small filesystem")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small filesystem can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 512)
    assert shutil.disk_usage(folder).free == 0
    return filler


@pytest.mark.parametrize("sync", ["os", pytest.param("always", marks=pytest.mark.slow)])
def test_a_full_disk_refuses_statements_until_there_is_room_again(own_lab: OwnLab, small_disk: Path, sync: str):
    audit = small_disk / "audit.jsonl"
    lab = own_lab(f"audit.path={audit}", f"audit.sync={sync}", postgres_settings={"log_statement": "all"})
    with Terminal([*PSQL, "-At", "-v", "VERBOSITY=verbose"], lab.environment("alice")) as terminal:
        terminal.until_prompt()
        assert "\n1\n" in terminal.enter("select 1;")
        filler = _fill(small_disk)
        while "53100" not in (answer := terminal.enter("select 2 as refused_later;")):  # the last page has some room
            assert "\n2\n" in answer
        assert "the statement could not be recorded, and was refused" in answer
        assert "53100" in terminal.enter("select 'never' || ' relayed';")
        # of others as well, and their logins, which have shorter records
        refused = run_psql(lab, "alice", "select 3").stderr
        assert "53100" in refused or "the login could not be recorded, and was refused" in refused
        filler.unlink()
        assert "\n4\n" in terminal.enter("select 4;")
    assert run_psql(lab, "alice", "select 5").stdout == "5\n"
    told = lab.proxy.log.read_text(errors="replace")
    assert "a statement was refused because it cannot be recorded: cannot write audit log" in told
    assert "No space left on device" in told
    lab.proxy.stop()
    wait_for(lambda: "select 5" in lab.postgres.log.read_text())
    assert "never" not in lab.postgres.log.read_text()
    assert verify_files(all_files(audit), None).findings == ()
    texts = [record.text for record in records(all_files(audit)) if isinstance(record, DecisionMade)]
    assert {"select 1;", "select 4;", "select 5"} <= set(texts)
