"""What a ticket says beside the name: how it was got, for which service, and of which realm its holder is."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgguard.lab.certificates import Certificates
from pgguard.lab.errors import LabError
from pgguard.lab.lab import Lab, Plan
from pgguard.lab.pkinit import issue_for_user
from pgguard.lab.realm import PKINIT, Realm
from pgguard.lab.terminal import PSQL, Terminal
from tests.e2e.conftest import WITH_OR_WITHOUT_CONNECTION, serve_with
from tests.e2e.psql import psql_with

_RULES = Path(__file__).parents[2] / "rules"

_BY_TICKET = """
rules:
  - name: emails-with-a-card
    who: {group: analysts}
    allow: select
    on: sales.customers
    columns: [email]
    when: {ticket: {indicator: pkinit}}
  - name: cities-need-better-than-a-password
    who: {group: analysts}
    deny: select
    on: sales.revenue_by_city
    unless: {ticket: {indicator: [pkinit, spake]}}
    message: get a ticket with your card
  - {name: analysts-sleep, who: {group: analysts}, allow: execute, on: {function: pg_catalog.pg_sleep}}
  - name: one-guest
    who: {principal: alice@OTHER.TEST}
    allow: select
    on: sales.customers
    columns: [id, email]
"""

_EMAIL = "select email from sales.customers where id = 1"
_CITY = "select city from sales.revenue_by_city where city = 'Berlin'"


class Realms:
    """A lab, and two realms whose people its KDC trusts; pgguard is told of one of them. Each has an alice."""

    def __init__(self, lab: Lab, other: Realm, third: Realm) -> None:
        self.lab, self.other, self.third = lab, other, third
        for stranger in (other, third):
            lab.realm.trust(stranger)
            stranger.add_principal("alice")
        lab.slapd.add_user("other_alice")
        lab.postgres.run("create role other_alice login superuser")
        self.alice = lab.environment("alice")

    def alice_of(self, realm: Realm, ccache: Path) -> dict[str, str]:
        """On a machine that knows all realms."""
        return {**self.alice, "KRB5CCNAME": f"FILE:{realm.kinit('alice', ccache)}", "PGUSER": "other_alice"}

    def refused_logins(self) -> str:
        return "\n".join(line for line in self.lab.proxy.log.read_text().splitlines() if "login refused" in line)


@pytest.fixture(scope="module")
def realms(servers: Path) -> Iterator[Realms]:
    rules = servers / "ticket-rules"
    shutil.copytree(_RULES, rules)
    (rules / "tickets.yaml").write_text(_BY_TICKET)
    services = ("postgres/localhost", "reports/localhost", "http/localhost")
    settings = (
        'kerberos.principals=["postgres/localhost@PGGUARD.TEST", "reports/localhost@PGGUARD.TEST"]',
        'kerberos.realms=["PGGUARD.TEST", "OTHER.TEST"]',
        r"kerberos.map=['/([^/@]+)@PGGUARD\.TEST \1', '/([^/@]+)@OTHER\.TEST other_\1']",
        "directory.refresh=0.2",
    )
    plan = Plan(servers / "tickets", rules=rules, services=services, settings=settings, certificates=True)
    with (
        Realm(servers / "other-realm", "OTHER.TEST") as other,
        Realm(servers / "third-realm", "THIRD.TEST") as third,
        Lab(plan) as lab,
    ):
        lab.realm.modify_principal("alice", "+requires_preauth")
        yield Realms(lab, other, third)


@pytest.fixture
def tickets(realms: Realms) -> Lab:
    return realms.lab


@pytest.fixture
def with_card(tickets: Lab, tmp_path: Path) -> dict[str, str]:
    """Alice, with the ticket that she got with her certificate."""
    realm = tickets.realm
    ccache = realm.kinit_with_certificate("alice", tmp_path / "card", realm.certificate("alice"))
    return {**tickets.environment("alice"), "KRB5CCNAME": f"FILE:{ccache}"}


@pytest.fixture
def with_password(tickets: Lab, tmp_path: Path) -> dict[str, str]:
    """Alice, with the ticket that she got with her password: krb5 takes SPAKE for that by itself."""
    ccache = tickets.realm.kinit("alice", tmp_path / "password", password="alice-secret")
    return {**tickets.environment("alice"), "KRB5CCNAME": f"FILE:{ccache}"}


@pytest.mark.parametrize("encryption", ["require", "disable"])
def test_a_rule_opens_to_a_ticket_got_with_a_certificate_and_to_no_other(
    tickets: Lab, with_card: dict[str, str], with_password: dict[str, str], encryption: str
):
    """The same person, at the same time, in the same groups."""
    assert psql_with(with_card, _EMAIL, PGGSSENCMODE=encryption).stdout == "ada@example.com\n"
    refused = psql_with(with_password, _EMAIL, PGGSSENCMODE=encryption)
    assert refused.stdout == ""
    assert "ERROR:  42501: permission denied for column email" in refused.stderr


def test_a_deny_rule_spares_whom_an_indicator_vouches_for(
    tickets: Lab, with_card: dict[str, str], with_password: dict[str, str]
):
    """The ticket of the lab itself was got by the key, and vouches for nothing."""
    assert psql_with(with_card, _CITY).stdout == "Berlin\n"
    assert psql_with(with_password, _CITY).stdout == "Berlin\n"
    refused = psql_with(tickets.environment("alice"), _CITY)
    assert "ERROR:  42501" in refused.stderr
    assert "get a ticket with your card" in refused.stderr


def test_the_indicators_are_on_record(tickets: Lab, with_card: dict[str, str]):
    psql_with(with_card, "select 'by card'")
    (record,) = [line for line in tickets.audit.read_text().splitlines() if "'by card'" in line and '"context"' in line]
    assert '"indicators":["pkinit"]' in record


def test_a_certificate_of_another_authority_gets_no_ticket(tickets: Lab, servers: Path, tmp_path: Path):
    """The KDC's own refusal: without it the indicator would say nothing."""
    stranger = Certificates(servers / "card-forgers")
    forged = issue_for_user(stranger, tickets.realm.name, "alice")
    with pytest.raises(LabError, match="kinit"):
        tickets.realm.kinit_with_certificate("alice", tmp_path / "forged", forged)


def test_a_service_for_which_the_kdc_asks_for_a_card(
    tickets: Lab, with_card: dict[str, str], with_password: dict[str, str]
):
    """`require_auth`: the KDC gives no ticket for the service to whoever came with a password."""
    realm = tickets.realm
    realm.require_indicators("postgres/localhost", PKINIT)
    try:
        refused = psql_with(with_password, "select 1")
        assert refused.returncode == 2
        assert "KDC policy rejects request" in refused.stderr
        assert psql_with(with_card, "select 1").stdout == "1\n"
    finally:
        realm.require_indicators("postgres/localhost")


# realms and services


def test_one_realms_alice_is_not_anothers(realms: Realms, tmp_path: Path):
    theirs, ours = realms.alice_of(realms.other, tmp_path / "other"), realms.alice
    who = "select current_user, current_setting('pgguard.principal')"
    assert psql_with(theirs, who).stdout == "other_alice|alice@OTHER.TEST\n"
    assert psql_with(ours, who).stdout == "alice|alice@PGGUARD.TEST\n"
    for environment, user in ((theirs, "alice"), (ours, "other_alice")):
        refused = psql_with(environment, who, PGUSER=user)
        assert refused.returncode == 2
        assert f'may not be user "{user}"' in refused.stderr


def test_one_realms_groups_are_not_anothers(realms: Realms, tmp_path: Path):
    """Groups are those of the user that the map makes of a principal."""
    theirs, orders = realms.alice_of(realms.other, tmp_path / "other"), "select count(*) from sales.orders"
    assert psql_with(realms.alice, orders).stdout == "6\n"
    assert "ERROR:  42501" in psql_with(theirs, orders).stderr
    realms.lab.slapd.add_to_group("other_alice", "analysts")
    assert psql_with(theirs, orders).stdout == "6\n"
    realms.lab.slapd.remove_from_group("other_alice", "analysts")


def test_a_rule_for_a_principal_names_the_realm(realms: Realms, tmp_path: Path):
    theirs = realms.alice_of(realms.other, tmp_path / "other")
    assert psql_with(theirs, _EMAIL).stdout == "ada@example.com\n"
    assert "ERROR:  42501" in psql_with(realms.alice, _EMAIL).stderr


@pytest.mark.parametrize("user", ["alice", "other_alice"])
def test_a_realm_that_pgguard_is_not_told_of_is_refused_though_the_kdc_trusts_it(
    realms: Realms, tmp_path: Path, user: str
):
    theirs = {**realms.alice_of(realms.third, tmp_path / "third"), "PGUSER": user}
    for encryption in ("require", "disable"):
        refused = psql_with(theirs, "select 1", PGGSSENCMODE=encryption)
        assert (refused.returncode, refused.stdout) == (2, "")
        told = 'realm "THIRD.TEST" of principal "alice@THIRD.TEST" is not accepted, only OTHER.TEST, PGGUARD.TEST'
        assert told in refused.stderr


def test_a_ticket_of_another_realms_own_service_opens_nothing(realms: Realms, tmp_path: Path):
    """The same name in another realm, with a key that pgguard does not have."""
    realms.third.add_principal("postgres/localhost")
    theirs = {**realms.alice_of(realms.third, tmp_path / "own"), **realms.third.environment()}
    refused = psql_with(theirs, "select 1", PGGSSENCMODE="disable")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert 'GSSAPI authentication failed for user "other_alice"' in refused.stderr
    assert (
        "pgguard takes tickets for postgres/localhost@PGGUARD.TEST and reports/localhost@PGGUARD.TEST" in refused.stderr
    )
    assert "postgres/localhost@THIRD.TEST" in realms.refused_logins()  # the log tells what it was given


@pytest.mark.parametrize("encryption", ["require", "disable"])
def test_each_named_service_of_the_keytab_takes_tickets_and_no_other_does(realms: Realms, encryption: str):
    for service in ("postgres", "reports"):
        answer = psql_with(realms.alice, "select 1", PGKRBSRVNAME=service, PGGSSENCMODE=encryption)
        assert answer.stdout == "1\n"
    refused = psql_with(realms.alice, "select 1", PGKRBSRVNAME="http", PGGSSENCMODE=encryption)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert 'the ticket is for "http/localhost@PGGUARD.TEST", which is no service principal of pgguard' in (
        realms.refused_logins()
    )
    if encryption == "disable":  # libpq does not show what comes in the place of a token
        assert "pgguard takes tickets for" in refused.stderr


def test_several_realms_without_a_map_keep_pgguard_from_starting(realms: Realms, tmp_path: Path):
    ended = serve_with(realms.lab, tmp_path, "kerberos.map=[]")
    assert ended.returncode == 1
    assert "alice@OTHER.TEST and alice@PGGUARD.TEST would be the same user" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["*", "al*", "alice)(uid=*", "*)(|(uid=alice", "alice ", "uid=alice,ou=people"])
def test_a_principal_whose_name_is_a_filter_gets_nobodys_groups(realms: Realms, tmp_path: Path, name: str):
    """The whole way: the KDC has such a principal, the map lets it be the user of its name, and LDAP is asked for it."""
    lab = realms.lab
    lab.realm.add_principal(name.replace(" ", r"\ "))
    ccache = lab.realm.kinit(name.replace(" ", r"\ "), tmp_path / "odd")
    lab.postgres.run(f'create role "{name}" login superuser')
    theirs = {**realms.alice, "KRB5CCNAME": f"FILE:{ccache}", "PGUSER": name}
    done = psql_with(theirs, "select current_setting('pgguard.principal')", "select count(*) from sales.orders")
    assert done.stdout in {f"{name}@PGGUARD.TEST\n", ""}
    assert "ERROR:  42501" in done.stderr or done.returncode == 2


# the end


def test_a_statement_that_runs_when_the_ticket_ends_is_the_last_one(tickets: Lab, tmp_path: Path):
    """It is answered; what comes behind it is not."""
    short = tickets.realm.kinit("alice", tmp_path / "short", lifetime="4s")
    environment = {**tickets.environment("alice"), "KRB5CCNAME": f"FILE:{short}"}
    with Terminal([*PSQL, "-At"], environment, prompt=WITH_OR_WITHOUT_CONNECTION) as terminal:
        terminal.until_prompt()
        shown = terminal.enter("select 'sle' || 'pt', pg_sleep(6);") + terminal.enter("select 8 * 8;")
        assert "slept|" in shown
        assert 'FATAL:  the Kerberos ticket of "alice@PGGUARD.TEST" has ended' in shown
        assert "\n64\n" not in shown


@pytest.mark.slow
def test_grace_is_given_once_the_ticket_has_ended_and_no_longer(own_lab: Callable[..., Lab], tmp_path: Path):
    lab = own_lab("kerberos.grace=4")
    short = lab.realm.kinit("alice", tmp_path / "short", lifetime="3s")
    ended = time.time() + 3
    environment = {**lab.environment("alice"), "KRB5CCNAME": f"FILE:{short}"}
    with Terminal([*PSQL, "-At"], environment, prompt=WITH_OR_WITHOUT_CONNECTION) as terminal:
        terminal.until_prompt()
        answered = 0.0
        while "has ended" not in terminal.enter("select 7;"):
            answered = time.time()
        assert ended + 1 < answered < ended + 5
    late = psql_with(environment, "select 1")
    assert late.returncode == 2  # the client's own library refuses to use it
