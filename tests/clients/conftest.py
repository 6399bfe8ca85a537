"""A lab whose rules block nothing, so that every difference a client sees is pgguard's own; in each transport."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgguard.lab.certificates import Certificates
from pgguard.lab.lab import Lab, Plan

TRANSPORTS = {
    "plain": {"PGGSSENCMODE": "disable", "PGSSLMODE": "disable"},
    "tls": {"PGGSSENCMODE": "disable", "PGSSLMODE": "require"},
    "gss": {"PGGSSENCMODE": "require", "PGSSLMODE": "disable"},
}

Run = Callable[..., subprocess.CompletedProcess[str]]
Connect = Callable[..., psycopg.Connection]


@pytest.fixture(scope="session")
def open_lab(servers: Path, certificates: Certificates) -> Iterator[Lab]:
    """Rules in observation: judged and recorded as ever, and nothing refused. alice is a superuser."""
    folder = servers / "open"
    folder.mkdir()
    schema = folder / "schema.sql"
    schema.write_text("create table items (id int primary key, name text);\n")
    settings = (
        "rules.mode=observe",
        f"tls.certificate={certificates.certificate}",
        f"tls.key={certificates.key}",
    )
    with Lab(Plan(folder, sql=(schema,), settings=settings)) as running:
        yield running


@pytest.fixture(params=TRANSPORTS)
def client(request: pytest.FixtureRequest, open_lab: Lab) -> dict[str, str]:
    """The environment of a client of alice's, in one of the transports."""
    return {**os.environ, **open_lab.environment("alice"), **TRANSPORTS[request.param], "PGCONNECT_TIMEOUT": "20"}


@pytest.fixture
def run(client: dict[str, str], tmp_path: Path) -> Run:
    """Run a program to its end, and let its failure be the test's."""

    def call(*command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, env=client, input=stdin, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return done

    return call


@pytest.fixture
def connect(client: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """psycopg, which reads this process's environment; connections are closed at the end."""
    for name, value in client.items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)
    made: list[psycopg.Connection] = []

    def call(**options: object) -> psycopg.Connection:
        with monkeypatch.context() as patched:
            for name, value in client.items():
                patched.setenv(name, value)
            made.append(psycopg.connect("", **{"autocommit": True, **options}))
        return made[-1]

    yield call
    for connection in made:
        connection.close()
