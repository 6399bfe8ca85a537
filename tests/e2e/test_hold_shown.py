"""What approvers see of a statement that waits: all that it does, and what its transaction keeps from others."""

import psycopg
import pytest

from pgguard.lab.lab import Lab
from tests.e2e.waiting import Asking


@pytest.fixture(scope="module")
def lab(waiting_lab: Lab) -> Lab:
    return waiting_lab


def test_everything_that_it_does(asking: Asking):
    asking.do("set pgguard.reason = 'INC-7 \u202estray order'")
    waits = asking.beside(
        psycopg.ClientCursor(asking.session).execute, "delete from sales.orders where id = %s and lower(status) = 'x'", [999]
    )  # fmt: skip
    shown = asking.shown(asking.number())
    asking.session.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        waits.result(20)
    told = dict(shown)
    assert (told["user"], told["principal"], told["database"]) == ("bob", "bob@PGGUARD.TEST", "shop")
    assert told["from"] in {"127.0.0.1", "::1"}
    assert told["reason"] == "INC-7 \\u202estray order"
    assert told["rule"] == "held: needs 1 of group dba"
    assert [what for name, what in shown if name == "does"] == [
        "delete on table sales.orders",
        "select on table sales.orders (id, status)",
    ]
    assert told["rows estimated"] == "1"
    assert told["in transaction"] == "no"
    assert told["statement"] == "delete from sales.orders where id = 999 and lower(status) = 'x'"
    assert "locks" not in told


def test_the_text_behind_a_name(asking: Asking):
    asking.do("prepare p as delete from sales.orders where id = $1")  # which runs nothing, and does not wait
    waits = asking.run("execute p (-5)")
    told = dict(asking.shown(asking.number()))
    asking.session.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        waits.result(20)
    assert told["prepared statement p"] == "delete from sales.orders where id = $1"
    assert told["statement"] == "execute p (-5)"


def test_the_locks_of_its_transaction_and_who_waits_for_them(asking: Asking, lab: Lab):
    asking.do("begin")
    asking.do("lock table sales.orders in share row exclusive mode")
    waits = asking.run("delete from sales.orders where id = -1")
    number = asking.number()
    with psycopg.connect(lab.postgres.dsn("shop"), autocommit=True) as direct:
        blocked = asking.beside(direct.execute, "delete from sales.orders where id = -1")
        for _ in range(60):
            told = dict(asking.shown(number))
            if told["waiting for them"] == "1 session":
                break
        direct.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            blocked.result(20)
    assert told["waiting for them"] == "1 session"
    assert told["in transaction"] == "yes"
    assert told["waits"].endswith(" of 120 s"), "inside a transaction it waits a shorter time"
    assert "sales.orders ShareRowExclusiveLock" in told["locks"]
    assert told["transaction"].startswith("open for ")
    asking.session.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        waits.result(20)
    asking.do("rollback")


def test_nobody_is_asked_about_what_cannot_run(asking: Asking):
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        psycopg.ClientCursor(asking.session).execute("delete from sales.orders where id = 'x'")
    asking.is_free()
