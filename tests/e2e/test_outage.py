"""The directory hangs and dies while sessions work: none of their statements waits for it, and all comes back by itself."""

import asyncio
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from pgguard.lab.lab import Lab
from pgguard.lab.ports import free_port
from pgguard.lab.terminal import PSQL, Terminal
from tests.e2e.conftest import connected
from tests.e2e.psql import psql_with

pytestmark = pytest.mark.slow

_MAX_STALE = 5.0
_TIMEOUT = 2.0
"""What one call to the directory may take: a statement that waited for it would take as long."""

_SESSIONS = 8
_ORDERS = "select count(*) from sales.orders"
_CANNOT_TELL = 'the directory cannot tell the groups of "alice"'


class Load:
    """Sessions that ask the same thing again and again, which takes a group, and what became of each statement."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.statements = 0
        self.last: dict[str, tuple[float, str]] = {}
        self.first_refusal: float | None = None
        self.stopping = threading.Event()

    def note(self, session: str, began: float, answer: str) -> None:
        now = time.monotonic()
        self.longest = max(self.longest, now - began)
        self.statements += 1
        self.last[session] = (began, answer)
        if answer != "6" and self.first_refusal is None:
            self.first_refusal = began

    def all_are_answered(self, since: float) -> bool:
        return len(self.last) == _SESSIONS and all(b > since and said == "6" for b, said in self.last.values())

    def all_are_refused(self, words: str, since: float) -> bool:
        return all(began > since and words in said for began, said in self.last.values())

    async def by_asyncpg(self, name: str, connection: asyncpg.Connection) -> None:
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                answer = str(await connection.fetchval(_ORDERS))
            except asyncpg.InsufficientPrivilegeError as refused:
                answer = f"{refused} {refused.detail}"
            self.note(name, began, answer)
            await asyncio.sleep(0.02)

    def by_psql(self, name: str, lab: Lab) -> None:
        with Terminal([*PSQL, "-At"], lab.environment("alice")) as terminal:
            terminal.until_prompt()
            while not self.stopping.wait(0.05):
                began = time.monotonic()
                shown = terminal.enter(f"{_ORDERS};")
                self.note(name, began, "6" if "\n6\n" in shown else shown)


@asynccontextmanager
async def _load(lab: Lab) -> AsyncIterator[Load]:
    """Six sessions by asyncpg and two by psql."""
    load = Load()
    connections = [connected(lab, "alice") for _ in range(_SESSIONS - 2)]
    opened = [await connection.__aenter__() for connection in connections]
    work = [asyncio.create_task(load.by_asyncpg(f"asyncpg {n}", one)) for n, one in enumerate(opened)]
    work += [asyncio.create_task(asyncio.to_thread(load.by_psql, f"psql {n}", lab)) for n in range(2)]
    try:
        yield load
    finally:
        load.stopping.set()
        await asyncio.gather(*work)
        for connection in connections:
            await connection.__aexit__(None, None, None)


async def _until(condition: Callable[[], bool], seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # it becomes so in servers, which tell no event of ours
            await asyncio.sleep(0.05)


class Watched:
    """A lab that is looked at as an operator does: metrics, console, log."""

    def __init__(self, lab: Lab, port: int) -> None:
        self.lab = lab
        self.people = {user: lab.environment(user) for user in ("alice", "bob")}  # taken while slapd runs
        self._port = port

    async def metric(self, name: str) -> float:
        page = await asyncio.to_thread(self._page)
        (line,) = [line for line in page.splitlines() if line.startswith(f"pgguard_directory_{name} ")]
        return float(line.split()[1])

    def _page(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as page:
            return page.read().decode()

    async def console(self) -> dict[str, str]:
        shown = await asyncio.to_thread(psql_with, self.people["alice"], "show directory", PGDATABASE="pgguard")
        return dict(line.split("|", 1) for line in shown.stdout.splitlines())

    def told(self, words: str) -> int:
        return self.lab.proxy.log.read_text().count(words)


@pytest.fixture
def watched(own_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    port = free_port()
    settings = ("refresh=0.3", f"max_stale={_MAX_STALE}", f"timeout={_TIMEOUT}")
    lab = own_lab(*(f"directory.{one}" for one in settings), "metrics.host=127.0.0.1", f"metrics.port={port}")
    for name, value in lab.environment("alice").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)
    return Watched(lab, port)


async def test_a_directory_that_hangs_holds_up_no_statement(watched: Watched):
    lab = watched.lab
    async with _load(lab) as load:
        await _until(lambda: load.all_are_answered(0))
        paused = time.monotonic()
        lab.slapd.pause()
        try:
            await _until(lambda: load.all_are_refused(_CANNOT_TELL, paused))
            assert load.first_refusal is not None
            assert load.first_refusal - paused > _MAX_STALE - 1  # it was last asked up to a poll and an answer before
            assert await watched.metric("stale") == 1
            await _until(lambda: watched.told("the circuit breaker of the directory is open") == 1)
            await _while_open(watched)
        finally:
            lab.slapd.resume()
        resumed = time.monotonic()
        await _until(lambda: load.all_are_answered(resumed))
        await _well_again(watched)
    print(f"\nhung directory: {load.statements} statements, the longest took {load.longest * 1000:.0f} ms")
    assert load.longest < _TIMEOUT * 0.75


async def _while_open(watched: Watched) -> None:
    """The breaker is open, and nobody's groups are known any more."""
    assert await watched.metric("breaker_open") == 1
    assert await watched.metric("up") == 0
    assert await watched.metric("silent_seconds") > _MAX_STALE
    shown = await watched.console()
    assert shown["directory"].startswith("has not answered for ")
    assert shown["groups"] == "none are known: older than max_stale, 5 s"
    assert shown["breaker"].startswith("open after ")
    assert "error" not in shown  # alice is no administrator
    assert watched.told("nobody's groups are known, and what depends on them is refused") == 1
    began = time.monotonic()
    stranger = await asyncio.to_thread(psql_with, watched.people["bob"], "select 1", _ORDERS)
    assert time.monotonic() - began < _TIMEOUT  # a login leaves it alone, too
    assert stranger.stdout == "1\n"
    assert 'the directory cannot tell the groups of "bob"' in stranger.stderr


async def _well_again(watched: Watched) -> None:
    assert [await watched.metric(name) for name in ("up", "breaker_open", "stale", "silent_seconds")] == [1, 0, 0, 0]
    shown = await watched.console()
    assert (shown["directory"], shown["breaker"]) == ("answers", "closed")
    assert watched.told("directory answers again") == 1


async def test_a_directory_that_is_restarted_under_load_is_not_noticed_by_any_statement(watched: Watched):
    """Down for less than `max_stale`: each statement is answered as before, and logins of those who are known, too."""
    lab = watched.lab
    async with _load(lab) as load:
        await _until(lambda: load.all_are_answered(0))
        lab.slapd.stop()
        await _until(lambda: watched.told("directory does not answer") == 1)
        assert (await watched.console())["groups"].startswith("those known serve for ")
        login = await asyncio.to_thread(psql_with, watched.people["alice"], _ORDERS)
        assert login.stdout == "6\n"
        await asyncio.to_thread(lab.slapd.start)
        await _until(lambda: watched.told("directory answers again") == 1)
        await asyncio.to_thread(lab.slapd.remove_from_group, "alice", "analysts")
        removed = time.monotonic()
        await _until(lambda: load.all_are_refused("permission denied", removed))
        assert load.first_refusal is not None
        assert load.first_refusal > removed - 0.5
    print(f"\nrestarted directory: {load.statements} statements, the longest took {load.longest * 1000:.0f} ms")
    assert load.longest < _TIMEOUT * 0.75
