"""Clients of the whole way: real psql, real asyncpg, real tickets."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.proxy import override, to_toml
from pgguard.lab.terminal import PSQL_PROMPT
from tests.e2e import waiting
from tests.e2e.psql import run_psql

WITH_OR_WITHOUT_CONNECTION = re.compile(rf"{PSQL_PROMPT.pattern}|^!\?> $", re.MULTILINE)
"""psql's prompts, that of a lost connection among them."""

Psql = Callable[..., subprocess.CompletedProcess[str]]


def serve_with(lab: Lab, tmp_path: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """`pgguard serve` with the lab's configuration and other settings, which keep it from starting."""
    sections = tomllib.loads(lab.config.read_text())
    override(sections, [f"audit.path={tmp_path / 'audit.jsonl'}", *settings])
    config = tmp_path / "pgguard.toml"
    config.write_text(to_toml(sections))
    return subprocess.run(
        [sys.executable, "-m", "pgguard", "serve", "--allow-root", "--config", config],
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


@pytest.fixture(scope="session")
def waiting_lab(servers: Path) -> Iterator[Lab]:
    """A lab in which bob's statements wait (waiting.py)."""
    rules = servers / "waiting-rules"
    shutil.copytree("rules", rules)
    (rules / "holds.yaml").write_text(waiting.RULES)
    people = servers / "waiting-people.yaml"
    people.write_text(waiting.PEOPLE)
    folder = servers / "waiting"
    hook = f'holds.hooks=[{{command=["tee", "-a", "{folder / "hook.json"}"], text=true}}]'
    with Lab(Plan(folder, rules=rules, directory=people, settings=(*waiting.SETTINGS, hook))) as running:
        yield running


@pytest.fixture
def asking(lab: Lab, as_user: Callable[[str], None]) -> Iterator[waiting.Asking]:
    """bob's session in the module's lab."""
    as_user("bob")
    with ThreadPoolExecutor() as pool:
        one = waiting.Asking(lab, pool)
        yield one
        one.leave()
        one.session.close()
