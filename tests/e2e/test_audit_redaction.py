"""What the audit must not hold stands nowhere in it, nor in what is made of it: real statements on a real server."""

import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from pgguard.audit.reading import records
from pgguard.audit.records import DecisionMade, StatementEnded
from pgguard.lab.lab import Lab
from pgguard.lab.ports import free_port
from tests.audit.collectors import HttpCollector, TcpCollector, closing, wait_for

OwnLab = Callable[..., Lab]

_SCHEMA = """
create table customers (id int primary key, name text, card text unique check (card <> 'forbidden'));
insert into customers values (1, 'Ada', 'known');
create table orders (id int primary key, customer int references customers (id), note text);
create procedure keep(text) language sql as 'update customers set card = $1 where id = 1';
"""
_RULES = """
labels: {pii: [public.customers.card]}
redact: {pii: drop}
rules:
  - {name: orders, who: everyone, allow: [read, write], on: public.orders}
  - {name: kept, who: everyone, allow: execute, on: {function: public.keep}, redact: hash}
"""
_KEEPING = "rules: []"

_CARD = "geheim-card"
_TOUCHING = (
    f"select id from customers where card = '{_CARD}'",
    f"select id from customers where card in ('x', '{_CARD}') or card like '{_CARD}%'",
    f"select id from customers where card = $tag${_CARD}$tag$",
    f"select * from (select card as c from customers) s where c = '{_CARD}'",
    f"with x as (select * from customers) select name from x where card = '{_CARD}'",
    f"insert into customers values (2, 'Bo', '{_CARD}') returning card",
    f"insert into customers values (3, 'Bo', '{_CARD}')",  # a duplicate: the value is in the error's DETAIL
    f"update customers set card = '{_CARD}' where id = 1",
    f"update customers set card = 'forbidden' where card = '{_CARD}'",  # the failing row is in the DETAIL
    f"merge into customers c using (values ('{_CARD}')) v (card) on c.card = v.card when matched then do nothing",
    f"delete from customers where card = '{_CARD}'",
    f"explain select id from customers where card = '{_CARD}'",
    f"explain (analyze, verbose) select id from customers where card = '{_CARD}'",
    f"prepare p as select id from customers where card = '{_CARD}'",
    "execute p",
    "prepare q (text) as select id from customers where card = $1",
    f"execute q ('{_CARD}')",
    f"begin; declare c cursor for select id from customers where card = '{_CARD}'; fetch 1 from c; commit",
    f"copy (select id from customers where card = '{_CARD}') to stdout",
    f"create table copied as select id from customers where card = '{_CARD}'",
    f"create view seen as select id from customers where card = '{_CARD}'",
    f"select card::int from customers where card = '{_CARD}' or '{_CARD}'::int = id",  # the error quotes it
    f"select nextval('{_CARD}'), card from customers",  # pgguard's own error would name it
    f"do $$ begin perform 1 from customers where card = '{_CARD}'; end $$",
    f"call keep('{_CARD}')",
    f"selct '{_CARD}'",
    f"select '{_CARD}",
    f"select id from customers where card = '{_CARD}'; select 1",
)

_SECRET = "geheim-word"
_TELLING = (
    f"create role r1 login password '{_SECRET}' valid until '2030-01-01'",
    f"alter role r1 encrypted password $${_SECRET}$$",
    f"alter user r1 password E'{_SECRET}'",
    f"do $$ begin execute 'create role r2 password ''{_SECRET}'''; end $$",
    f"prepare transaction 'x'; create role r3 password '{_SECRET}'",
    "create foreign data wrapper w",
    "create server s foreign data wrapper w",
    f"create user mapping for current_user server s options (user 'u', password '{_SECRET}')",
    f"alter user mapping for current_user server s options (set password '{_SECRET}')",
    f"create subscription s1 connection 'host=localhost password={_SECRET}' publication p",
    f"create subscription s2 connection 'postgresql://u:{_SECRET}@localhost/d' publication p with (connect = false)",
    f"alter subscription s2 connection 'host=localhost password={_SECRET}'",
    f"select * from dblink('dbname=d password={_SECRET}', 'select 1') as t (a int)",
    f"select dblink_connect('postgresql://u:{_SECRET}@localhost/d')",
    f"set app.api_token = '{_SECRET}'",
    f"select set_config('app.secret', '{_SECRET}', false)",
    f"alter role r1 set app.password = '{_SECRET}'",
    f"alter system set primary_conninfo = 'host=h password={_SECRET}'",
    f"copy customers to program 'psql postgresql://u:{_SECRET}@localhost/d'",
    f"copy customers from program 'PGPASSWORD={_SECRET} true'",
    f"select crypt('{_SECRET}', 'x')",
    f"explain create table t as select crypt('{_SECRET}', 'x')",
    f"alter role r1 password password '{_SECRET}'",  # the syntax error quotes it
    f"alter role r1 password '{_SECRET}",
)


class _Told:
    """All that pgguard tells of what it did, but for the console and holds, which show people what they decide on."""

    def __init__(self, lab: Lab, metrics: int, syslog: TcpCollector, otlp: HttpCollector) -> None:
        self.lab = lab
        self._metrics = metrics
        self._syslog = syslog
        self._otlp = otlp

    def connect(self) -> psycopg.Connection:
        where = (
            f"host=localhost port={self.lab.proxy.port} user=alice dbname={self.lab.plan.database} gssencmode=prefer"
        )
        return psycopg.connect(where, autocommit=True)

    def everything(self, folder: Path) -> dict[str, str]:
        """The log, its shipped forms, what the commands make of it, pgguard's own log and its metrics."""
        with urllib.request.urlopen(f"http://localhost:{self._metrics}/metrics", timeout=5) as page:
            metrics = page.read().decode()
        self.lab.proxy.stop()
        count = len(self.lab.audit.read_bytes().splitlines())
        wait_for(lambda: len(self._syslog.lines()) == len(self._otlp.bodies) == count)
        table = folder / "audit.csv"
        _audit("export", self.lab.audit, "-o", table)
        return {
            "audit": self.lab.audit.read_text(),
            "syslog": b"".join(map(bytes, self._syslog.received)).decode(),
            "otlp": str(self._otlp.requests),
            "log": self.lab.proxy.log.read_text(errors="replace"),
            "metrics": metrics,
            "search": _audit("search", self.lab.audit),
            "export": table.read_text(),
            "stats": _audit("stats", self.lab.audit),
        }


def _audit(command: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pgguard", "audit", command, *map(str, arguments)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.fixture
def told(
    own_lab: OwnLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[_Told]:
    """A pgguard that refuses nothing (but judges and records), ships to two collectors, and counts. alice may all."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "rules.yaml").write_text(getattr(request, "param", _RULES))
    schema = tmp_path / "schema.sql"
    schema.write_text(_SCHEMA)
    metrics = free_port()
    with closing(TcpCollector()) as syslog, closing(HttpCollector()) as otlp:
        ship = (
            f'[{{to = "syslog", host = "localhost", port = {syslog.port}, transport = "tcp"}},'
            f' {{to = "otlp", url = "http://localhost:{otlp.server_port}/v1/logs"}}]'
        )
        settings = ("rules.mode=observe", f"metrics.port={metrics}", f"audit.ship={ship}")
        lab = own_lab(*settings, sql=(schema,), rules=tmp_path / "rules")
        for name, value in lab.environment("alice").items():
            if name.startswith("KRB5"):
                monkeypatch.setenv(name, value)
        yield _Told(lab, metrics, syslog, otlp)


def test_a_value_of_a_dropped_column_is_in_nothing_that_is_told(told: _Told, tmp_path: Path) -> None:
    with told.connect() as session:
        for text in _TOUCHING:
            _run(session, text.encode())
        _run(session, b"rollback")
        for value in (_CARD, _CARD + "-2"):
            for form in ("%s", "%b"):
                with suppress(psycopg.Error):
                    session.execute(f"select id from customers where card = {form}", (value,))
        with session.cursor().copy("copy customers from stdin") as copy:
            copy.write(f"7\tCy\t{_CARD}-7\n")
        session.execute("select note from orders where note = 'shown'")
    found = told.everything(tmp_path)
    assert [where for where, text in found.items() if "geheim" in text] == []
    assert "shown" in found["audit"]
    made = [one for one in records([told.lab.audit]) if isinstance(one, DecisionMade)]
    touching = [one for one in made if "customers" in one.text or "card" in one.text]
    assert len(touching) > len(_TOUCHING)
    assert {one.redact for one in touching} == {"drop"}
    failed = {one.sqlstate for one in records([told.lab.audit]) if isinstance(one, StatementEnded)}
    assert {"23505", "23514", "22P02"} <= failed  # the errors whose DETAIL or message has the value were given


@pytest.mark.slow
@pytest.mark.parametrize("told", [_KEEPING], indirect=True, ids=["all is kept"])
def test_a_secret_in_a_statement_is_in_nothing_that_is_told(told: _Told, tmp_path: Path) -> None:
    with told.connect() as session:
        for text in _TELLING:
            _run(session, text.encode())
            with suppress(psycopg.Error):
                session.execute(text, prepare=True)
    found = told.everything(tmp_path)
    assert [where for where, text in found.items() if "geheim" in text] == []
    made = [one for one in records([told.lab.audit]) if isinstance(one, DecisionMade)]
    assert sum("***" in one.text for one in made) >= len(_TELLING) - 2
    completed = {one.tag for one in records([told.lab.audit]) if isinstance(one, StatementEnded)}
    assert {"CREATE ROLE", "ALTER ROLE", "CREATE USER MAPPING", "CREATE SUBSCRIPTION", "SET"} <= completed


def _run(session: psycopg.Connection, text: bytes) -> None:
    """As a simple Query, whatever becomes of it."""
    session.pgconn.exec_(text)
