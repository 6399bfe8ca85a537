"""Statements of every family, one a line in statements.sql, run in order in a database directly and in another through
pgguard: rows, tags, errors, notices and the transaction's status are the same."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import pq

from pgguard.lab.lab import Lab

from .conftest import Connect

STATEMENTS = Path(__file__).with_name("statements.sql").read_text().splitlines()
TOLD = "SCMDHP"
_LEAVES = re.compile(r"begin|start|abort|prepare transaction|.*statement_timeout|.*pg_sleep")
"""What ends the transaction, or takes a time limit with it into a savepoint that is rolled back."""


class Told:
    """All that a session is told of its statements."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._notices: list[object] = []
        connection.add_notice_handler(
            lambda told: self._notices.append((told.severity, told.sqlstate, told.message_primary))
        )

    def of(self, statement: str, way: str) -> list[object]:
        pgconn = self._connection.pgconn
        if "transaction" in way:
            pgconn.exec_(b"savepoint s")
        if "extended" in way:
            pgconn.send_query_params(statement.encode(), None)
        else:
            pgconn.send_query(statement.encode())
        told: list[object] = []
        while (result := pgconn.get_result()) is not None:
            told.append(self._result(result))
        told += self._notices
        told.append(pgconn.transaction_status)
        self._notices.clear()
        if "transaction" in way:
            if pgconn.transaction_status == pq.TransactionStatus.INERROR:
                pgconn.exec_(b"rollback to s")
        elif pgconn.transaction_status != pq.TransactionStatus.IDLE:
            pgconn.exec_(b"rollback")
        return told

    def all_of(self, statements: list[str], way: str) -> list[list[object]]:
        if "transaction" in way:
            self._connection.execute("begin")
        told = [self.of(statement, way) for statement in statements]
        if "transaction" in way:  # its locks on roles, which all databases share, would stop the other's
            self._connection.execute("rollback")
        return told

    def _result(self, result: pq.abc.PGresult) -> object:
        if result.status == pq.ExecStatus.COPY_OUT:
            return list(iter(lambda: bytes(self._connection.pgconn.get_copy_data(0)[1]), b""))
        if result.status == pq.ExecStatus.FATAL_ERROR:
            return [result.error_field(pq.DiagnosticField(ord(code))) for code in TOLD]
        rows = [[result.get_value(row, n) for n in range(result.nfields)] for row in range(result.ntuples)]
        return result.status, result.command_status, [result.fname(n) for n in range(result.nfields)], rows


@pytest.fixture
def both(open_lab: Lab, connect: Connect) -> Iterator[tuple[Told, Told]]:
    for name in ("direct", "through"):
        open_lab.postgres.run(f"create database in_{name}")
    server = open_lab.postgres
    where = f"host={server.host} port={server.port} user=alice dbname=in_direct gssencmode=disable"
    through = connect(dbname="in_through")
    with psycopg.connect(where, autocommit=True) as direct:
        yield Told(direct), Told(through)
    through.close()
    for name in ("direct", "through"):
        server.run(f"drop database in_{name}")


WAYS = (
    "simple",
    *(
        pytest.param(way, marks=pytest.mark.slow)
        for way in ("extended", "in a transaction", "extended in a transaction")
    ),
)


@pytest.mark.parametrize("client", ["plain"], indirect=True)
@pytest.mark.parametrize("way", WAYS)
def test_each_statement_gives_the_same(both: tuple[Told, Told], way: str):
    statements = [one for one in STATEMENTS if "transaction" not in way or not _LEAVES.match(one)]
    directly, through = (told.all_of(statements, way) for told in both)
    other = [answers for answers in zip(statements, directly, through, strict=True) if answers[1] != answers[2]]
    assert other == []
