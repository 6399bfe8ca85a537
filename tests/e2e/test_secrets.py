"""Where a stranger on the machine could look: no password, key or ticket is in the log, the audit, the metrics, the
console, or the list of processes, at the most talkative level and through all kinds of trouble.
"""

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.ports import free_port
from tests.e2e.psql import run_psql

_SECRETS = {
    "database.password_file": "secret-of-the-roles",
    "database.service_password_file": "secret-of-the-service",
    "audit.key_file": "secret-of-the-chain-0123456789abcdef",
    "hook": "secret-of-the-hook",
}
_HEADER = "secret-of-the-collector"
_OF_A_CLIENT = "secret-of-a-client"


@pytest.fixture(scope="module")
def talkative(servers: Path) -> Iterator[tuple[Lab, int]]:
    """Two workers, a shipper, a hook that nobody answers, and every secret that a configuration can name."""
    folder = servers / "secrets"
    folder.mkdir()
    for name, secret in _SECRETS.items():
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    metrics, nobody = free_port(), free_port()
    plan = Plan(
        folder,
        settings=(
            *(f"{name}={folder / name}" for name in _SECRETS if "." in name),
            f'holds.hooks=[{{url = "http://localhost:{nobody}/", secret_file = "{folder / "hook"}", seconds = 0.2}}]',
            f'audit.ship=[{{to = "otlp", url = "http://localhost:{nobody}/v1/logs", headers = {{authorization = "{_HEADER}"}}}}]',
            "listen.workers=2",
            "log.level=debug",
            "metrics.host=localhost",
            f"metrics.port={metrics}",
            'console.admin_groups=["dba"]',
        ),
    )
    with Lab(plan) as lab:
        yield lab, metrics


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _with_children(int(child))


def _all_processes(lab: Lab) -> list[int]:
    """The supervisor, two workers and the shipper, which starts last."""
    deadline, pause = time.monotonic() + 60, threading.Event()
    while len(found := list(_with_children(lab.proxy.pid))) < 4:
        assert time.monotonic() < deadline, f"{found} are all; the log says:\n{lab.proxy.log.read_text()[-3000:]}"
        pause.wait(0.05)
    return found


def test_nothing_that_others_see_has_a_secret(talkative: tuple[Lab, int]):
    lab, metrics = talkative
    processes = _all_processes(lab)
    assert "25.00" in run_psql(lab, "alice", "select id, total from sales.orders").stdout
    run_psql(lab, "alice", "select card_number from sales.customers", "select 'unfinished")
    run_psql(
        lab,
        "bob",
        f"alter role bob password '{_OF_A_CLIENT}'",
        f"create user mapping for bob server nowhere options (password '{_OF_A_CLIENT}')",
    )
    run_psql(lab, "bob", "select 1", PGUSER="alice")
    run_psql(lab, "alice", "select 1", PGDATABASE="nowhere")
    shown = run_psql(lab, "dora", "show sessions", "show stats", "show rules", "show directory", PGDATABASE="pgguard")
    with urllib.request.urlopen(f"http://localhost:{metrics}/metrics", timeout=10) as answer:
        page = answer.read()
    seen = {
        "console": (shown.stdout + shown.stderr).encode(),
        "metrics": page,
        "log": lab.proxy.log.read_bytes(),
        "audit": lab.audit.read_bytes(),
        **{f"{what} of {pid}": Path(f"/proc/{pid}/{what}").read_bytes() for pid in processes for what in ("cmdline", "environ")},
    }  # fmt: skip
    assert b"pgguard_statements_total" in page
    assert b"card_number" in seen["audit"]
    assert b"rules" in seen["console"]
    secrets = (*_SECRETS.values(), _HEADER, lab.slapd.admin_password, _OF_A_CLIENT)
    assert [(what, secret) for what, text in seen.items() for secret in secrets if secret.encode() in text] == []
    for pid in processes:
        status, limits = (Path(f"/proc/{pid}/{name}").read_text() for name in ("status", "limits"))
        assert "\nUmask:\t0077\n" in status
        assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]


def test_the_log_warns_of_secrets_that_everybody_may_read(servers: Path, lab: Lab):
    folder = servers / "readable-secrets"
    folder.mkdir()
    keytab = folder / "open.keytab"
    keytab.write_bytes(lab.keytab.read_bytes())
    keytab.chmod(0o644)
    config = folder / "pgguard.toml"
    config.write_text(
        lab.config.read_text().replace(str(lab.keytab), str(keytab)).replace(str(lab.audit), "/proc/nowhere")
    )
    config.chmod(0o644)
    command = [sys.executable, "-m", "pgguard", "serve", "--allow-root", "--config", config]
    environment = {**os.environ, **lab.realm.environment()}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    for exposed in (keytab, config):
        assert f'"{exposed}" holds a secret, and everybody on this machine may read or change it' in told.stderr
    assert told.returncode == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_it_does_not_run_as_root_by_accident(lab: Lab):
    command = [sys.executable, "-m", "pgguard", "serve", "--config", lab.config]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 1
    assert "does not run as root; run it under an account of its own" in told.stderr
