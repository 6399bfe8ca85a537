"""Clients of the whole way: real psql, real asyncpg, real tickets."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.proxy import override, to_toml
from pgguard.lab.terminal import PSQL_PROMPT

WITH_OR_WITHOUT_CONNECTION = re.compile(rf"{PSQL_PROMPT.pattern}|^!\?> $", re.MULTILINE)
"""psql's prompts, that of a lost connection among them."""

Psql = Callable[..., subprocess.CompletedProcess[str]]


def run_psql(lab: Lab, user: str, *commands: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Each command is a `-c` of its own in one session, and goes on after errors as a person would."""
    return psql_with(lab.environment(user), *commands, **variables)


def psql_with(environment: dict[str, str], *commands: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`run_psql` of somebody whose environment was taken while all of the lab was running."""
    words = [word for command in commands for word in ("-c", command)]
    return subprocess.run(
        ["psql", "-XAt", "-v", "VERBOSITY=verbose", *words],
        env={**os.environ, **environment, "PGCONNECT_TIMEOUT": "20", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def serve_with(lab: Lab, tmp_path: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """`pgguard serve` with the lab's configuration and other settings, which keep it from starting."""
    sections = tomllib.loads(lab.config.read_text())
    override(sections, [f"audit.path={tmp_path / 'audit.jsonl'}", *settings])
    config = tmp_path / "pgguard.toml"
    config.write_text(to_toml(sections))
    return subprocess.run(
        [sys.executable, "-m", "pgguard", "serve", "--config", config],
        env={**os.environ, **lab.realm.environment()},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.fixture(params=["require", "disable"], ids=["gss-encrypted", "plain"])
def psql(request: pytest.FixtureRequest, lab: Lab) -> Psql:
    """psql in both of libpq's ways to use Kerberos: encryption by it, and login alone."""

    def call(user: str, *commands: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run_psql(lab, user, *commands, PGGSSENCMODE=request.param, **variables)

    return call


@asynccontextmanager
async def connected(lab: Lab, user: str, **options: object) -> AsyncIterator[asyncpg.Connection]:
    """asyncpg with GSSAPI. It reads the ticket from this process's environment (see `as_user`)."""
    connection = await asyncpg.connect(
        host=lab.proxy.host,
        port=lab.proxy.port,
        user=user,
        gsslib="gssapi",
        timeout=20,
        **{"database": lab.plan.database, **options},
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


@pytest.fixture
def as_user(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a user's ticket into this process's environment, for libraries that look there."""

    def switch(user: str) -> None:
        for name, value in lab.environment(user).items():
            if name.startswith("KRB5"):
                monkeypatch.setenv(name, value)

    return switch


@pytest.fixture
def own_lab(servers: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Lab]]:
    """A lab for tests that break things, made with settings of their own."""
    made: list[Lab] = []

    def make(*settings: str, **plan: object) -> Lab:
        folder = servers / f"{abs(hash(request.node.nodeid)) % 10**8}-{len(made)}"
        lab = Lab(Plan(folder, settings=settings, **plan))
        made.append(lab)
        lab.start()
        return lab

    yield make
    for lab in made:
        lab.stop()
