"""The systemd unit: its keys are known to systemd, and its sandbox leaves little open."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "pgguard.service"
_WORST = "15"
"""Tenths of the exposure level of systemd-analyze(1), from 0 to 10: what is left is the network, which it is there for."""

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


def _analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words, UNIT], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_sandbox_leaves_little_open():
    told = _analyze("security", "--offline=true", f"--threshold={_WORST}")
    assert told.returncode == 0, told.stdout + told.stderr


def test_systemd_knows_every_key():
    told = _analyze("verify", "--man=no", "--recursive-errors=no")
    complaints = [line for line in told.stderr.splitlines() if UNIT.name in line and "is not executable" not in line]
    assert complaints == []


def test_it_runs_nothing_that_a_minimal_debian_lacks():
    """/bin/kill belongs to procps: where that was not installed `systemctl reload` failed."""
    programs = re.findall(r"^Exec\w+=(\S+)", UNIT.read_text(), re.MULTILINE)
    assert set(programs) == {"/opt/pgguard/bin/pgguard", "/bin/sh"}


def test_it_comes_back_by_itself_however_long_that_takes():
    """After five failed starts within a second systemd gave up, also where only the database of holds was late; and one
    process that the kernel ended for its memory took all sessions along.
    """
    settings = UNIT.read_text().splitlines()
    assert {"Restart=on-failure", "RestartSec=2", "StartLimitIntervalSec=0", "OOMPolicy=continue"} <= set(settings)
