"""asyncpg's own test-suite, from its source package, with and without pgguard: the same tests pass but for a list.

It needs the package index, for the source. Tests that must start a server of their own fail or are skipped on both sides.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pgguard.lab.lab import Lab, Plan

pytestmark = pytest.mark.slow

RULES = """
rules:
  - {name: everything, who: everyone, allow: all, on: {any: "*"}}
  - {name: all-else, who: everyone, allow: [ddl, grant], on: {any: "*"}}
"""

DIFFERENCES = {
    "TestExecuteMany.test_executemany_server_failure_during_writes": "pgguard takes in the 4 MB before the server's error",
}
"""What fails through pgguard and not without it, each with its reason; docs/protocol.md has the same list."""

LEFT_OUT = "tests/test_introspection.py::TestIntrospection::test_introspection_on_large_db"
"""A thousand CREATE TABLE, each with a catalog loaded anew: it takes longer than the rest together."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with asyncpg's tests alone: what they import is the asyncpg that is installed."""
    folder = tmp_path_factory.mktemp("asyncpg")
    package = f"asyncpg=={importlib.metadata.version('asyncpg')}"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    for command in (
        [*pip, "download", "--no-deps", "--no-build-isolation", "--no-binary=:all:", "--dest", str(folder), package],
        [*pip, "install", "--target", str(folder / "needs"), "distro"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            pytest.skip(f"the package index does not give asyncpg's source: {done.stderr.strip().splitlines()[-1]}")
    (source,) = folder.glob("asyncpg-*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    shutil.move(folder / source.name.removesuffix(".tar.gz") / "tests", folder / "tests")
    return folder


@pytest.fixture(scope="module")
def labs(servers: Path) -> Iterator[tuple[Lab, Lab]]:
    """Two alike, so that neither side finds what the other has left. All is judged, and allowed. alice is a superuser."""

    def plan(name: str) -> Plan:
        folder = servers / name
        (folder / "rules").mkdir(parents=True)
        (folder / "rules" / "rules.yaml").write_text(RULES)
        (folder / "schema.sql").write_text("")
        return Plan(folder, sql=(folder / "schema.sql",), rules=folder / "rules")

    with Lab(plan("asyncpg-through")) as through, Lab(plan("asyncpg-direct")) as direct:
        yield through, direct


def failed(suite: Path, name: str, environment: dict[str, str], *only: str) -> dict[str, str]:
    """What fails, as Class.test, with the end of its report. `only`: of these tests."""
    report = suite / f"{name}.xml"
    chosen = ["-k", " or ".join(test.rpartition(".")[2] for test in only)] if only else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", f"--junitxml={report}",
         f"--deselect={LEFT_OUT}", *chosen, "tests"],
        cwd=suite,
        env={**os.environ, **environment, "PGDATABASE": "postgres", "PYTHONPATH": str(suite / "needs")},
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    cases: Sequence[ET.Element] = list(ET.parse(report).iter("testcase"))
    assert len(cases) > (0 if only else 300), done.stdout[-3000:]
    troubles = ((case, trouble) for case in cases for trouble in (*case.findall("failure"), *case.findall("error")))
    return {
        f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name', '').partition('[')[0]}": (
            trouble.text or ""
        )[-2000:]
        for case, trouble in troubles
    }


def test_the_same_tests_pass_with_and_without_pgguard(suite: Path, labs: tuple[Lab, Lab]):
    """What fails on one side only is tried again, alone: some of the tests have seconds to end in."""
    through, direct = (lab.environment("alice") for lab in labs)
    direct |= {"PGPORT": str(labs[1].postgres.port)}
    with ThreadPoolExecutor() as at_once:
        both = at_once.map(failed, (suite, suite), ("through", "direct"), (through, direct))
        first, without = both
    doubtful = set(first) - set(without)
    again = failed(suite, "again", through, *doubtful) if doubtful else {}
    assert doubtful & set(again) <= set(DIFFERENCES), "\n".join(
        text for test, text in again.items() if test not in DIFFERENCES
    )
