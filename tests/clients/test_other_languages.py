"""Drivers of other languages through Kerberos: each is a program of its own beside this file, with its own checks.

They are built with their languages' ordinary tools, from the versions that lie beside them. Where a machine lacks the
tools the test is skipped, and says which program is missing.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


def _need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"this machine has no {', '.join(missing)}")


def _build(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def _copy(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A client's sources in a folder of the run's own: what is built does not lie among the sources."""
    return Path(shutil.copytree(HERE / name, tmp_path_factory.mktemp("built") / name))


@pytest.fixture(scope="module")
def pgx(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    _need("go")
    folder = _copy("pgx", tmp_path_factory)
    _build(folder, "go", "build", "-o", "client", ".")
    return [str(folder / "client")]


@pytest.fixture(scope="module")
def pgjdbc(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    _need("java", "javac", "mvn")
    folder = _copy("pgjdbc", tmp_path_factory)
    _build(folder, "mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory=jars")
    return ["java", "-cp", str(folder / "jars" / "*"), str(folder / "Client.java")]


@pytest.fixture(scope="module")
def node_postgres(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    _need("node", "npm", "g++", "make", "pg_config")
    folder = _copy("node_postgres", tmp_path_factory)
    _build(folder, "npm", "ci")
    return ["node", str(folder / "client.js")]


@pytest.mark.parametrize("driver", ["pgx", "pgjdbc", "node_postgres"])
def test_a_driver_finds_what_it_finds_without_pgguard(
    request: pytest.FixtureRequest, client: dict[str, str], driver: str
):
    if driver == "pgx" and client["PGGSSENCMODE"] == "require":
        pytest.skip("pgx has no GSS encryption")
    command = request.getfixturevalue(driver)
    environment = {**os.environ, **client}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert re.search(r"^[1-9][0-9]* passed, 0 failed$", told, re.MULTILINE), told
