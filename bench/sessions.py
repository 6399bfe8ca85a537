"""What open sessions cost that ask nothing: memory, and what they add to a statement of another session."""

import asyncio
import os
from pathlib import Path

import asyncpg

from bench.cases import Case, Measured
from bench.targets import Target

_AT_ONCE = 20


def idle_sessions(target: Target, count: int, folder: Path, seconds: int) -> list[Measured]:
    """Kilobytes of memory a session, and the proxy's microseconds for a prepared select without and with them."""
    return asyncio.run(_measured(target, count, folder, Case("idle", ("-S", "-Mprepared"), 1, seconds)))


async def _measured(target: Target, count: int, folder: Path, case: Case) -> list[Measured]:
    alone = await asyncio.to_thread(case.run, target, folder)
    before = target.memory()
    sessions = await _opened(target, count)
    memory = (target.memory() - before) / count
    among = await asyncio.to_thread(case.run, target, folder)
    for session in sessions:
        session.terminate()
    return [
        {"what": "KB of memory an idle session", "of": "sessions", "many": count, "at_many": memory},
        {
            "what": "proxy CPU of a prepared select, µs", "of": "open sessions", "few": 1, "many": count,
            "at_few": alone["cpu_us"], "at_many": among["cpu_us"],
        },
    ]  # fmt: skip


async def _opened(target: Target, count: int) -> list[asyncpg.Connection]:
    os.environ.update(target.environment)  # asyncpg takes the ticket from there
    place = {"host": target.environment["PGHOST"], "port": int(target.environment["PGPORT"]), "user": "alice"}
    sessions: list[asyncpg.Connection] = []
    while len(sessions) < count:
        few = [asyncpg.connect(**place, database="shop", gsslib="gssapi", timeout=60) for _ in range(_AT_ONCE)]
        sessions += await asyncio.gather(*few)
    return sessions
