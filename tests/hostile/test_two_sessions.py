"""Two sessions of one builder: one waits for a lock, the other takes away meanwhile what its names meant when it was judged.

PostgreSQL looks a name up again when it has waited for a lock (RangeVarGetRelid), and looks up functions after it has
locked the tables of FROM. So a name that hides another's was judged as the one and read the other; the same with columns.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Waits

import psycopg
import pytest

from pgguard.lab.lab import Lab

_MADE = (
    "create table lab.secrets (id int, code text, note text)",
    "create table lab.plain (id int, card_number text)",
    "create function lab.reveal() returns text language sql as $$ select 'mine' $$",
)
_DROPPED = ("drop table if exists lab.secrets, lab.gone, lab.plain", "drop function if exists lab.reveal, lab.gone")


@pytest.fixture
def sessions(besieged: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    environment = besieged.environment("trudy")
    for name in ("KRB5_CONFIG", "KRB5CCNAME"):
        monkeypatch.setenv(name, environment[name])
    where = f"host=localhost port={environment['PGPORT']} dbname=shop user=trudy gssencmode=prefer"
    with psycopg.connect(where, autocommit=True) as one, psycopg.connect(where, autocommit=True) as other:
        for sql in (*_DROPPED, *_MADE):  # the corpus leaves some of them behind
            one.execute(sql.encode())
        one.execute("set search_path = lab, vault")
        yield one, other
        other.execute("rollback")
        for sql in _DROPPED:
            other.execute(sql.encode())


@pytest.mark.parametrize(
    ("taking", "asking"),
    [
        ("drop table lab.secrets", "select code from secrets"),
        ("alter table lab.secrets rename to gone", "with s as (table secrets) select min(code) from s"),
        ("drop table lab.secrets", "select s.code from built, secrets s"),
        ("drop table lab.secrets", "update secrets set note = 'x' returning code"),
        ("alter table lab.plain drop card_number", "select (select card_number from plain limit 1) from sales.customers"),
        ("alter table lab.plain rename card_number to gone", "with p as (select * from plain) select max(name) from sales.customers where exists (select from p where card_number = '1')"),
        ("alter table lab.plain add x text", "insert into sales.inbox select * from plain"),
        ("drop function lab.reveal; lock table lab.built in access exclusive mode", "select reveal() from built"),
        ("alter function lab.reveal rename to gone; lock table lab.built in access exclusive mode", "select reveal() from built"),
    ],
)  # fmt: skip
def test_what_hides_a_forbidden_name_is_taken_away_while_a_statement_waits(
    sessions: tuple[psycopg.Connection, psycopg.Connection], taking: str, asking: str
) -> None:
    one, other = sessions
    for sql in ("begin", *taking.split("; ")):
        other.execute(sql.encode())
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: one.execute(asking.encode()).fetchall())
        try:
            answer.result(timeout=1)
        except Waits:
            other.execute("commit")  # was it let through, and waits for the lock? or is the machine a busy one?
        except psycopg.errors.InsufficientPrivilege:
            pass
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            answer.result(timeout=20)


def test_a_name_with_its_schema_means_one_thing(sessions: tuple[psycopg.Connection, psycopg.Connection]) -> None:
    one, _ = sessions
    assert one.execute("select code from lab.secrets").fetchall() == []
    assert one.execute("select lab.reveal()").fetchall() == [("mine",)]
