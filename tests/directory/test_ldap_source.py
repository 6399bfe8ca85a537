"""LDAP as a source, against a real slapd: each style of group, each way to bind, and what must not be believed."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ldap
import pytest

from pgguard.directory.directory import Directory
from pgguard.directory.errors import DirectoryError
from pgguard.directory.lane import PATIENCE, beside
from pgguard.directory.ldap_source import LdapSource, time_limit
from pgguard.directory.membership import Membership
from pgguard.directory.settings import DirectorySettings
from pgguard.lab.certificates import Certificates
from pgguard.lab.ports import free_port
from pgguard.lab.realm import Realm
from pgguard.lab.slapd import Slapd

Fetch = Callable[..., Membership]
MakeSettings = Callable[..., DirectorySettings]


def test_groups_nest_five_deep_and_a_cycle_ends(slapd: Slapd, fetch: Fetch):
    slapd.add_user("nested")
    for depth in range(5):
        slapd.add_group(f"depth-{depth}", users=["nested"] if depth == 0 else [])
    for depth in range(5):
        slapd.nest(f"depth-{depth}", f"depth-{(depth + 1) % 5}")
    found = fetch("nested")
    assert found.groups == ("depth-0", "depth-1", "depth-2", "depth-3", "depth-4")
    assert found.paths["depth-4"] == ("depth-0", "depth-1", "depth-2", "depth-3", "depth-4")
    assert found.where == slapd.user_dn("nested")


def test_memberof_follows_nesting_as_well(slapd: Slapd, fetch: Fetch):
    slapd.add_user("overlaid")
    slapd.add_group("inner", users=["overlaid"])
    slapd.add_group("outer", groups=["inner"])
    assert fetch("overlaid", groups="memberof").groups == ("inner", "outer")


def test_posix_groups_by_name_and_by_number(slapd: Slapd, fetch: Fetch):
    slapd.add(
        slapd.user_dn("unix"),
        objectClass=["inetOrgPerson", "posixAccount"], cn=["unix"], sn=["unix"], uid=["unix"],
        uidNumber=["5000"], gidNumber=["6000"], homeDirectory=["/"],
    )  # fmt: skip
    slapd.add(slapd.group_dn("primary"), objectClass=["posixGroup"], gidNumber=["6000"])
    slapd.add(slapd.group_dn("named"), objectClass=["posixGroup"], gidNumber=["6001"], memberUid=["unix", "other"])
    slapd.add(slapd.group_dn("foreign"), objectClass=["posixGroup"], gidNumber=["6002"], memberUid=["Unix"])
    assert fetch("unix", groups="posixgroup").groups == ("named", "primary")


def test_a_group_of_several_names_is_called_as_in_its_dn(slapd: Slapd, fetch: Fetch):
    """The first one that the server happened to give counted: which that is, is left to it."""
    slapd.add_user("named")
    entry = {"objectClass": ["groupOfNames"], "cn": ["aaa", "middle", "zzz"], "member": [slapd.user_dn("named")]}
    slapd.add_many([(slapd.group_dn("middle"), entry)])
    assert fetch("named").groups == ("middle",)


def test_who_is_not_there_is_in_no_group(fetch: Fetch):
    found = fetch("nobody-of-this-name")
    assert (found.found, found.groups) == (False, ())


def test_a_disabled_account_is_in_no_group(slapd: Slapd, fetch: Fetch):
    slapd.add_user("locked", employeeType=["locked"])
    slapd.add_user("free")
    slapd.add_group("lockable", users=["locked", "free"])
    assert fetch("locked").groups == ("lockable",)
    found = fetch("locked", disabled_filter="(employeeType=locked)")
    assert (found.disabled, found.groups) == (True, ())
    assert fetch("free", disabled_filter="(employeeType=locked)").groups == ("lockable",)


@pytest.mark.parametrize(
    "name", ["*", "a*", "*)(uid=*", "alice)(|(uid=*", "\\2a", "(uid=admin)", "x,ou=people", "\x00", "ü" * 300]
)
def test_a_name_is_compared_and_never_a_part_of_the_filter(slapd: Slapd, fetch: Fetch, name: str):
    """A name that found others' entries would bring their groups."""
    del slapd
    assert fetch(name).groups == ()


def test_a_name_with_special_characters_is_found(slapd: Slapd, fetch: Fetch):
    name = 'we,ird+name "quoted" (very) *'
    slapd.add_user(name)
    slapd.add_group("odd, group", users=[name])
    assert fetch(name).groups == ("odd, group",)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("kate mueller", True),
        ("Kate MUELLER", True),
        ("kate mueller ", False),
        (" kate mueller", False),
        ("kate  mueller", False),
        ("\u212aate mueller", False),
        ("\uff4bate mueller", False),
        ("kate\u00a0mueller", False),
        ("ka\u00adte mueller", False),
    ],
    ids=[
        "exact",
        "case",
        "space after",
        "space before",
        "two spaces",
        "kelvin",
        "fullwidth",
        "no-break",
        "soft hyphen",
    ],
)
def test_whom_ldap_takes_for_another_gets_nobodys_groups(slapd: Slapd, fetch: Fetch, name: str, found: bool):
    """LDAP finds her entry for each of these; to Kerberos, which has let them in, they are other people."""
    with contextlib.suppress(ldap.ALREADY_EXISTS):
        slapd.add_user("kate mueller")
        slapd.add_group("mills", users=["kate mueller"])
    seen = fetch(name)
    assert (seen.found, seen.groups) == (found, ("mills",) if found else ())


def test_two_entries_of_one_name_tell_nothing(slapd: Slapd, fetch: Fetch):
    """Whose groups would count? Nobody's: what depends on a group is then refused."""
    slapd.add_user("twin")
    slapd.add(f"uid=twin,ou=groups,{slapd.base}", objectClass=["inetOrgPerson"], cn=["twin"], sn=["twin"])
    found = fetch("twin")
    assert found.groups is None
    assert "more than one entry" in found.problem


def test_an_entry_made_anew_does_not_keep_the_groups_of_the_one_before(slapd: Slapd, settings: MakeSettings):
    source = LdapSource(settings())
    slapd.add_user("again")
    slapd.add_group("once", users=["again"])
    assert source.fetch(["again"])["again"].groups == ("once",)
    slapd.delete(slapd.user_dn("again"))
    assert not source.fetch(["again"])["again"].found
    slapd.add_user("again")
    assert source.fetch(["again"])["again"].groups == ()
    source.close()


def test_many_users_in_one_fetch(slapd: Slapd, settings: MakeSettings):
    users = [f"crowd-{number}" for number in range(250)]
    slapd.add_many(
        (slapd.user_dn(user), {"objectClass": ["inetOrgPerson"], "cn": [user], "sn": [user]}) for user in users
    )
    slapd.add_group("crowd-even", users=users[::2])
    source = LdapSource(settings())
    found = source.fetch(users)
    source.close()
    assert len(found) == 250
    assert sum(membership.groups == ("crowd-even",) for membership in found.values()) == 125


# binding


def test_tls_by_either_way(slapd: Slapd, fetch: Fetch):
    slapd.add_user("secured")
    assert fetch("secured", start_tls=True).found
    assert fetch("secured", uri=slapd.tls_uri).found


@pytest.mark.parametrize("way", ["starttls", "ldaps"])
def test_a_certificate_of_another_name_or_authority_is_refused(slapd: Slapd, fetch: Fetch, servers: Path, way: str):
    stranger = Certificates(servers / f"strangers-{way}")
    uri = slapd.uri if way == "starttls" else slapd.tls_uri
    with pytest.raises(DirectoryError, match="no LDAP server answers"):
        fetch("anyone", uri=uri, start_tls=way == "starttls", ca_file=stranger.authority)


def test_a_certificate_of_the_right_authority_for_another_name_is_refused(servers: Path):
    elsewhere = Certificates(servers / "elsewhere")
    elsewhere.certificate, elsewhere.key = elsewhere.issue("elsewhere.test")
    with Slapd(servers / "slapd-elsewhere", certificates=elsewhere) as own:
        for way in ({"uri": own.uri, "start_tls": True}, {"uri": own.tls_uri}):
            place = DirectorySettings(kind="ldap", base=own.base, ca_file=elsewhere.authority, **way)
            with pytest.raises(DirectoryError, match=r"no LDAP server answers: .*(Connect error|Can't contact)"):
                LdapSource(place).fetch(["anyone"])


def test_a_server_without_tls_is_not_asked_in_clear(servers: Path):
    """Nor is the password sent: whoever is on the way could strip StartTLS off."""
    with Slapd(servers / "slapd-clear") as own:
        bind = {"bind_dn": own.admin_dn, "bind_password": own.admin_password}
        place = DirectorySettings(kind="ldap", uri=own.uri, base=own.base, start_tls=True, **bind)
        with pytest.raises(DirectoryError, match="no LDAP server answers"):
            LdapSource(place).fetch(["anyone"])


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
async def test_a_server_that_takes_connections_and_says_nothing_costs_its_time_limit(scheme: str):
    """Of ldaps:// libldap itself never gives up: it waits for the rest of the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        settings = DirectorySettings(kind="ldap", uri=uri, base="dc=test", timeout=0.2)
        directory = Directory(settings, time.monotonic)
        async with asyncio.timeout(time_limit(settings) + PATIENCE + 2):
            assert await directory.watch("anyone") is None
        assert uri in (directory.error or "")


def test_a_wrong_password_is_told_without_it(fetch: Fetch):
    with pytest.raises(DirectoryError, match="Invalid credentials") as refused:
        fetch("anyone", bind_password="not-the-password")
    assert "not-the-password" not in str(refused.value)


def test_an_empty_password_file_does_not_bind_anonymously(fetch: Fetch, tmp_path: Path):
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(DirectoryError, match="is empty"):
        fetch("anyone", bind_password="", bind_password_file=tmp_path / "empty")


async def test_pgguard_binds_with_a_ticket_of_its_own(
    slapd: Slapd, realm: Realm, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In a thread of its own, as in the proxy: the ticket is the default of that thread, and of no other."""
    slapd.add_user("ticketed")
    realm.add_principal("reader")
    keytab = realm.keytab(tmp_path / "reader.keytab", "reader")
    for key, value in realm.environment().items():
        monkeypatch.setenv(key, value)
    with_ticket = partial(fetch, "ticketed", sasl_gssapi=True, keytab=keytab, principal="reader")
    assert (await beside(with_ticket, 20)).found
    without = partial(fetch, "ticketed", sasl_gssapi=True, keytab=tmp_path / "missing.keytab", principal="stranger")
    with pytest.raises(DirectoryError, match="no ticket for LDAP"):
        await beside(without, 20)


async def test_pgguards_own_ticket_is_renewed_by_itself(
    slapd: Slapd, realm: Realm, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The KDC gives it one that lives for three seconds; libkrb5 would not use it any longer."""
    realm.add_principal("renewer", options=["-maxlife", "3 seconds"])
    slapd.add_user("renewed")
    keytab = realm.keytab(tmp_path / "renewer.keytab", "renewer")
    for key, value in realm.environment().items():
        monkeypatch.setenv(key, value)
    ask = partial(fetch, "renewed", sasl_gssapi=True, keytab=keytab, principal="renewer")
    assert (await beside(ask, 20)).found
    await asyncio.sleep(4)  # until it has ended: no event tells that
    assert (await beside(ask, 20)).found


# servers


def test_the_next_server_is_asked_and_stays(slapd: Slapd, settings: MakeSettings):
    slapd.add_user("failed-over")
    dead = f"ldap://localhost:{free_port()}"
    source = LdapSource(settings(uri=(dead, slapd.uri)))
    assert source.fetch(["failed-over"])["failed-over"].found
    assert source.origin == slapd.uri
    source.close()


def test_a_server_that_was_restarted_between_two_fetches_costs_none(servers: Path):
    """The kept connection was dead, and the fetch failed that found it so: the next one came a pause later."""
    with Slapd(servers / "slapd-restarted") as own:
        own.add_user("kept")
        bind = {"bind_dn": own.admin_dn, "bind_password": own.admin_password}
        source = LdapSource(DirectorySettings(kind="ldap", uri=own.uri, base=own.base, **bind))
        assert source.fetch(["kept"])["kept"].found
        own.stop()
        own.start()
        assert source.fetch(["kept"])["kept"].found
        source.close()
