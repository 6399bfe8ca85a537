"""Real servers for all tests: one KDC, one directory and one database a run, each ended with it whatever happens."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pgguard.lab.certificates import Certificates
from pgguard.lab.lab import Lab, Plan
from pgguard.lab.postgres import Postgres
from pgguard.lab.realm import Realm
from pgguard.lab.slapd import Slapd

settings.register_profile("pgguard", deadline=None)  # how long an example takes is the machine's matter
settings.load_profile("pgguard")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # a shell's background jobs ignore it, and so would all they start
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers() -> Iterator[Path]:
    """A short, world-searchable folder: pytest's own are private, and too long for Unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="pgguard-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(servers: Path) -> Iterator[Postgres]:
    """Shared by the run: tests make databases and roles of their own in it."""
    with Postgres(servers / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def realm(servers: Path) -> Iterator[Realm]:
    """Shared by the run: tests add principals of their own."""
    with Realm(servers / "realm") as kdc:
        yield kdc


@pytest.fixture(scope="session")
def certificates(servers: Path) -> Certificates:
    return Certificates(servers / "certificates")


@pytest.fixture(scope="session")
def slapd(servers: Path, realm: Realm, certificates: Certificates) -> Iterator[Slapd]:
    """Shared by the run: tests add people and groups of their own."""
    with Slapd(servers / "slapd", realm=realm, certificates=certificates) as directory:
        yield directory


@pytest.fixture(scope="session")
def lab(servers: Path) -> Iterator[Lab]:
    """The whole way: the shop of the demo with its people, its rules and the proxy. Do not change its rules or roles."""
    with Lab(Plan(servers / "lab", settings=("directory.refresh=0.2",))) as running:
        yield running
