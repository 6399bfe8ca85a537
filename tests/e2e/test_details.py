"""The DETAIL of a violated constraint shows values of rows: of columns too that the rules forbid.

A user of column rules could read what they may not, by an UPDATE that is certain to fail: PostgreSQL tells the whole
failing row to whoever may read the table, and that is pgguard's own database user.
"""

import re

import pytest

from pgguard.lab.errors import LabError
from pgguard.lab.lab import Lab

from .conftest import run_psql

_NULL = "update sales.customers set city = null where id = 1"
_CARD = re.compile(r"\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}")


def test_a_failing_row_is_shown_to_nobody_who_may_not_read_all_of_it(lab: Lab):
    told = run_psql(lab, "carol", _NULL).stderr
    assert '23502: null value in column "city" of relation "customers" violates not-null constraint' in told
    assert "DETAIL:  The values are not shown: the rules do not let you read all of them." in told
    assert "Failing row" not in told
    assert not _CARD.search(told)


def test_it_would_have_been_shown(lab: Lab):
    with pytest.raises(LabError) as failed:
        lab.postgres.run(_NULL, lab.plan.database)
    assert "Failing row contains" in str(failed.value)
    assert _CARD.search(str(failed.value))


def test_whoever_may_read_it_sees_it(lab: Lab):
    told = run_psql(
        lab, "bob", "insert into sales.orders (customer_id, product_id, status, total) values (987654, 1, 'new', 1)"
    ).stderr
    assert 'DETAIL:  Key (customer_id)=(987654) is not present in table "customers".' in told
