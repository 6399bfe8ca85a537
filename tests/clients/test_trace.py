"""`pgguard serve --trace`: each message in the log, and no value or secret among them."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgguard.lab.lab import Lab
from pgguard.lab.ports import free_port

from .conftest import TRANSPORTS


@pytest.fixture
def traced(open_lab: Lab, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A second proxy on the lab's servers: its port and its log."""
    port, config, log = free_port(), tmp_path / "pgguard.toml", tmp_path / "pgguard.log"
    text = open_lab.config.read_text().replace(f"port = {open_lab.proxy.port}\n", f"port = {port}\n")
    config.write_text(text.replace(str(open_lab.audit), str(tmp_path / "audit.jsonl")))
    config.chmod(0o600)
    command = [sys.executable, "-m", "pgguard", "serve", "--trace", "--allow-root", "--config", str(config)]
    environment = {**TRANSPORTS["plain"], **open_lab.realm.environment(), "PATH": "/usr/bin:/bin"}
    with log.open("w") as out, subprocess.Popen(command, stderr=out, env=environment) as proxy:
        try:
            while proxy.poll() is None and "accepting connections" not in log.read_text():
                pass
            socket.create_connection(("localhost", port), 5).close()
            yield port, log
        finally:
            proxy.terminate()


def test_the_messages_of_a_session_are_told_without_their_values(
    client: dict[str, str], traced: tuple[int, Path]
) -> None:
    port, log = traced
    told = subprocess.run(
        ["psql", "-XAtc", "select 'hidden' || ' value'", "-c", "alter role alice password 'hush'"],
        env={**client, "PGPORT": str(port)}, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert told.stdout == "hidden value\nALTER ROLE\n"
    lines = log.read_text()
    assert "DataRow 1 [12]" in lines
    assert 'CommandComplete "SELECT 1"' in lines
    assert "Query (left out)" in lines
    assert "hidden value" not in lines
    assert "hush" not in lines
