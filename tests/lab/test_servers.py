"""Each server of the lab by itself: it answers, it ends, and nothing of the system is touched."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import ldap
import ldap.sasl
import pytest

from pgguard.lab.certificates import Certificates
from pgguard.lab.errors import LabError
from pgguard.lab.postgres import Postgres
from pgguard.lab.process import end_by_pid, run
from pgguard.lab.realm import Realm
from pgguard.lab.slapd import Slapd


async def test_postgres_answers_over_tcp_and_socket(postgres: Postgres):
    connection = await asyncpg.connect(postgres.dsn())
    assert await connection.fetchval("select 1") == 1
    await connection.close()
    assert postgres.run("select 2") == "2\n"


def test_postgres_runs_under_an_account_of_its_own(postgres: Postgres):
    assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0


def test_a_ticket_can_be_got_and_ends_when_asked(realm: Realm, servers: Path):
    realm.add_principal("walker", "secret")
    ccache = realm.kinit("walker", servers / "walker.ccache", password="secret", lifetime="90s")
    listed = run(["klist"], environment=realm.environment(ccache))
    assert "walker@PGGUARD.TEST" in listed
    assert f"FILE:{servers}" in listed


def test_a_wrong_password_is_an_error(realm: Realm, servers: Path):
    realm.add_principal("clumsy", "secret")
    with pytest.raises(LabError, match="kinit"):
        realm.kinit("clumsy", servers / "clumsy.ccache", password="wrong")


def test_memberof_follows_the_group(slapd: Slapd):
    slapd.add_user("member")
    slapd.add_group("club")
    slapd.add_to_group("member", "club")
    assert _groups_of(slapd, "member") == [slapd.group_dn("club").encode()]
    slapd.remove_from_group("member", "club")
    assert _groups_of(slapd, "member") == []


def test_leaving_a_group_one_is_not_in_is_said(slapd: Slapd):
    slapd.add_user("outsider")
    slapd.add_group("inner-circle")
    with pytest.raises(LabError, match='is no member of group "inner-circle"'):
        slapd.remove_from_group("outsider", "inner-circle")
    with pytest.raises(LabError, match='no group "nowhere"'):
        slapd.add_to_group("outsider", "nowhere")


def _groups_of(slapd: Slapd, user: str) -> list[bytes]:
    connection = slapd.connect()
    ((_, attributes),) = connection.search_s(slapd.user_dn(user), ldap.SCOPE_BASE, attrlist=["memberOf"])
    connection.unbind_s()
    return attributes.get("memberOf", [])


def test_the_directory_takes_starttls_and_ldaps(slapd: Slapd, certificates: Certificates):
    for uri in (slapd.uri, slapd.tls_uri):
        connection = ldap.initialize(uri)
        connection.set_option(ldap.OPT_X_TLS_CACERTFILE, str(certificates.authority))
        connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        if uri == slapd.uri:
            connection.start_tls_s()
        connection.simple_bind_s(slapd.admin_dn, slapd.admin_password)
        connection.unbind_s()


def test_the_directory_takes_kerberos(slapd: Slapd, realm: Realm, servers: Path, monkeypatch: pytest.MonkeyPatch):
    realm.add_principal("binder")
    ccache = realm.kinit("binder", servers / "binder.ccache")
    for key, value in realm.environment(ccache).items():
        monkeypatch.setenv(key, value)
    connection = ldap.initialize(slapd.uri)
    connection.set_option(ldap.OPT_X_SASL_NOCANON, ldap.OPT_ON)
    connection.sasl_interactive_bind_s("", ldap.sasl.gssapi())
    assert connection.whoami_s() == f"dn:uid=binder,ou=people,{slapd.base}"
    connection.unbind_s()


_HOLDER = """
import sys, time
from pathlib import Path
from pgguard.lab.realm import Realm
with Realm(Path(sys.argv[1])) as realm:
    print(realm.pid, flush=True)
    time.sleep(600)
"""


def test_a_killed_parent_takes_its_servers_along(servers: Path):
    """Even SIGKILL to the test run leaves no server behind."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(servers / "orphan")], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        server = os.pidfd_open(int(holder.stdout.readline()))
        holder.kill()
    deadline = time.monotonic() + 10
    while _alive(server):
        assert time.monotonic() < deadline, "the KDC outlived its parent"
        time.sleep(0.02)
    os.close(server)


def _alive(handle: int) -> bool:
    try:
        signal.pidfd_send_signal(handle, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_reused_pid_is_left_alone():
    """`lab down` with an old lab.json must not end a stranger that has got the pid since."""
    with subprocess.Popen(["sleep", "60"]) as stranger:
        assert end_by_pid(stranger.pid, "/some/lab/folder") is False
        assert stranger.poll() is None
        stranger.kill()
