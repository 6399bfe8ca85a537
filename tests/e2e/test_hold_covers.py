"""How far one approval reaches: the statement, the transaction, the session for a time; and what it never reaches."""

import json
import queue
import time

import psycopg
import pytest

from pgguard.lab.lab import Lab
from tests.e2e.psql import run_psql
from tests.e2e.waiting import Asking

_INSERT = "insert into sales.orders (customer_id, status, total) select 1, 'new', {} where false"
_UPDATE = "update sales.orders set status = '{}' where false"


@pytest.fixture(scope="module")
def lab(waiting_lab: Lab) -> Lab:
    return waiting_lab


def _approved(asking: Asking, text: str) -> str:
    """The number of the hold by which it was approved."""
    waits = asking.run(text)
    number = asking.number()
    assert "goes on" in asking.decide(f"approve {number}")
    waits.result(20)
    return number


def _is_held(asking: Asking, text: str) -> None:
    """It waits, and is refused."""
    waits = asking.run(text)
    number = asking.number()
    asking.decide(f"refuse {number} 'no'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="dora refused"):
        waits.result(20)


def test_an_approval_reaches_over_the_transaction_and_no_further(asking: Asking):
    asking.do("begin")
    _approved(asking, _INSERT.format(1))
    asking.do(_INSERT.format(2))
    asking.do("savepoint s")
    asking.do("rollback to s")
    asking.do(_INSERT.format("%s::int"), [3])
    _is_held(asking, "delete from sales.orders where id = -1")  # another rule's
    asking.do("rollback")
    asking.do("begin")
    _is_held(asking, _INSERT.format(1))
    asking.do("rollback")
    _is_held(asking, _INSERT.format(1))


def test_the_rest_of_a_string_that_ends_the_transaction_is_another_one(asking: Asking):
    asking.do("begin")
    _approved(asking, _INSERT.format(1))
    _is_held(asking, f"commit; begin; {_INSERT.format(2)}")
    asking.do("rollback")


def test_outside_a_transaction_block_it_reaches_over_its_statement_alone(asking: Asking):
    _approved(asking, _INSERT.format(1))
    _is_held(asking, _INSERT.format(1))


def test_an_approval_reaches_over_the_session_and_no_other(asking: Asking, lab: Lab):
    number = _approved(asking, _UPDATE.format("new"))
    asking.do(_UPDATE.format("paid"))
    with asking.session.transaction():
        asking.do("update sales.orders set status = %s where false", ["sent"])
    records = [json.loads(line) for line in lab.audit.read_text().splitlines()]
    covered = [r for r in records if r["type"] == "hold" and (r["hold"], r["event"]) == (number, "covered")]
    assert {r["session"] for r in covered} == {r["session"] for r in records if r.get("hold") == number}
    decided = {r["id"]: r for r in records if r["type"] == "decision"}
    assert [decided[r["id"]]["effect"] for r in covered] == ["allow"] * len(covered)
    assert len(covered) >= 2
    _is_held(asking, "delete from sales.orders where id = -1")
    with psycopg.connect(asking.session.info.dsn, autocommit=True) as other:
        held: queue.Queue[object] = queue.Queue()
        other.add_notice_handler(held.put)
        waits = asking.beside(other.execute, _UPDATE.format("new"))
        held.get(timeout=20)  # a cancel that comes before the statement cancels nothing
        other.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            waits.result(20)


def test_an_approver_sees_how_far_it_reaches(asking: Asking):
    for text, reach in (
        (_INSERT.format(1), "for all of this rule in the transaction"),
        (_UPDATE.format("new"), "for all of this rule in the session over 30 min"),
    ):
        waits = asking.run(text)
        told = asking.notices.get(timeout=20)
        assert f"needs 1 of group dba, {reach}; waiting" in told
        asking.session.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            waits.result(20)


def test_new_rules_take_back_what_was_approved(asking: Asking):
    _approved(asking, _UPDATE.format("new"))
    asking.do(_UPDATE.format("paid"))
    with asking.other_rules("{name: more, who: everyone, allow: select, on: sales.products}"):
        _is_held(asking, _UPDATE.format("paid"))


def test_a_cursor_reads_on_in_its_transaction_and_asks_again_behind_it(asking: Asking):
    asking.do("begin")
    _approved(asking, "declare c cursor with hold for select id from sales.orders")
    assert asking.do("fetch 2 from c").fetchall()
    assert asking.do("move 1 in c").rowcount == 1
    asking.do("commit")
    _is_held(asking, "fetch 1 from c")
    asking.do("close c")


def test_another_cursor_of_the_same_name_is_another_one(asking: Asking):
    asking.do("begin")
    _approved(asking, "declare c cursor for select id from sales.orders where id < 0")
    asking.do("close c")
    _approved(asking, "declare c cursor for select id from sales.orders")
    asking.do("close c")
    _is_held(asking, "declare c cursor for select id from sales.orders where id < 0")
    asking.do("rollback")


def test_an_approval_reaches_as_long_as_its_approver_may_give_it(asking: Asking):
    waits = asking.run(_UPDATE.format("new"))
    asking.decide(f"approve {asking.number()}", "eve")
    waits.result(20)
    asking.do(_UPDATE.format("paid"))
    with asking.outside("eve", "dba"):
        _is_held(asking, _UPDATE.format("sent"))
    asking.do(_UPDATE.format("back"))


def test_the_time_of_people_is_told_apart_from_pgguards_own(asking: Asking, lab: Lab):
    """Its latency counted it once, and told of trouble where there was none."""

    def stats() -> dict[tuple[str, str], float]:
        rows = run_psql(lab, "dora", "show stats", PGDATABASE="pgguard").stdout.splitlines()
        return {(name, labels): float(value) for name, labels, value in (row.split("|") for row in rows)}

    before = stats()
    waits = asking.run("delete from sales.orders where id = -1")
    number = asking.number()
    assert stats()["holds_waiting", ""] == 1
    for _ in range(5):
        asking.number()  # it is told each 0.2 s
    asking.decide(f"approve {number}")
    waits.result(20)
    after = stats()
    waited = "hold_seconds_sum", '{ended="approved"}'
    assert after[waited] - before[waited] >= 1.0
    assert after["decision_seconds_sum", ""] - before["decision_seconds_sum", ""] < 1.0
    assert after["hold_seconds_count", waited[1]] == before["hold_seconds_count", waited[1]] + 1


def test_a_prepared_commit_ends_no_transaction_out_of_sight(asking: Asking):
    """What an EXECUTE ended was not in sight: an approval for the transaction went on to count in the next one."""
    asking.do("begin")
    asking.session.pgconn.prepare(b"s", b"commit")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="COMMIT cannot be judged behind EXECUTE"):
        asking.do("execute s")
    asking.do("rollback")
    asking.do("deallocate s")


def _in_a_pipeline(session: psycopg.Connection, *texts: str) -> None:
    """Each in a segment of its own, none waiting for the answer to the one before."""
    with session.pipeline() as pipeline:
        for text in texts:
            session.execute(text)
            pipeline.sync()


def test_a_group_that_is_lost_while_a_pipeline_runs_on_counts_no_more(asking: Asking):
    """What waits behind a statement that runs is decided by the groups of then, whatever an approval reaches."""
    asking.do("begin")
    _approved(asking, _INSERT.format(1))
    texts = "select count(*) from pg_catalog.pg_ts_dict", _INSERT.format(2)
    asking._pool.submit(asking.session.execute, texts[1], prepare=True).result(20)
    asking.do(
        "select count(*) from pg_catalog.pg_ts_parser"
    )  # the settings are known again: nothing but what the approval reaches waits below
    with psycopg.connect(asking.lab.postgres.dsn("shop")) as locking:
        locking.execute("lock table pg_catalog.pg_ts_dict")
        waits = asking.beside(_in_a_pipeline, asking.session, *texts)
        for _ in range(200):
            if asking.lab.postgres.run("select count(*) from pg_locks where not granted") != "0\n":
                break
            time.sleep(0.05)  # the database tells no event of ours
        with asking.outside("bob", "writers"):
            locking.rollback()
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="orders"):
                waits.result(20)
    asking.do("rollback")
