"""The ways to the database that are compared, over one lab."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.ports import accepts, free_port
from pgguard.lab.process import Process, find_program
from pgguard.lab.proxy import Proxy, override, to_toml

BARE = "bare relay"
GSS, WORKERS = "pgguard, GSS-encrypted", "pgguard, 2 workers"
"""The targets that only some cases run at."""

_USER = "alice"
_LOGINS = 100
"""Sessions that cases have open at once, all ways together, beside the idle ones."""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Target:
    """`pid`: of the proxy, where there is one. `environment`: makes libpq go this way."""

    name: str
    environment: dict[str, str]
    pid: int | None = None

    def cpu(self) -> float:
        """Seconds of processor that the proxy and its workers have used so far (proc(5), utime and stime)."""
        if self.pid is None:
            return 0.0
        workers = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sum(map(_used, (str(self.pid), *workers)))

    def memory(self) -> float:
        """Kilobytes that the proxy has in memory now; of one without workers."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return float(next(line.split()[1] for line in status if line.startswith("VmRSS:")))


def _used(pid: str) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def ground(folder: Path, rows: int, sessions: int) -> Iterator[list[Target]]:
    """The lab with pgbench's tables and a large one, and every way to it. `sessions`: so many will be idle."""
    write_rules(folder / "rules", "public.pgbench_accounts", ["aid", "abalance"])
    with ExitStack() as running:
        plan = Plan(
            folder / "lab",
            rules=folder / "rules",
            settings=(f"limits.sessions={sessions + _LOGINS}",),
            postgres_settings={"max_connections": str(sessions + 3 * _LOGINS)},
        )
        lab = running.enter_context(Lab(plan))
        port = str(lab.postgres.port)
        direct = {
            "PGHOST": "localhost",
            "PGPORT": port,
            "PGUSER": _USER,
            "PGDATABASE": "shop",
            "PGGSSENCMODE": "disable",
        }
        fill(lab, rows)
        bouncer = running.enter_context(_pgbouncer(folder, lab.postgres.port))
        bare = running.enter_context(_bare_relay(folder, lab.postgres.port))
        always = running.enter_context(second_proxy(lab, folder / "always", "audit.sync=always"))
        workers = running.enter_context(second_proxy(lab, folder / "workers", "listen.workers=2"))
        guarded = {**lab.environment(_USER), "PGGSSENCMODE": "disable"}
        yield [
            Target("direct", direct),
            Target("pgbouncer", {**direct, "PGPORT": str(bouncer[0])}, bouncer[1]),
            Target(BARE, {**direct, "PGPORT": str(bare[0])}, bare[1]),
            Target("pgguard", guarded, lab.proxy.pid),
            Target("pgguard always", {**guarded, "PGPORT": str(always.port)}, always.pid),
            Target(GSS, {**guarded, "PGGSSENCMODE": "require"}, lab.proxy.pid),
            Target(WORKERS, {**guarded, "PGPORT": str(workers.port)}, workers.pid),
        ]


def fill(lab: Lab, rows: int) -> None:
    place = [f"--host={lab.postgres.host}", f"--port={lab.postgres.port}", f"--username={lab.postgres.superuser}"]
    subprocess.run(["pgbench", "-i", "-q", *place, "shop"], check=True, capture_output=True)
    lab.postgres.run(
        f"create table bulk as select g as id, md5(g::text) as text from generate_series(1, {rows}) g;"
        " create table sink (like bulk); vacuum analyze;"
        " grant all on all tables in schema public to public",
        "shop",
    )


def write_rules(folder: Path, table: str, columns: list[str]) -> None:
    """What the cases need, and a hundred rules in all, with columns and conditions, half of them on this table."""
    folder.mkdir()
    schema = table.partition(".")[0]
    needed = [
        {"name": "bench-all", "who": {"group": "analysts"}, "allow": ["read", "write"], "on": f"{schema}.*"},
    ]
    others = [
        {
            "name": f"other-{number}",
            "who": {"group": ["analysts", f"team{number}"]},
            "allow": ["select", "update"],
            "on": f"app{number}.orders" if number % 2 else table,
            "columns": columns,
            "when": {"days": "mon-sun", "from": "127.0.0.0/8"},
        }
        for number in range(99)
    ]
    (folder / "bench.yaml").write_text(json.dumps({"rules": needed + others}))


@contextmanager
def second_proxy(lab: Lab, folder: Path, *settings: str) -> Iterator[Proxy]:
    """Another one over the same lab, with an audit log of its own."""
    port = free_port()
    sections = tomllib.loads(lab.config.read_text())
    folder.mkdir()
    audit = folder / "audit.jsonl"
    override(sections, [f"listen.port={port}", f"audit.path={audit}", *settings])
    config = audit.with_name("pgguard.toml")
    config.write_text(to_toml(sections))
    proxy = Proxy(config, port, lab.realm.environment(), tied=True)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()


@contextmanager
def _pgbouncer(folder: Path, database: int) -> Iterator[tuple[int, int]]:
    """Its port and process. It refuses to run as root, and so runs under the database's account."""
    port = free_port()
    home = folder / "pgbouncer"
    home.mkdir()
    home.chmod(0o777)
    (home / "users.txt").write_text(f'"{_USER}" ""\n')
    (home / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={database}\n[pgbouncer]\nlisten_addr = 127.0.0.1,::1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {home}/users.txt\n"
        "pool_mode = session\nmax_client_conn = 500\ndefault_pool_size = 100\n"
    )
    program = find_program("pgbouncer", "pgbouncer")
    account = "postgres" if os.geteuid() == 0 else None
    process = Process("pgbouncer", [program, home / "pgbouncer.ini"], log=folder / "pgbouncer.log", account=account)
    with _accepting(process, port):
        yield port, process.pid


@contextmanager
def _bare_relay(folder: Path, database: int) -> Iterator[tuple[int, int]]:
    """Its port and process."""
    port = free_port()
    script = Path(__file__).with_name("relay.py")
    with _accepting(
        Process("bare relay", [sys.executable, script, str(port), str(database)], log=folder / "relay.log"), port
    ) as process:
        yield port, process.pid


@contextmanager
def _accepting(process: Process, port: int) -> Iterator[Process]:
    """While it takes connections on `port`; ended at the end."""
    try:
        process.wait_until(lambda: accepts("localhost", port))
        yield process
    finally:
        process.stop()
