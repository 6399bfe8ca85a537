"""To what an approval is bound: one statement, by people who may, and who are not the one that asks."""

from concurrent.futures import Future

import psycopg
import pytest

from pgguard.lab.lab import Lab
from tests.e2e.psql import run_psql
from tests.e2e.waiting import Asking

_LOCK = "lock table sales.products in access share mode"


@pytest.fixture(scope="module")
def lab(waiting_lab: Lab) -> Lab:
    return waiting_lab


def _refused(asking: Asking, waits: Future[object], number: str) -> None:
    asking.decide(f"refuse {number} 'no'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="dora refused"):
        waits.result(20)


def test_it_is_used_once(asking: Asking):
    text = "delete from sales.orders where id = %s"
    waits = asking.run(text, [-1])
    first = asking.number()
    asking.decide(f"approve {first}")
    waits.result(20)
    assert f"no hold #{first} waits for you" in asking.decide(f"approve {first}")
    for values in ([-1], [-2]):
        waits = asking.run(text, values)
        number = asking.number()
        assert number != first
        _refused(asking, waits, number)


def test_a_password_in_the_statement_is_shown_to_nobody(asking: Asking):
    """It lay in the store, and went to hooks."""
    waits = asking.run("delete from sales.orders where status = 'host=h password=geheim' and status <> 'seen'")
    number = asking.number()
    shown, told = str(asking.shown(number)), str(asking.told(number, "held"))
    assert "geheim" not in shown + told
    assert "'***' and status <> 'seen'" in shown
    assert "***" in told
    _refused(asking, waits, number)


def test_who_may_be_the_requester_is_the_requester(asking: Asking):
    waits = asking.run("delete from sales.orders where id = -1")
    number = asking.number()
    for as_whom in ("ben", "bob"):
        for command in (f"approve {number}", f"refuse {number} 'x'"):
            assert "of their own" in asking.decide(command, "ben", PGUSER=as_whom)
    _refused(asking, waits, number)


def test_a_yes_counts_as_long_as_its_giver_may_give_it(asking: Asking):
    asking.do("begin")
    waits = asking.run(_LOCK)
    number = asking.number()
    assert "needs more" in asking.decide(f"approve {number}", "eve")
    with asking.outside("eve", "dba"):
        assert "needs more" in asking.decide(f"approve {number}"), "hers is one, and eve's is none"
    assert ("withdrawn", "") not in asking.events(number)
    asking.session.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        waits.result(20)
    asking.do("rollback")


def test_break_glass_takes_a_reason_and_stands_out_in_the_audit(asking: Asking, lab: Lab):
    asking.do("begin")
    waits = asking.run(_LOCK)
    number = asking.number()
    assert "needs more" in asking.decide(f"approve {number}", "eve")
    assert "goes on" in asking.decide(f"approve {number} 'the disk is full'", "eve")
    waits.result(20)
    asking.do("rollback")
    eve = "eve@PGGUARD.TEST"
    assert asking.events(number) == [("held", "bob"), ("approved", eve), ("approved-alone", eve)]
    assert f"break-glass: {eve} alone released hold #{number} of bob: the disk is full" in lab.proxy.log.read_text()


def test_hooks_are_told_of_each_event(asking: Asking):
    asking.do("set pgguard.reason = 'INC-7'")
    waits = asking.run("delete from sales.orders where id = -1")
    number = asking.number()
    held = asking.told(number, "held")
    assert (held["user"], held["database"], held["reason"]) == ("bob", "shop", "INC-7")
    assert (held["rules"], held["needs"]) == (["held"], ["1 of group dba"])
    assert held["statement"] == "delete from sales.orders where id = -1"
    asking.decide(f"approve {number} 'well then'")
    waits.result(20)
    approved = asking.told(number, "approved")
    assert (approved["by"], approved["why"]) == ("dora@PGGUARD.TEST", "well then")
    assert approved["id"] != held["id"]


def test_a_reason_in_the_same_string_comes_too_late(asking: Asking):
    waits = asking.beside(
        psycopg.ClientCursor(asking.session).execute,
        "set pgguard.reason = 'INC-1'; delete from sales.orders where id = -1",
    )
    number = asking.number()
    assert "INC-1" not in dict(asking.shown(number)).get("reason", "")
    _refused(asking, waits, number)


def test_what_waits_disturbs_nobody_else(asking: Asking, lab: Lab):
    waits = asking.run("delete from sales.orders where id = -1")
    number = asking.number()
    assert run_psql(lab, "alice", "select 1").stdout == "1\n"
    with psycopg.connect(asking.session.info.dsn, autocommit=True) as another:
        assert another.execute("select 2").fetchone() == (2,)
    _refused(asking, waits, number)


def test_an_approvers_words_cannot_move_the_requesters_cursor(asking: Asking):
    waits = asking.run("delete from sales.orders where id = -1")
    asking.decide(f"refuse {asking.number()} 'a\x1b[2Jb'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"a\\u001b\[2Jb"):
        waits.result(20)


def test_whoever_stands_by_sees_nothing(asking: Asking):
    waits = asking.run("delete from sales.orders where id = -1")
    number = asking.number()
    for command in (f"show hold {number}", f"approve {number}", f"refuse {number} 'x'"):
        assert f"no hold #{number} waits for you" in asking.decide(command, "alice")
    assert asking.decide("show holds", "alice") == ""
    _refused(asking, waits, number)
