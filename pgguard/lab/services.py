"""The lab's servers one by one, each a service in the foreground: what compose.yaml runs in a container each.

Theory of operation. The services know each other by name: a service's name is its host's name. The ports are the usual
ones, but for LDAP's: slapd runs under an account that may not listen below 1024. What one has to tell another lies in
two shared folders. `proxy` is pgguard's: its keytab, krb5.conf and the password of the database's roles. `people` is
the workstation's: krb5.conf and a keytab for each person. A service waits for what it needs and begins anew whenever
it starts: nothing of a lab is worth keeping.

Only pgguard knows the roles' password, so that the workstation does not get into the database around it.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from pgguard.lab.errors import LabError
from pgguard.lab.lab import SHOP_PEOPLE, SHOP_SCHEMA
from pgguard.lab.people import People, read_people
from pgguard.lab.postgres import THROWAWAY, Postgres, quote_identifier
from pgguard.lab.process import run
from pgguard.lab.realm import Realm
from pgguard.lab.slapd import Slapd

READY = Path("/run/pgguard-lab.ready")
"""There while the service works: for health checks."""

_HOME = Path("/var/lib/pgguard-lab")
_DATABASE = "shop"
_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.1
_RENEW_SECONDS = 3600.0
_HBA = ("local all all trust", "host all all all scram-sha-256")


@dataclass(frozen=True)
class Shared:
    """The folder below which services leave each other what they need."""

    folder: Path

    @property
    def proxy(self) -> Path:
        return self.folder / "proxy"

    @property
    def people(self) -> Path:
        return self.folder / "people"

    def keytab_of(self, user: str) -> Path:
        return self.people / f"{user}.keytab"


class Stopped(Exception):  # noqa: N818  # it says what happened
    """Whoever started the service wants it to end."""


@contextmanager
def _kdc(shared: Shared, people: People, stop: threading.Event) -> Iterator[None]:
    del stop
    for folder in (shared.proxy, shared.people):
        _empty(folder)
    with Realm(_HOME / "realm", host="kdc", port=88) as realm:
        for user in people.users:
            realm.add_principal(user, people.password_of(user))
            _leave(shared.keytab_of(user), partial(_write_keytab, realm, user), mode=0o600)
        realm.add_principal("postgres/pgguard")
        _leave(shared.proxy / "pgguard.keytab", partial(_write_keytab, realm, "postgres/pgguard"), mode=0o644)
        for folder in (shared.proxy, shared.people):  # last: whoever sees it finds the keytabs as well
            _leave(folder / "krb5.conf", lambda path: shutil.copyfile(realm.krb5_config, path), mode=0o644)
        yield


@contextmanager
def _ldap(shared: Shared, people: People, stop: threading.Event) -> Iterator[None]:
    del shared, stop
    with Slapd(_HOME / "slapd", host="ldap", port=1389) as directory:
        directory.add_people(people)
        yield


@contextmanager
def _postgres(shared: Shared, people: People, stop: threading.Event) -> Iterator[None]:
    del stop
    password = secrets.token_hex(16)
    with Postgres(_HOME / "postgres", host="postgres", port=5432, settings=THROWAWAY, hba=_HBA) as server:
        server.run(f"create database {_DATABASE}")
        server.run_file(SHOP_SCHEMA, _DATABASE)
        server.run("create role pgguard login; grant pg_monitor, pg_read_all_data to pgguard")
        for role in ("pgguard", *people.users):
            server.run(f"alter role {quote_identifier(role)} password '{password}'")
        shared.proxy.mkdir(exist_ok=True)
        _leave(shared.proxy / "password", lambda path: path.write_text(f"{password}\n"), mode=0o644)
        yield


@contextmanager
def _workstation(shared: Shared, people: People, stop: threading.Event) -> Iterator[None]:
    """An account for each person, with a ticket that is renewed by the hour."""
    for user in people.users:
        try:
            pwd.getpwnam(user)
        except KeyError:
            run(["useradd", "--create-home", user])
    _await(shared.people / "krb5.conf", stop)
    _get_tickets(shared, people)
    renewing = threading.Thread(target=_renew, args=(shared, people, stop), daemon=True)
    renewing.start()
    yield
    renewing.join()


def _renew(shared: Shared, people: People, stop: threading.Event) -> None:
    while not stop.wait(_RENEW_SECONDS):
        with contextlib.suppress(LabError):  # the old tickets last for some hours; the KDC may be back by then
            _get_tickets(shared, people)


def _get_tickets(shared: Shared, people: People) -> None:
    for user in people.users:
        uid = pwd.getpwnam(user).pw_uid
        cache = Path(f"/tmp/krb5cc_{uid}")  # noqa: S108 -- where the user's programs look for it
        run(["kinit", "-k", "-t", shared.keytab_of(user), "-c", f"FILE:{cache}", user])
        os.chown(cache, uid, -1)


_Service = Callable[[Shared, People, threading.Event], AbstractContextManager[None]]
_SERVICES: Mapping[str, _Service] = MappingProxyType(
    {"kdc": _kdc, "ldap": _ldap, "postgres": _postgres, "workstation": _workstation}
)
SERVICE_NAMES = tuple(_SERVICES)


def _write_keytab(realm: Realm, principal: str, path: Path) -> None:
    realm.keytab(path, principal)


def _empty(folder: Path) -> None:
    """What an earlier KDC left is of no use to anybody."""
    folder.mkdir(exist_ok=True)
    for name in ("krb5.conf", *(path.name for path in folder.glob("*.keytab"))):
        (folder / name).unlink(missing_ok=True)


def _leave(path: Path, write: Callable[[Path], object], *, mode: int) -> None:
    """A file for another service, which sees it whole or not at all."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.unlink(missing_ok=True)
    write(unfinished)
    unfinished.chmod(mode)
    unfinished.replace(path)


def _await(path: Path, stop: threading.Event) -> None:
    for _ in range(int(_PATIENCE_SECONDS / _POLL_SECONDS)):
        if path.exists():
            return
        if stop.wait(_POLL_SECONDS):
            raise Stopped
    raise LabError(f'"{path}" did not appear within {_PATIENCE_SECONDS:.0f} s: does the service that writes it run?')


def serve(name: str, folder: Path) -> None:
    """Run the service until SIGTERM or SIGINT. Raises LabError where it cannot."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    READY.unlink(missing_ok=True)
    shutil.rmtree(_HOME, ignore_errors=True)
    _HOME.mkdir(mode=0o711)
    with contextlib.suppress(Stopped), _SERVICES[name](Shared(folder), read_people(SHOP_PEOPLE), stop):
        READY.touch()
        try:
            stop.wait()
        finally:
            READY.unlink()
