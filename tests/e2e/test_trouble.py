"""What goes wrong around pgguard, at its start and later: each trouble is told clearly, and lets nothing through."""

import select
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgguard.lab.lab import Lab
from pgguard.lab.ports import free_port
from pgguard.lab.terminal import PSQL, Terminal
from tests.audit.collectors import wait_for
from tests.e2e.conftest import WITH_OR_WITHOUT_CONNECTION, serve_with
from tests.e2e.psql import psql_with, run_psql

OwnLab = Callable[..., Lab]


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("kerberos.keytab=/nonexistent/pgguard.keytab", 'keytab "/nonexistent/pgguard.keytab" cannot be read'),
        ("rules.path=/nonexistent/rules", "holds no rule file"),
        ("audit.colour=red", "[audit]: Object contains unknown field `colour`"),
        ("audit.path=/proc/nowhere/audit.jsonl", "/proc/nowhere"),
        (
            'holds.hooks=[{url="http://h", secret_file="/nonexistent"}]',
            '[holds] hooks: cannot read the secret in "/none',
        ),
        ('holds.hooks=[{url="http://h"}]', '"url" and "secret_file", the secret that signs what it gets, go together'),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_a_line(lab: Lab, tmp_path: Path, setting: str, complaint: str):
    ended = serve_with(lab, tmp_path, setting)
    assert ended.returncode == 1
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_keytab_without_the_service_is_refused(lab: Lab, tmp_path: Path):
    lab.realm.add_principal("other/elsewhere")
    keytab = lab.realm.keytab(tmp_path / "other.keytab", "other/elsewhere")
    ended = serve_with(lab, tmp_path, f"kerberos.keytab={keytab}", "kerberos.service=postgres")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert str(keytab) in ended.stderr


def test_what_keeps_all_workers_from_starting_is_said_once(lab: Lab, tmp_path: Path):
    ended = serve_with(
        lab, tmp_path, "listen.workers=3", f"listen.port={free_port()}", "kerberos.keytab=/nonexistent/pgguard.keytab"
    )
    assert ended.returncode == 1
    assert ended.stderr.count('keytab "/nonexistent/pgguard.keytab" cannot be read') == 1
    assert "worker 0 could not start" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_busy_port_is_named(lab: Lab, tmp_path: Path):
    ended = serve_with(lab, tmp_path, f"listen.port={lab.postgres.port}")
    assert ended.returncode == 1
    assert str(lab.postgres.port) in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        bytes(range(256)) * 64,
        struct.pack("!II", 0xFFFFFFFF, 196608),
        struct.pack("!II", 3, 196608),
        b"\x16\x03\x01\x02\x00" + bytes(512),
    ],
    ids=["http", "every byte", "a huge length", "a small length", "a TLS hello that is none"],
)
def test_garbage_on_the_port_ends_that_connection_and_no_other(lab: Lab, garbage: bytes):
    with socket.create_connection((lab.proxy.host, lab.proxy.port), timeout=10) as stranger:
        stranger.sendall(garbage)
        stranger.shutdown(socket.SHUT_WR)
        try:
            while stranger.recv(65536):
                pass
        except ConnectionResetError:
            pass
    assert run_psql(lab, "alice", "select 7").stdout == "7\n"


def test_with_the_kdc_gone_those_who_have_a_service_ticket_still_come_in(own_lab: OwnLab):
    lab = own_lab()
    assert run_psql(lab, "alice", "select 1").stdout == "1\n"  # her cache now holds a ticket for the service
    alice, bob = lab.environment("alice"), lab.environment("bob")
    lab.realm.stop()
    assert psql_with(alice, "select 2").stdout == "2\n"
    without = psql_with(bob, "select 3")
    assert without.returncode == 2
    assert "KDC" in without.stderr


def test_with_the_directory_gone_groups_serve_for_a_while_and_then_nobody_has_any(own_lab: OwnLab):
    lab = own_lab("directory.refresh=0.2", "directory.max_stale=2", "directory.timeout=1")
    read = "select count(*) from sales.orders;"
    with Terminal([*PSQL, "-At", "-v", "VERBOSITY=verbose"], lab.environment("alice")) as terminal:
        terminal.until_prompt()
        assert "\n6\n" in terminal.enter(read)
        lab.slapd.stop()
        assert "\n6\n" in terminal.enter(read)
        while "\n6\n" in (answer := terminal.enter(read)):  # bounded: after two seconds the groups are too old
            pass
        assert "ERROR:  42501" in answer
        assert "group" in answer


def test_with_the_database_gone_a_login_is_refused_and_its_return_noticed(own_lab: OwnLab):
    lab = own_lab()
    alice = lab.environment("alice")
    lab.postgres.stop()
    refused = psql_with(alice, "select 1")
    assert refused.returncode == 2
    assert "the database does not answer pgguard" in refused.stderr
    lab.postgres.start()
    assert run_psql(lab, "alice", "select 1").stdout == "1\n"


def test_a_database_that_dies_takes_its_sessions_along(own_lab: OwnLab):
    """The client gets what the server says last (57P01), or the end of the connection; it is never left hanging."""
    lab = own_lab()
    with Terminal(PSQL, lab.environment("alice"), prompt=WITH_OR_WITHOUT_CONNECTION) as terminal:
        terminal.until_prompt()
        assert "6" in terminal.enter("select count(*) from sales.orders;")
        lab.postgres.stop()
        answer = terminal.enter("select count(*) from sales.orders;")
        assert "terminating connection" in answer or "server closed the connection" in answer


def test_a_crowd_that_says_nothing_takes_no_more_than_its_places(own_lab: OwnLab):
    """Each kept a descriptor for the login's minute; thousands of them left none for anything else."""
    lab = own_lab("limits.logins=5")
    with ExitStack() as stack, Terminal(PSQL, lab.environment("alice")) as terminal:
        terminal.until_prompt()
        crowd = [stack.enter_context(socket.create_connection(("localhost", lab.proxy.port))) for _ in range(9)]
        wait_for(lambda: len(select.select(crowd, [], [], 0)[0]) == 4)
        assert run_psql(lab, "alice", "select 1").returncode
        assert "(1 row)" in terminal.enter("select 1;")
        for one in crowd:
            one.close()
        wait_for(lambda: run_psql(lab, "alice", "select 1").returncode == 0)
