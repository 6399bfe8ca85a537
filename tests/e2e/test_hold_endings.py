"""Each way in which a hold ends, in each way in which a statement is sent, by psycopg on libpq."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest

from pgguard.lab.lab import Lab
from tests.e2e.psql import run_psql
from tests.e2e.waiting import SHAPES, Asking


@pytest.fixture(scope="module")
def lab(waiting_lab: Lab) -> Lab:
    return waiting_lab


shapes = pytest.mark.parametrize("shape", sorted(SHAPES))


@shapes
def test_approved(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    number = asking.number()
    assert "goes on" in asking.decide(f"approve {number}")
    waits.result(20)
    asking.is_free()


@shapes
def test_refused(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    asking.decide(f"refuse {asking.number()} 'not now'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"dora refused hold #\d+: not now"):
        waits.result(20)
    asking.is_free()


@shapes
def test_cancelled(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    asking.number()
    asking.session.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled, match="canceling statement due to user request"):
        waits.result(20)
    asking.is_free()


@shapes
def test_expired_after_reminders(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.products")
    number = asking.number()
    assert asking.number() == number, "it is told again"
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="was not approved within 1 s"):
        waits.result(20)
    asking.is_free()


@shapes
def test_denied_for_the_requester_has_lost_the_right(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    number = asking.number()
    with asking.outside("bob", "writers"):
        assert "goes on" in asking.decide(f"approve {number}"), "people have said yes, the rules have not"
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"denied for table sales\.orders"):
            waits.result(20)
    asking.is_free()


@shapes
def test_judged_anew_for_the_rules_have_changed(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    number = asking.number()
    with asking.other_rules("{name: more, who: everyone, allow: select, on: sales.products}"):
        asking.decide(f"approve {number}")
        while (anew := asking.number()) == number:
            pass
        assert "goes on" in asking.decide(f"approve {anew}")
        waits.result(20)
    asking.is_free()


@shapes
def test_denied_for_new_rules_deny_it(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    number = asking.number()
    with asking.other_rules("{name: no, who: {user: bob}, deny: all, on: sales.orders}"):
        asking.decide(f"approve {number}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"denied for table sales\.orders"):
            waits.result(20)
    asking.is_free()


@shapes
def test_ended_by_an_administrator(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    number = asking.number()
    listed = run_psql(asking.lab, "dora", "show sessions", PGDATABASE="pgguard").stdout
    (session,) = [line.split("|")[0] for line in listed.splitlines() if "|bob|" in line and "|waiting|" in line]
    asking.decide(f"terminate {session}")
    with pytest.raises(psycopg.OperationalError) as raised:
        waits.result(20)
    assert shape == "pipeline" or 'the command of "dora@PGGUARD.TEST" in the console' in str(raised.value)
    asking.until_event(number, "withdrawn")


@shapes
def test_left(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    number = asking.number()
    asking.leave()
    with pytest.raises(psycopg.OperationalError):
        waits.result(20)
    asking.until_event(number, "withdrawn")
    assert not run_psql(asking.lab, "dora", "show holds", PGDATABASE="pgguard").stdout


@pytest.mark.slow
@shapes
def test_shut_down(asking: Asking, shape: str):
    waits = asking.send(shape, "sales.orders")
    number = asking.number()
    asking.lab.proxy.stop()
    try:
        with pytest.raises(psycopg.OperationalError) as raised:
            waits.result(20)
        # in a pipeline psycopg tells of the connection's end in the error's stead
        assert shape == "pipeline" or "pgguard is shutting down" in str(raised.value)
    finally:
        asking.lab.proxy.start()
    assert f'"hold":"{number}","event":"withdrawn"' in asking.lab.audit.read_text()


@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - {"cursor"}))
def test_the_databases_statement_timeout_is_not_for_the_time_of_people(
    lab: Lab, as_user: Callable[[str], None], shape: str
):
    """It ran from the Parse on, and the approved statement failed by it."""
    as_user("bob")
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        asking = Asking(lab, pool)
        stack.callback(asking.session.close)
        asking.session.execute("set statement_timeout = '300ms'")
        waits = asking.send(shape, "sales.orders")
        number = asking.number()
        for _ in range(3):
            asking.number()
        asking.decide(f"approve {number}")
        waits.result(20)
        asking.is_free()
