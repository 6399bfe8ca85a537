"""A PostgreSQL server of its own: any version's binaries, loopback TCP and a Unix socket, trust for both."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pgguard.lab.errors import LabError
from pgguard.lab.ports import free_port
from pgguard.lab.process import Process, find_program, own_folder, run
from pgguard.lab.server import Server

ACCOUNT = "postgres"

THROWAWAY: Mapping[str, str] = MappingProxyType(
    {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
)
"""For data that nobody misses after a crash of the machine (PostgreSQL docs, section 14.5)."""

TRUST = (
    "local all all trust",
    "host all all 127.0.0.1/32 trust",
    "host all all ::1/128 trust",
    "local replication all trust",
    "host replication all 127.0.0.1/32 trust",
    "host replication all ::1/128 trust",
)

_SOCKET_PATH_LIMIT = 107  # sun_path of unix(7), less the NUL


class Postgres(Server):
    """A server with its cluster in `folder`; `binaries` is the folder with initdb and postgres of some version."""

    title = "PostgreSQL"
    superuser = "postgres"

    def __init__(  # noqa: PLR0913 -- each by its keyword
        self,
        folder: Path,
        binaries: Path | None = None,
        settings: Mapping[str, str] = THROWAWAY,
        *,
        host: str = "localhost",
        port: int | None = None,
        hba: Sequence[str] = TRUST,
        tied: bool = True,
    ) -> None:
        self.folder = own_folder(folder.absolute(), ACCOUNT)
        self.binaries = binaries or newest_binaries()
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.host = host
        self.port = port or free_port()
        self._settings = dict(settings)
        self._tied = tied
        if len(str(self.folder / f".s.PGSQL.{self.port}")) > _SOCKET_PATH_LIMIT:
            raise LabError(f'the path "{self.folder}" is too long for a Unix socket; choose a shorter folder')
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        self.set_hba(hba)

    def _initdb(self) -> None:
        words = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", f"--username={self.superuser}"]
        run([self.binaries / "initdb", *words, "-D", self.data], account=ACCOUNT, cwd=self.folder)

    def _launch(self) -> Process:
        settings = {
            "listen_addresses": self.host,
            "unix_socket_directories": str(self.folder),
            "port": str(self.port),
            "max_connections": "200",
            **self._settings,
        }
        options = [f"--{key}={value}" for key, value in settings.items()]
        return Process(
            self.title,
            [self.binaries / "postgres", "-D", self.data, *options],
            log=self.log,
            account=ACCOUNT,
            tied=self._tied,
            end_with=signal.SIGINT,  # "fast": ends sessions, keeps the data (PostgreSQL docs, section 19.5)
        )

    def _serves(self) -> bool:
        """The eighth line of postmaster.pid is the postmaster's state (pidfile.h); the first its pid."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, PermissionError):
            return False
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    @property
    def version(self) -> int:
        """The major version."""
        return int((self.data / "PG_VERSION").read_text())

    def dsn(self, database: str = "postgres", user: str | None = None) -> str:
        """A connection URI over loopback TCP, as libpq and asyncpg read it."""
        return f"postgresql://{user or self.superuser}@{self.host}:{self.port}/{database}"

    def set_hba(self, lines: Sequence[str]) -> None:
        """Replace pg_hba.conf; a running server takes it at the next `reload()`."""
        (self.data / "pg_hba.conf").write_text("".join(f"{line}\n" for line in lines))

    def reload(self) -> None:
        os.kill(self.pid, signal.SIGHUP)

    def run(self, sql: str, database: str = "postgres", user: str | None = None) -> str:
        """Run SQL with psql as the superuser and return what it prints (unaligned, tuples only)."""
        return self._psql(["--file=-"], database, user, stdin=sql)

    def run_file(self, path: Path, database: str) -> str:
        return self._psql([f"--file={path}"], database, None)

    def _psql(self, words: Sequence[str], database: str, user: str | None, stdin: str = "") -> str:
        common = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]
        where = [f"--host={self.folder}", f"--port={self.port}", f"--username={user or self.superuser}"]
        return run([find_program("psql", "postgresql-client"), *common, *where, *words, database], stdin=stdin)

    def has_database(self, name: str) -> bool:
        return name in self.run("select datname from pg_database").splitlines()

    def roles(self) -> set[str]:
        return set(self.run("select rolname from pg_roles").splitlines())

    def wait_for_log(self, text: str, *, seconds: float = 10.0) -> None:
        """Return once the server's log contains the text: how a test sees what reached the database."""
        deadline = time.monotonic() + seconds
        while text not in self.log.read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise LabError(f'PostgreSQL\'s log did not say "{text}" within {seconds:.0f} s')
            time.sleep(0.02)


def newest_binaries() -> Path:
    """The programs of the newest PostgreSQL that Debian has installed here."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if folders:
        return max(folders, key=lambda folder: int(folder.parent.name))
    return find_program("initdb", "postgresql").resolve().parent


def quote_identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
