"""A whole lab: realm, directory, database and proxy, with people in them, under one folder.

Theory of operation. `Lab.start` brings the servers up in the order in which they need each other: the realm, the
directory (with a key of the realm), the database, the proxy; whatever fails on the way, those already up are ended.
A lab of a test is tied to it and used as a context manager; `pgguard lab up` starts one that outlives the command,
and `take_down` ends it from what lab.json says.

The servers' own folder is below the lab's, unless their accounts cannot get there (a private home) or the path is too
long for a Unix socket: then it is a temporary one.
"""

import shutil
import signal
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from pgguard.lab import postgres, slapd
from pgguard.lab.certificates import Certificates
from pgguard.lab.errors import LabError
from pgguard.lab.people import read_people
from pgguard.lab.ports import free_port
from pgguard.lab.postgres import THROWAWAY, Postgres, quote_identifier
from pgguard.lab.process import await_reaping, can_enter, end_by_pid, running_with_mark
from pgguard.lab.proxy import Proxy, Sections, override, to_toml
from pgguard.lab.realm import Realm
from pgguard.lab.server import Server
from pgguard.lab.slapd import Slapd
from pgguard.lab.state import Address, Database, LabState, Ldap, forget_state, read_state

_SHOP = Path(__file__).parent / "shop"
SHOP_PEOPLE = _SHOP / "directory.yaml"
SHOP_SCHEMA = _SHOP / "schema.sql"
SHOP_RULES = _SHOP / "rules"
_SERVICE = "postgres/localhost"
_SERVICE_ROLE = "pgguard"
_KEYTAB = "pgguard.keytab"
_CCACHES = "ccaches"
_ACCOUNTS = (postgres.ACCOUNT, slapd.ACCOUNT)
_LONGEST_PATH = 80  # leaves room for "/postgres/.s.PGSQL.12345" in the 107 bytes of a socket's path (unix(7))


@dataclass(frozen=True)
class Plan:
    """What a lab is to be. Left alone it is the shop of the demo.

    `sql`: files run by the superuser on the database. `rules`: used where they are; None: a copy of the demo's.
    `db_role`: the role in which the proxy logs in for everybody; empty: a role named after each user. Roles that the
    files do not create become superusers: then the rules alone decide.
    `settings`: `section.key=value` of the proxy's configuration. `services`: principals with a key in its keytab.
    `certificates`: people may also get their tickets with a certificate (PKINIT). `binaries`: the folder with initdb
    and postgres; None: the newest that Debian has installed here.
    """

    folder: Path
    database: str = "shop"
    sql: tuple[Path, ...] = ()
    rules: Path | None = None
    directory: Path = SHOP_PEOPLE
    db_role: str = ""
    settings: tuple[str, ...] = ()
    services: tuple[str, ...] = (_SERVICE,)
    certificates: bool = False
    proxy: bool = True
    postgres_settings: dict[str, str] = field(default_factory=dict)
    binaries: Path | None = None


class Lab:
    """The running servers of a plan."""

    def __init__(self, plan: Plan, *, tied: bool = True) -> None:
        self.plan = plan
        self.folder = plan.folder.absolute()
        self.people = read_people(plan.directory)
        self.config = self.folder / "pgguard.toml"
        self.audit = self.folder / "audit.jsonl"
        self.rules = self.folder / "rules" if plan.rules is None else plan.rules.absolute()
        self._tied = tied
        self._running = ExitStack()

    def start(self) -> None:
        _refuse_second_lab(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.plan.rules is None and not self.rules.exists():
            shutil.copytree(SHOP_RULES, self.rules)
        self.servers = _make_servers_folder(self.folder)
        self._running.callback(_clear, self.folder, self.servers)
        try:
            self._start_servers()
        except BaseException:
            self.stop()
            raise

    def _start_servers(self) -> None:
        certificates = Certificates(self.servers / "certificates") if self.plan.certificates else None
        self.realm = Realm(self.servers / "realm", certificates=certificates, tied=self._tied)
        self._up(self.realm)
        self.slapd = Slapd(self.servers / "slapd", realm=self.realm, tied=self._tied)
        self._up(self.slapd)
        self._add_people()
        settings = {**THROWAWAY, **self.plan.postgres_settings}
        self.postgres = Postgres(self.servers / "postgres", self.plan.binaries, settings, tied=self._tied)
        self._up(self.postgres)
        self._fill_database()
        self.proxy = Proxy(self.config, free_port(), self.realm.environment(), tied=self._tied)
        self._write_config()
        if self.plan.proxy:
            self._up(self.proxy)
        self.state().write(self.folder)

    def _up(self, server: Server) -> None:
        self._running.callback(server.stop)
        server.start()

    def stop(self) -> None:
        """End the servers, the proxy first, and remove what was theirs; logs and audit stay."""
        self._running.close()
        forget_state(self.folder)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _add_people(self) -> None:
        self.slapd.add_people(self.people)
        for user in self.people.users:
            self._add_principal(user, self.people.password_of(user))
        for service in self.plan.services:
            self.realm.add_principal(service)
        self.realm.keytab(self.keytab, *self.plan.services)

    def add_user(self, user: str, password: str | None = None, groups: Iterable[str] = ()) -> None:
        """A principal with a ticket, and an entry in the directory."""
        self._add_principal(user, password)
        self.slapd.add_user(user, password)
        for group in groups:
            self.slapd.add_to_group(user, group)

    def _add_principal(self, user: str, password: str | None) -> None:
        self.realm.add_principal(user, password)
        self.realm.kinit(user, self.ccache(user))

    @property
    def keytab(self) -> Path:
        return self.folder / _KEYTAB

    def ccache(self, user: str) -> Path:
        folder = self.folder / _CCACHES
        folder.mkdir(exist_ok=True)
        return folder / user

    def _fill_database(self) -> None:
        database = self.plan.database
        if not self.postgres.has_database(database):
            self.postgres.run(f"create database {quote_identifier(database)}")
        for path in self.plan.sql or (SHOP_SCHEMA,):
            self.postgres.run_file(path.absolute(), database)
        there = self.postgres.roles()
        wanted = {self.plan.db_role} if self.plan.db_role else set(self.people.users)
        new = [f"create role {quote_identifier(role)} login superuser" for role in sorted(wanted - there)]
        if _SERVICE_ROLE not in there:
            rights = "pg_monitor, pg_read_all_data" if self.postgres.version >= 14 else "pg_monitor"
            new += [f"create role {_SERVICE_ROLE} login", f"grant {rights} to {_SERVICE_ROLE}"]
        self.postgres.run("".join(f"{one};\n" for one in new))

    def _write_config(self) -> None:
        sections: Sections = {
            "listen": {"host": self.proxy.host, "port": self.proxy.port},
            "kerberos": {"keytab": self.keytab, "realms": [self.realm.name]},
            "database": {
                "host": self.postgres.host,
                "port": self.postgres.port,
                "user": self.plan.db_role,
                "service_user": _SERVICE_ROLE,
            },
            "directory": {
                "kind": "ldap",
                "uri": self.slapd.uri,
                "base": self.slapd.base,
                "bind_dn": self.slapd.admin_dn,
                "bind_password": self.slapd.admin_password,
            },
            "rules": {"path": self.rules},
            "audit": {"path": self.audit},
        }
        override(sections, self.plan.settings)
        self.config.write_text("# Written by `pgguard lab up`.\n\n" + to_toml(sections))
        self.config.chmod(0o600)

    def state(self) -> LabState:
        servers = {"kdc": self.realm.pid, "slapd": self.slapd.pid, "postgres": self.postgres.pid}
        return LabState(
            proxy=Address(self.proxy.host, self.proxy.port),
            database=Database(self.postgres.host, self.postgres.port, self.plan.database, self.postgres.superuser),
            realm=self.realm.name,
            krb5_config=str(self.realm.krb5_config),
            ccaches={path.name: str(path) for path in sorted((self.folder / _CCACHES).iterdir())},
            ldap=Ldap(self.slapd.uri, self.slapd.base, self.slapd.admin_dn, self.slapd.admin_password),
            audit=str(self.audit),
            rules=str(self.rules),
            config=str(self.config),
            servers=str(self.servers),
            pids={"proxy": self.proxy.pid, **servers} if self.plan.proxy else servers,
        )

    def environment(self, user: str) -> dict[str, str]:
        """The variables that make a client that user's."""
        return self.state().environment_of(user)


def take_down(folder: Path) -> list[str]:
    """End the servers of the lab in the folder, by what lab.json says; the names of those that were still running."""
    folder = folder.absolute()
    state = read_state(folder)
    ended: list[str] = [
        name
        for name in ("proxy", "postgres", "slapd", "kdc")
        if name in state.pids and end_by_pid(state.pids[name], _mark(name, state), end_with=_END_WITH[name])
    ]
    await_reaping([state.pids[name] for name in ended])
    _clear(folder, Path(state.servers))
    forget_state(folder)
    return ended


_END_WITH = {
    "proxy": signal.SIGTERM,
    "postgres": signal.SIGINT,  # "fast" (PostgreSQL docs, section 19.5)
    "slapd": signal.SIGTERM,
    "kdc": signal.SIGTERM,
}


def _mark(name: str, state: LabState) -> str:
    """What a server's command line has that no other process has."""
    return state.config if name == "proxy" else state.servers


def _refuse_second_lab(folder: Path) -> None:
    try:
        state = read_state(folder)
    except LabError:
        return
    if any(running_with_mark(pid, _mark(name, state)) for name, pid in state.pids.items()):
        raise LabError(f'a lab is already running in "{folder}"; end it first: pgguard lab down --dir {folder}')
    _clear(folder, Path(state.servers))


def _make_servers_folder(folder: Path) -> Path:
    below = folder / "servers"
    if below.exists():
        raise LabError(f'"{below}" is in the way: choose another folder, or remove it if it is left from an old lab')
    below.mkdir()
    below.chmod(0o711)
    if len(str(below)) <= _LONGEST_PATH and all(can_enter(below, account) for account in _ACCOUNTS):
        return below
    below.rmdir()
    elsewhere = Path(tempfile.mkdtemp(prefix="pgguard-lab-"))
    elsewhere.chmod(0o711)
    return elsewhere


def _clear(folder: Path, servers: Path) -> None:
    """Keep logs, audit, rules and configuration; the rest is good for nothing without the servers."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    for log in servers.glob("*/*.log"):
        shutil.copyfile(log, logs / f"{log.parent.name}-{log.name}")
    shutil.rmtree(servers, ignore_errors=True)
    shutil.rmtree(folder / _CCACHES, ignore_errors=True)
    (folder / _KEYTAB).unlink(missing_ok=True)
