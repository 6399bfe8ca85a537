"""A running pgguard ships its audit, and no statement waits for who takes it."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from pgguard.audit.shipping.status import read_status
from pgguard.lab.lab import Lab
from pgguard.lab.ports import free_port
from tests.audit.collectors import TcpCollector, closing, wait_for
from tests.e2e.conftest import run_psql

OwnLab = Callable[..., Lab]


def _gauge(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://localhost:{port}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def _shipping_processes(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(c) for c in children if b"audit.shipping" in Path(f"/proc/{c}/cmdline").read_bytes()]


def _printed(lab: Lab) -> set[bytes]:
    """The records that pgguard has on its standard output."""
    return {line for line in lab.proxy.log.read_bytes().splitlines() if line.startswith(b'{"hash":')}


@pytest.mark.slow
def test_a_stalled_collector_stops_no_statement_and_a_kill_loses_nothing(own_lab: OwnLab):
    metrics = free_port()
    with closing(TcpCollector()) as collector:
        collector.stalled.set()
        ship = f'[{{to = "stdout"}}, {{to = "syslog", host = "localhost", port = {collector.port}, transport = "tcp"}}]'
        lab = own_lab(f"metrics.port={metrics}", f"audit.ship={ship}")
        long = "select 1 -- " + "x" * 100_000
        began = time.monotonic()
        for _ in range(3):
            answered = run_psql(lab, "alice", *[long] * 15)
            assert answered.stdout == "1\n" * 15
        assert time.monotonic() - began < 20
        behind = 'pgguard_audit_ship_behind_seconds{target="syslog"}'
        wait_for(lambda: _gauge(metrics, behind) > 0)
        (shipping,) = _shipping_processes(lab.proxy.pid)
        os.kill(lab.proxy.pid, signal.SIGKILL)
        lab.proxy.stop()
        wait_for(lambda: not _alive(shipping))
        lab.proxy.start()
        collector.stalled.clear()
        run_psql(lab, "alice", "select 2")
        wait_for(lambda: set(lab.audit.read_bytes().splitlines()) == set(collector.lines()))
        wait_for(lambda: set(lab.audit.read_bytes().splitlines()) == _printed(lab))
        wait_for(lambda: _gauge(metrics, behind) == 0)
        assert _gauge(metrics, 'pgguard_audit_ship_up{target="syslog"}') == 1
        lab.proxy.stop()
        last = json.loads(lab.audit.read_bytes().splitlines()[-1])
        assert (last["type"], last["what"]) == ("change", "stop")
        wait_for(lambda: set(lab.audit.read_bytes().splitlines()) == set(collector.lines()))
        assert read_status(lab.audit, "syslog").trouble == ""


def _alive(pid: int) -> bool:
    """Whether it is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_shipping_process_that_dies_is_started_again_and_goes_on(own_lab: OwnLab):
    with closing(TcpCollector()) as collector:
        ship = f'[{{to = "syslog", host = "localhost", port = {collector.port}, transport = "tcp"}}]'
        lab = own_lab(f"audit.ship={ship}")
        run_psql(lab, "alice", "select 1")
        wait_for(lambda: set(lab.audit.read_bytes().splitlines()) == set(collector.lines()))
        (shipping,) = _shipping_processes(lab.proxy.pid)
        os.kill(shipping, signal.SIGKILL)
        assert run_psql(lab, "alice", "select 2").stdout == "2\n"
        wait_for(lambda: set(lab.audit.read_bytes().splitlines()) == set(collector.lines()))
        assert "ended with status -9, and is started again" in lab.proxy.log.read_text(errors="replace")
