"""docs/security.md on a real server: its roles, its pg_hba.conf and its policies, and what its commands show."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pgguard.lab.certificates import Certificates
from pgguard.lab.lab import Lab, Plan
from pgguard.lab.postgres import ACCOUNT
from pgguard.lab.process import own_folder
from tests.docs.pages import ROOT, Command, Stage, blocks, commands, run
from tests.e2e.psql import run_psql

PAGE = ROOT / "docs" / "security.md"
_PGGUARDS_ADDRESS = "10.0.0.5/32"
_REALM = "EXAMPLE.COM"
_PASSWORDS = {"service_password_file": "a long random one", "password_file": "another long random one"}
_RULES = """\
rules:
  - name: staff-keep-cases
    who: {group: staff}
    allow: [select, insert, update, delete]
    on: app.cases
"""


def _text(language: str) -> str:
    return "\n".join(block.text for block in blocks(PAGE) if block.language == language)


@contextmanager
def _elsewhere(port: int) -> Iterator[int]:
    """The database as another machine reaches it: a port whose connections come from an address that is not pgguard's."""
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0)))

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                server = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.9", 0))
                for one, other in ((client, server), (server, client)):
                    open_sockets.enter_context(one)
                    threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(1 << 16):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture(scope="module")
def lab(servers: Path, certificates: Certificates) -> Iterator[Lab]:
    folder = servers / "behind"
    rules = folder / "rules"
    rules.mkdir(parents=True)
    (rules / "cases.yaml").write_text(_RULES)
    (folder / "people.yaml").write_text("users: {alice: {groups: [staff]}, bob: {groups: [staff]}}\n")
    (folder / "setup.sql").write_text(_text("sql"))
    for key, password in _PASSWORDS.items():
        (folder / key).write_text(f"{password}\n")
        (folder / key).chmod(0o600)
    plan = Plan(
        folder,
        sql=(folder / "setup.sql",),
        rules=rules,
        directory=folder / "people.yaml",
        settings=(
            "database.tls=verify",
            f"database.root_certificate={certificates.authority}",
            *(f"database.{key}={folder / key}" for key in _PASSWORDS),
        ),
        postgres_settings=_for_the_server(folder / "tls", certificates),
    )
    with Lab(plan) as running:
        running.postgres.set_hba(_hba())
        running.postgres.reload()
        running.postgres.wait_for_log("reloading configuration files")
        yield running


def _hba() -> list[str]:
    """The page's, for a pgguard on loopback, in both families of addresses."""
    lines = _text("hba").splitlines()
    return [
        line.replace(_PGGUARDS_ADDRESS, address)
        for line in lines
        for address in (("127.0.0.1/32", "::1/128") if _PGGUARDS_ADDRESS in line else ("",))
    ]


def _for_the_server(folder: Path, certificates: Certificates) -> dict[str, str]:
    """TLS with copies that the server's account owns: it takes no key that others may read."""
    own_folder(folder, ACCOUNT)
    owner = folder.stat()
    settings = {"ssl": "on"}
    for name, source in (("ssl_cert_file", certificates.certificate), ("ssl_key_file", certificates.key)):
        copy = folder / source.name
        copy.write_bytes(source.read_bytes())
        os.chown(copy, owner.st_uid, owner.st_gid)
        copy.chmod(0o600)
        settings[name] = str(copy)
    return settings


@pytest.fixture(scope="module")
def direct_port(lab: Lab) -> Iterator[int]:
    with _elsewhere(lab.postgres.port) as port:
        yield port


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, id=command.typed[:60])
        for block in blocks(PAGE)
        if block.language == "console"
        for command in commands(block)
    ],
)
def test_it_is_as_the_page_shows(lab: Lab, direct_port: int, command, tmp_path: Path):
    user = "bob" if "-U bob" in command.typed else "alice"
    places = {
        "-h db ": f"-h localhost -p {direct_port} ",
        "-h pgguard ": f"-h localhost -p {lab.proxy.port} ",
        _REALM: lab.realm.name,
    }
    run(command, Stage(tmp_path, {**os.environ, **lab.environment(user)}, places))


def test_the_roles_password_is_needed_on_pgguards_own_machine_as_well(lab: Lab, tmp_path: Path):
    around = f"psql -w -h localhost -p {lab.postgres.port} -U alice -d shop -c 'select 1'"
    shown = ("…fe_sendauth: no password supplied", "…")
    run(Command(around, shown), Stage(tmp_path, {**os.environ, **lab.environment("alice")}))


def test_no_socket_leads_around_it(lab: Lab, tmp_path: Path):
    around = f"psql -h {lab.postgres.folder} -p {lab.postgres.port} -U alice -d shop -c 'select 1'"
    shown = ('…no pg_hba.conf entry for host "[local]", user "alice", database "shop", …',)
    run(Command(around, shown), Stage(tmp_path, {**os.environ, **lab.environment("alice")}))


@pytest.mark.parametrize(
    "attempt",
    [
        "set pgguard.principal = 'bob@PGGUARD.TEST'",
        'set local "pgguard"."principal" to \'bob@PGGUARD.TEST\'',
        "select set_config('pgguard.principal', 'bob@PGGUARD.TEST', false)",
        "select set_config('pgguard' || '.principal', 'bob@PGGUARD.TEST', false)",
        "begin; set transaction read write; set session pgguard.principal to default",
        "reset all",
        "discard all",
        "create function pg_temp.be_bob() returns int language sql set pgguard.principal = 'bob@PGGUARD.TEST' as 'select 1'",
        "alter role alice set pgguard.principal = 'bob@PGGUARD.TEST'",
    ],
)
def test_nobody_is_somebody_else_for_the_policies(lab: Lab, attempt: str):
    shown = run_psql(lab, "alice", attempt, "table app.cases", "show pgguard.principal")
    assert "of bob" not in shown.stdout
    assert f"alice@{lab.realm.name}" in shown.stdout


def test_no_option_of_the_connection_makes_one_somebody_else(lab: Lab):
    shown = run_psql(lab, "alice", "show pgguard.principal", PGOPTIONS="-c pgguard.principal=bob@PGGUARD.TEST")
    assert shown.stdout == ""
    assert "permission denied for setting pgguard.principal" in shown.stderr
