"""What a ticket says beside the name: how it was got, for which service, and of which realm its holder is."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgguard.lab.certificates import Certificates
from pgguard.lab.errors import LabError
from pgguard.lab.lab import Lab, Plan
from pgguard.lab.pkinit import issue_for_user
from pgguard.lab.realm import PKINIT
from tests.e2e.conftest import psql_with

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
"""

_EMAIL = "select email from sales.customers where id = 1"
_CITY = "select city from sales.revenue_by_city where city = 'Berlin'"


@pytest.fixture(scope="module")
def tickets(servers: Path) -> Iterator[Lab]:
    """A lab whose people have certificates, and where two rules ask for them."""
    rules = servers / "ticket-rules"
    shutil.copytree(_RULES, rules)
    (rules / "tickets.yaml").write_text(_BY_TICKET)
    with Lab(Plan(servers / "tickets", rules=rules, certificates=True)) as lab:
        lab.realm.modify_principal("alice", "+requires_preauth")
        yield lab


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
