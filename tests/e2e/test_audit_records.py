"""What the audit says of what real clients did."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from pgguard.audit.reading import records
from pgguard.audit.records import Changed, DecisionMade
from pgguard.audit.verify import verify_files
from pgguard.lab.lab import Lab
from tests.audit.collectors import wait_for
from tests.e2e.conftest import connected, run_psql


def _decisions(lab: Lab, text: str) -> list[DecisionMade]:
    """The decisions of the session that ran a statement with this text in it, in order."""
    made = [record for record in records([lab.audit]) if isinstance(record, DecisionMade)]
    (session,) = {record.session for record in made if text in record.text}
    return [record for record in made if record.session == session]


def _by_text(decisions: list[DecisionMade]) -> dict[str, DecisionMade]:
    return {record.text: record for record in decisions}


def test_execute_and_fetch_refer_to_what_they_run(lab: Lab):
    told = run_psql(
        lab,
        "alice",
        "prepare p as select count(*) from sales.orders /* linked by name */",
        "execute p",
        "begin; declare c cursor with hold for select id from sales.orders; commit",
        "fetch 1 from c",
        "prepare q as select 1; execute q",
        "execute p; fetch 1 from c; execute q",
    )
    assert "ERROR" not in told.stderr
    made = _by_text(_decisions(lab, "linked by name"))
    ids = {text: record.id for text, record in made.items()}
    p, c, q = (
        next(i for text, i in ids.items() if text.startswith(start)) for start in ("prepare p", "begin", "prepare q")
    )
    assert made["execute p"].refers == (p,)
    assert made["fetch 1 from c"].refers == (c,)
    assert made["prepare q as select 1; execute q"].refers == ()
    assert made["execute p; fetch 1 from c; execute q"].refers == (p, c, q)


async def test_bind_refers_to_its_parse(lab: Lab, as_user: Callable[[str], None]):
    as_user("alice")
    async with connected(lab, "alice") as connection:
        one = await connection.prepare("select id from sales.orders where id = $1 /* linked by protocol */")
        await one.fetch(1)
        two = await connection.prepare("select id from sales.orders where id > $1")
        await two.fetch(1)
        await one.fetch(2)
    made = _decisions(lab, "linked by protocol")
    parsed = {record.text: record.id for record in made if record.moment == "parse"}
    bound = [record for record in made if record.moment == "bind" and record.text in parsed]
    assert len(bound) >= 3
    assert [record.refers for record in bound] == [(parsed[record.text],) for record in bound]
    assert all(record.refers == () for record in made if record.moment == "parse")


def _since(lab: Lab, before: int) -> list[dict]:
    """What the log has got since it was so long."""
    return [json.loads(line) for line in lab.audit.read_bytes()[before:].splitlines()]


def test_a_session_stands_in_the_log_from_its_login_to_its_end(lab: Lab):
    before = lab.audit.stat().st_size
    told = run_psql(
        lab,
        "alice",
        "select id from sales.orders limit 3",
        "select 1 / 0",
        "copy (select 'abc') to stdout",
        "select card_number from sales.customers",
        PGAPPNAME="recorded",
    )
    assert told.returncode == 1
    wait_for(lambda: any(record["type"] == "session-end" for record in _since(lab, before)))
    made = _since(lab, before)
    start, end = made[0], made[-1]
    session = start["session"]
    assert (start["type"], end["type"], end["session"]) == ("session-start", "session-end", session)
    assert (start["user"], start["database"], start["application"]) == ("alice", "shop", "recorded")
    assert start["principal"] == f"alice@{lab.realm.name}"
    decisions = {record["text"]: record for record in made if record["type"] == "decision"}
    outcomes = {record["id"]: record for record in made if record["type"] == "outcome"}
    rows, failed, copied, denied = decisions.values()
    assert outcomes[rows["id"]]["rows"] == 3
    assert outcomes[rows["id"]]["tag"] == "SELECT 3"
    assert outcomes[rows["id"]]["seconds"] > 0
    assert outcomes[failed["id"]]["sqlstate"] == "22012"
    assert outcomes[copied["id"]]["copied"] == len("abc\n")
    assert (denied["effect"], denied["decision"]["rules"]) == ("deny", ["card-numbers-stay-here"])
    for record in decisions.values():
        assert record["context"]["user"] == "alice"
        assert "analysts" in record["context"]["groups"]
        assert record["context"]["application"] == "recorded"
        assert record["facts"][0]["shape"]
        assert len(record["rules"]) == 64
    order = [record["type"] for record in made if record.get("id") == rows["id"]]
    assert order == ["decision", "outcome"]


def test_who_is_turned_away_stands_in_the_log(lab: Lab):
    before = lab.audit.stat().st_size
    told = run_psql(lab, "alice", "select 1", PGUSER="bob")
    assert told.returncode == 2
    made = _since(lab, before)
    assert {record["type"] for record in made} == {"login-refused"}  # libpq tries more than one transport
    for refused in made:
        assert refused["principal"] == f"alice@{lab.realm.name}"
        assert (refused["user"], refused["database"]) == ("bob", "shop")
        assert "bob" in refused["reason"]


@pytest.mark.slow
def test_logrotate_and_a_hang_up_go_on_in_a_new_file_with_the_same_chain(own_lab: Callable[..., Lab]):
    lab = own_lab()
    assert run_psql(lab, "alice", "select 1").stdout == "1\n"
    moved = lab.audit.with_name("audit.jsonl.1")
    lab.audit.rename(moved)
    os.kill(lab.proxy.pid, signal.SIGHUP)
    wait_for(lab.audit.exists)
    assert run_psql(lab, "alice", "select 2").stdout == "2\n"
    lab.proxy.stop()
    report = verify_files([moved, lab.audit], None)
    assert report.findings == ()
    kinds = [record.what for record in records([moved, lab.audit]) if isinstance(record, Changed)]
    assert kinds[0] == "start"
    assert kinds[-1] == "stop"


_RULES = Path(__file__).parents[2] / "rules"
_REDACTING = """
redact: {pii: drop}
rules:
  - {name: hashed, who: everyone, allow: select, on: sales.products, columns: [id, name], redact: hash}
"""


async def test_what_rules_ask_to_leave_out_stands_nowhere_in_the_log(
    own_lab: Callable[..., Lab], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rules = tmp_path / "rules"
    shutil.copytree(_RULES, rules)
    (rules / "redacting.yaml").write_text(_REDACTING)
    lab = own_lab(rules=rules)
    for name, value in lab.environment("alice").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)
    async with connected(lab, "alice") as connection:
        for text, *values in (
            ("select id from sales.customers where card_number = 'geheim1'",),
            ("select id from sales.customers where card_number = $1", "geheim2"),
            ("select id from sales.products where name = 'geheim3'",),
            ("selct 'geheim4'",),
            ("do $$ begin perform 'geheim5'; end $$",),
            ("select id from sales.orders where id = 4711",),
        ):
            try:
                await connection.fetch(text, *values)
            except asyncpg.PostgresError:
                continue
    lab.proxy.stop()
    log = lab.audit.read_text()
    assert "geheim" not in log
    assert "4711" in log
    made = [record for record in records([lab.audit]) if isinstance(record, DecisionMade)]
    asked = {record.redact for record in made if "sales" in record.text}
    assert asked == {"drop", "hash", None}


_HOLDING = """
rules:
  - {name: prices, who: everyone, allow: select, on: sales.products}
  - {name: prices-wait, who: everyone, hold: select, on: sales.products, columns: [price],
     approvers: {group: dba}, timeout: 1s, message: prices are asked for}
"""


@pytest.mark.slow
async def test_a_held_statement_is_as_fully_recorded_as_an_allowed_one(
    own_lab: Callable[..., Lab], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rules = tmp_path / "rules"
    shutil.copytree(_RULES, rules)
    (rules / "holding.yaml").write_text(_HOLDING)
    lab = own_lab(rules=rules)
    for name, value in lab.environment("alice").items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)
    async with connected(lab, "alice") as connection:
        await connection.fetch("select name from sales.products where id = $1", 1)
        with pytest.raises(asyncpg.PostgresError, match="was not approved within 1 s"):
            await connection.fetch("select price from sales.products where id = $1", 1)
    lab.proxy.stop()
    made = _since(lab, 0)
    allowed, held = (
        next(r for r in made if r["type"] == "decision" and r["moment"] == "bind" and word in r["text"])
        for word in ("select name", "select price")
    )
    assert held.keys() == allowed.keys()
    assert (held["effect"], held["decision"]["rules"]) == ("hold", ["prices-wait"])
    assert held["values"] == allowed["values"] == ["\\x00000001"]
    assert held["binary"] == [0]
    events = [r["event"] for r in made if r["type"] == "hold" and r["id"] == held["id"]]
    assert events == ["held", "expired"]
    assert not [r for r in made if r["type"] == "outcome" and r["id"] == held["id"]]


async def test_of_a_text_that_is_too_long_the_beginning_is_recorded(lab: Lab, as_user: Callable[[str], None]):
    """It was recorded whole, and looked through for secrets: 60 MB took minutes, in which nobody was served."""
    as_user("alice")
    async with connected(lab, "alice") as connection:
        with pytest.raises(asyncpg.ProgramLimitExceededError):
            await connection.execute(f"select /* far too long */ 'password', 1{' + 1' * 300_000}")
    (made,) = _decisions(lab, "far too long")
    assert len(made.text) <= 10_000
