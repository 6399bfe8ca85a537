"""The whole way with psql, as it comes: what passes, what is refused and how, in the shop of the demo."""

import re
import time

import pytest

from pgguard.lab.lab import Lab
from pgguard.lab.terminal import PSQL, Terminal

from .conftest import Psql, run_psql


def test_what_a_string_may_have_made_is_said_to_be_in_doubt_not_missing(lab: Lab):
    """It was refused as a relation that does not exist, which sent people looking for it."""
    refused = run_psql(lab, "dora", "create table sales.made as select 1 as a; table sales.made").stderr
    assert "it follows CREATE TABLE AS in the same string" in refused


def test_the_login_may_come_back_to_itself(lab: Lab):
    """Drivers' pools send it to reset a session, and DISCARD ALL does the same."""
    done = run_psql(lab, "carol", "set session authorization default", "reset session authorization", "select 1")
    assert (done.stdout, done.stderr) == ("SET\nRESET\n1\n", "")


def test_what_a_rule_allows_is_answered_by_the_database(psql: Psql):
    done = psql("alice", "select id, name, city from sales.customers order by id limit 2")
    assert done.stdout == "1|Ada Lindgren|Berlin\n2|Bruno Keller|Hamburg\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forbidden_column_is_refused_with_the_rule_that_says_so(psql: Psql):
    done = psql("alice", "select name, card_number from sales.customers")
    assert "ERROR:  42501: permission denied for column card_number of table sales.customers" in done.stderr
    assert "card-numbers-stay-here" in done.stderr
    assert "4111-1111" not in done.stdout


def test_a_column_that_no_rule_allows_is_named(psql: Psql):
    done = psql("alice", "select name, email from sales.customers")
    assert "ERROR:  42501: permission denied for column email of table sales.customers" in done.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "select * from sales.customers",
        "select c from sales.customers c",
        "table sales.customers",
        "select count(*) from sales.customers where card_number like '4%'",
        "with c as (select * from sales.customers) select id from c",
        "select id from sales.customers order by card_number",
        "select row_to_json(c) from sales.customers c",
        "copy sales.customers to stdout",
        "copy (select card_number from sales.customers) to stdout",
        "select (select card_number from sales.customers limit 1)",
        "prepare p as select card_number from sales.customers",
        "explain select card_number from sales.customers",
        "create table copied as select card_number from sales.customers",
        "do $$ begin perform card_number from sales.customers; end $$",
        "select query_to_xml('select card_number from sales.customers', true, true, '')",
    ],
)
def test_the_column_is_out_of_reach_however_it_is_asked_for(lab: Lab, statement: str):
    done = run_psql(lab, "alice", statement)
    assert "42501" in done.stderr
    assert "4111-1111" not in done.stdout + done.stderr


def test_a_refusal_fails_the_transaction_as_any_error(psql: Psql):
    done = psql("alice", "begin", "select * from hr.salaries", "select 1", "rollback", "select 2")
    assert "ERROR:  42501" in done.stderr
    assert "salaries-are-private" in done.stderr
    assert "ERROR:  25P02: current transaction is aborted" in done.stderr
    assert done.stdout == "BEGIN\nROLLBACK\n2\n"


def test_of_a_string_with_one_refused_statement_nothing_runs(lab: Lab):
    done = run_psql(
        lab, "bob", "insert into sales.orders (customer_id, product_id, total) values (1, 1, 1234); table hr.salaries"
    )
    assert "42501" in done.stderr
    assert lab.postgres.run("select count(*) from sales.orders where total = 1234", "shop") == "0\n"


def test_one_column_may_be_updated_and_another_not(psql: Psql):
    done = psql(
        "bob", "update sales.orders set status = 'paid' where id = 3", "update sales.orders set total = 0 where id = 3"
    )
    assert done.stdout == "UPDATE 1\n"
    assert "42501" in done.stderr
    assert "total" in done.stderr


def test_a_write_without_where_is_refused_with_the_rules_message(psql: Psql):
    done = psql("bob", "update sales.orders set status = 'new'", "delete from sales.orders")
    assert done.stderr.count("no-blind-writes") == 2
    assert "UPDATE and DELETE need a WHERE clause" in done.stderr
    assert done.stdout == ""


def test_who_has_no_rule_may_connect_and_no_more(lab: Lab):
    lab.add_user("nora")
    lab.postgres.run("create role nora login")
    done = run_psql(lab, "nora", "select 1", "select id from sales.orders")
    assert done.stdout == "1\n"
    assert "42501" in done.stderr
    assert "rule" in done.stderr


def test_a_statement_that_does_not_parse_gets_postgresqls_own_words(lab: Lab):
    """The poison goes in its place; message, SQLSTATE and position are as from the database itself."""
    for statement in (
        "selct 1",
        "select 1 from",
        "select 1 from\n  ",
        "select 'open",
        "select 'ä', * frm x",
        "select 1 +;",
    ):
        through = run_psql(lab, "alice", statement, "select 'alive'")
        assert statement not in lab.postgres.log.read_text()
        direct = run_psql(lab, "alice", statement, PGHOST=str(lab.postgres.folder), PGPORT=str(lab.postgres.port))
        assert _told(through.stderr) == _told(direct.stderr)
        assert through.stdout == "alive\n"


def _told(stderr: str) -> str:
    return re.sub(r"^LOCATION:.*\n", "", stderr, flags=re.MULTILINE)


def test_a_statement_over_the_size_limit_is_refused_and_the_session_goes_on(lab: Lab):
    with Terminal([*PSQL, "-v", "VERBOSITY=verbose", "-At"], lab.environment("alice")) as terminal:
        terminal.until_prompt()
        terminal.enter(r"\set long `head -c 1200000 /dev/zero | tr '\0' x`")
        assert "ERROR:  54000" in terminal.enter("select length(:'long');")
        assert "\n7\n" in terminal.enter("select 7;").replace("\r", "")


def test_leaving_a_group_stops_the_next_statement_of_an_open_session(lab: Lab):
    lab.slapd.add_to_group("carol", "analysts")
    with Terminal(PSQL, lab.environment("carol")) as terminal:
        terminal.until_prompt()
        question = "select city from sales.revenue_by_city;"
        assert _eventually(terminal, question, "Berlin")
        lab.slapd.remove_from_group("carol", "analysts")
        assert _eventually(terminal, question, "permission denied")


def _eventually(terminal: Terminal, question: str, answer: str, seconds: float = 5.0) -> bool:
    """Groups are read in the background: the bound is what the lab configures, with room for a busy machine."""
    deadline = time.monotonic() + seconds
    while answer not in terminal.enter(question):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_without_a_ticket_nobody_gets_in(lab: Lab):
    done = run_psql(lab, "alice", "select 1", KRB5CCNAME="FILE:/nonexistent")
    assert done.returncode == 2
    assert done.stdout == ""


def test_a_ticket_opens_no_session_under_another_name(psql: Psql):
    done = psql("bob", "select 1", PGUSER="dora")
    assert done.returncode == 2
    assert 'GSSAPI authentication failed for user "dora"' in done.stderr


def test_what_runs_is_on_record_with_who_and_why(lab: Lab):
    run_psql(lab, "bob", "select 'recorded', count(*) from sales.orders", "select 'refused', ssn from hr.salaries")
    log = lab.audit.read_text()
    (allowed,) = [line for line in log.splitlines() if "'recorded'" in line and '"decision"' in line]
    (refused,) = [line for line in log.splitlines() if "'refused'" in line and '"decision"' in line]
    assert '"effect":"allow"' in allowed
    assert "writers-read" in allowed
    assert '"effect":"deny"' in refused
    assert "salaries-are-private" in refused
    assert "'refused'" not in lab.postgres.log.read_text()
