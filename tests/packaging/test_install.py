"""What a team installs: the wheel, made from the source distribution, in environments that know nothing of a checkout.

Each Python that pgguard names as its own and that is here gets one. The libraries come from the registry in the lock's
versions; the first run builds python-gssapi and python-ldap, later ones find them in pip's cache.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSIONS = [line.rpartition(" :: ")[2] for line in PROJECT["classifiers"] if ":: Python :: 3." in line]
TESTERS = ("fastjsonschema", "hypothesis", "pytest", "pytest-asyncio")
PURE = (
    "tests/wire",
    "tests/policy/test_load.py",
    "tests/session/test_server_login.py",
    "tests/session/test_waiting.py",
    "tests/runtime/test_depth.py",
)
"""Tests that need no server, and hold what differs between Pythons: codecs, YAML, patterns, times, recursion."""

_LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "site", "__pycache__", "*.egg-info")


def _run(*words: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, cwd=cwd, env=environment)
    assert done.returncode == 0, f"{words} said:\n{done.stdout}{done.stderr}"
    return done.stdout


def _interpreter(version: str) -> Path | None:
    """A Python of that version which can make environments: on the PATH, or one of pyenv's."""
    places = [shutil.which(f"python{version}"), *(Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")]
    if sys.version.startswith(f"{version}."):
        places.insert(0, sys.executable)
    for place in filter(None, places):
        probe = [place, "-c", f"import ensurepip, sys; sys.exit(not sys.version.startswith('{version}.'))"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return Path(place)
    return None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short and world-searchable, for the lab's servers."""
    with tempfile.TemporaryDirectory(prefix="pgguard-pkg-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    """Built from the source distribution, so that this has all that a build needs."""
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=_LEFT_OUT, ignore_dangling_symlinks=True)
    for kind in ("sdist", "wheel"):
        code = f"import setuptools.build_meta as backend; backend.build_{kind}({str(folder)!r})"
        _run(sys.executable, "-c", code, cwd=source)
        shutil.rmtree(source)
        if kind == "sdist":
            (archive,) = folder.glob("pgguard-*.tar.gz")
            _run("tar", "-xzf", archive, cwd=folder)
            archive.with_name(archive.name.removesuffix(".tar.gz")).rename(source)
    (built,) = folder.glob("pgguard-*.whl")
    return built


@pytest.fixture(scope="module", params=VERSIONS)
def python(request: pytest.FixtureRequest, folder: Path, wheel: Path) -> Path:
    """The Python of a fresh environment with the wheel in it."""
    base = _interpreter(request.param)
    if base is None:
        pytest.skip(f"no Python {request.param} here")
    environment = folder / f"python{request.param}"
    _run(base, "-m", "venv", environment, cwd=folder)
    constraints = folder / "constraints.txt"
    constraints.write_text(
        "\n".join(re.findall(r"^[\w.-]+==\S+", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    )
    _run(environment / "bin" / "pip", "install", "--quiet", "-c", constraints, wheel, *TESTERS, cwd=folder)
    return environment / "bin" / "python"


def test_the_wheel_works_where_there_is_no_checkout(python: Path, folder: Path):
    pgguard = python.with_name("pgguard")
    assert _run(pgguard, "--version", cwd=folder).startswith("pgguard, version ")
    site = _run(python, "-P", "-c", "import pgguard; print(pgguard.__file__)", cwd=folder)
    assert Path(site.strip()).is_relative_to(python.parents[1])

    begun = folder / f"begun-{python.parents[1].name}"
    _run(pgguard, "init", begun, cwd=folder)
    assert "2 rules" in _run(pgguard, "check", begun / "rules", cwd=folder)

    tests = folder / f"tests-{python.parents[1].name}"
    shutil.copytree(ROOT / "tests", tests / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "rules", tests / "rules")
    shutil.copyfile(ROOT / "pyproject.toml", tests / "pyproject.toml")
    _run(python, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *PURE, cwd=tests)


def test_the_demos_shop_comes_with_the_wheel(python: Path, folder: Path):
    """Its rules were once beside the package, where no wheel has them."""
    pgguard = python.with_name("pgguard")
    lab = folder / f"lab-{python.parents[1].name}"
    _run(pgguard, "lab", "up", "--dir", lab, cwd=folder)
    try:
        psql = [str(pgguard), "lab", "shell", "--dir", str(lab), "alice", "psql", "-XAtc"]
        assert _run(*psql, "select count(*) > 0 from sales.orders", cwd=folder) == "t\n"
        refused = subprocess.run(
            [*psql, "select card_number from sales.customers"], capture_output=True, text=True, check=False
        )
        assert (refused.returncode, "permission denied" in refused.stderr) == (1, True)
    finally:
        _run(pgguard, "lab", "down", "--dir", lab, cwd=folder)
