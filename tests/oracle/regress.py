"""PostgreSQL's own regression tests as a corpus: each statement analysed, compared with PostgreSQL, and run.

`python -m tests.oracle.regress DSN FOLDER [FILE…]` takes src/test/regress of PostgreSQL's source (`apt-get source
postgresql-15`, or the tarball), of the server's own version, and makes databases of its own on the server. It prints
each difference, and the verdicts by kind of statement. Statements run one after the other in one session, as psql
would send them, but for what needs psql (its variables and commands) and data of COPY.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
from pglast.parser import ParseError, split

from pgguard.database.catalog_loader import CatalogReader
from pgguard.database.own_catalog import OWN_QUESTIONS, TEMPORARY_QUESTIONS, seen_by_session
from pgguard.model.facts import Facts
from pgguard.session.judgement import Rows
from pgguard.sql.analyze import Analysis, Refused, analyze
from pgguard.sql.catalog import Catalog
from pgguard.sql.environment import Settings
from tests.oracle.compare import Difference, judged
from tests.sql.postgres_tree import Oracle

_COPY_IN = re.compile(r"^(\s|--[^\n]*\n)*copy\b.*\bfrom\s+stdin\b", re.IGNORECASE | re.DOTALL)
_COPY = re.compile(r"^(\s|--[^\n]*\n)*copy\b.*\bstd(in|out)\b", re.IGNORECASE | re.DOTALL)
_PSQL_VARIABLE = re.compile(r"""(?<![:\w'"])::?['"{]?[a-z_]+""")
_QUERIES = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"})
_ENDS_SESSION = re.compile(r"pg_terminate_backend|\\c\b", re.IGNORECASE)


def statements(text: str) -> Iterator[str]:
    """The statements of a psql script that can be sent without psql."""
    chunk: list[str] = []
    copying = False
    for line in text.splitlines():
        if copying:
            copying = line != "\\."
            continue
        if line.lstrip().startswith("\\"):
            yield from _cut("\n".join(chunk))
            chunk = []
            continue
        chunk.append(re.sub(r"\\(g|gset|gexec|gdesc|crosstabview|bind|;)\b.*$", ";", line))
        if line.rstrip().endswith(";") and _COPY_IN.search("\n".join(chunk).rpartition(";\n")[2] or line):
            yield from _cut("\n".join(chunk))
            chunk, copying = [], True
    yield from _cut("\n".join(chunk))


def _cut(text: str) -> Iterator[str]:
    try:
        yield from (s for s in split(text, with_parser=False) if s.strip())
    except ParseError:
        return


class Run:
    """One file in a database and a session of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._oracle = Oracle(dsn)
        self._oracle.connection.execute("set debug_print_parse = off; set statement_timeout = '5s'")
        self._loop = asyncio.new_event_loop()
        self._loader = self._loop.run_until_complete(asyncpg.connect(dsn))
        self._reader = CatalogReader(self._loader)
        self._catalog: Catalog
        self._stale = True
        self._oracle_stale = True
        self._kind = ""

    def close(self) -> None:
        self._oracle.close()
        self._loop.run_until_complete(self._loader.close())
        self._loop.close()

    def _row(self, query: str) -> Any:
        return self._oracle.connection.execute(query.encode()).fetchone()

    def _refresh(self) -> None:
        """The catalog as the session sees it, where something may have changed."""
        if not self._stale:
            return
        committed = self._loop.run_until_complete(self._reader.load())
        connection = self._oracle.connection
        inside = connection.info.transaction_status is psycopg.pq.TransactionStatus.INTRANS
        answers = [
            Rows(tuple(tuple(map(_text, row)) for row in connection.execute(question.text).fetchall()))
            for question in (OWN_QUESTIONS if inside else TEMPORARY_QUESTIONS)
        ]
        self._catalog = seen_by_session(answers, committed) or committed
        self._stale, self._oracle_stale = False, True

    def judge(self, statement: str) -> Difference:
        """The analysis of one statement against the database, as it stands before it runs."""
        self._kind = ""
        failed = self._oracle.connection.info.transaction_status is psycopg.pq.TransactionStatus.INERROR
        if failed:
            return Difference("in failed transaction")
        self._refresh()
        found = self._analysed(statement)
        if isinstance(found, Refused) and found.unresolved:  # a function may have made it; pgguard looks again as well
            self._stale = True
            self._refresh()
            found = self._analysed(statement)
        if isinstance(found, Refused):
            return Difference("refused", (found.message,))
        if len(found.statements) != 1:
            return Difference("no statement")
        (facts,) = found.statements
        self._kind = facts.kind
        if facts.opaque is not None:
            return Difference("opaque", (facts.opaque,))
        if facts.kind not in _QUERIES:
            return Difference("analysed")
        return self._compared(facts, statement)

    def _analysed(self, statement: str) -> Analysis:
        path, user, login, creates_in = self._row(
            "select pg_catalog.current_schemas(true), current_user, session_user, coalesce(pg_catalog.current_schema(), '')"
        )
        return analyze(statement, self._catalog, Settings(tuple(path), user, login, creates_in))

    def _compared(self, facts: Facts, statement: str) -> Difference:
        if self._oracle_stale:
            self._oracle.look_up()
            self._oracle_stale = False
        with self._oracle.connection.transaction(force_rollback=True):
            self._oracle.connection.execute(
                "set local client_min_messages = log; set local debug_pretty_print = off; set local debug_print_parse = on"
            )
            try:
                theirs = self._oracle.ask(statement)
            except psycopg.Error as error:
                return Difference("invalid", (str(error),))
        return judged(facts, *theirs)

    def run(self, statement: str) -> str | None:
        """Run it for what it changes; the error that it ends in."""
        connection = self._oracle.connection
        try:
            if _COPY.match(statement):
                with connection.cursor().copy(statement.encode()) as copy:
                    if not _COPY_IN.match(statement):
                        deque(copy, maxlen=0)
            else:
                connection.execute(statement.encode())
        except psycopg.Error as error:
            return str(error)
        finally:
            self._stale = self._stale or self._kind not in {"SELECT", "SET", "SHOW", "EXPLAIN", "BEGIN", "SAVEPOINT"}
        return None


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def run_file(dsn: str, path: Path) -> Iterator[tuple[str, Difference, str | None]]:
    run = Run(dsn)
    try:
        for statement in statements(path.read_text(errors="replace")):
            if _ENDS_SESSION.search(statement) or (
                _PSQL_VARIABLE.search(statement) and ":" in statement.replace("::", "")
            ):
                continue
            difference = run.judge(statement)
            yield statement, difference, run.run(statement)
    except psycopg.OperationalError as lost:
        yield str(lost), Difference("session lost"), None
    finally:
        run.close()


def databases(dsn: str, folder: Path, files: list[Path]) -> Iterator[tuple[Path, str]]:
    """A database for each file, with what test_setup.sql makes. `dsn`: of the server, without a database."""
    with psycopg.connect(f"{dsn}/postgres", autocommit=True) as connection:
        connection.execute("drop database if exists regress_setup")
        connection.execute("create database regress_setup template template0")
        subprocess.run(
            ["psql", "-Xq", "-d", f"{dsn}/regress_setup", "-f", folder / "sql" / "test_setup.sql"],
            env={**os.environ, "PG_ABS_SRCDIR": str(folder), "PG_LIBDIR": "$libdir", "PG_DLSUFFIX": ".so"},
            capture_output=True,
            check=False,
        )
        for path in files:
            connection.execute("drop database if exists regress_file with (force)")
            connection.execute("create database regress_file template regress_setup")
            yield path, f"{dsn}/regress_file"


def main(dsn: str, folder: Path, names: list[str]) -> int:
    files = [folder / "sql" / f"{name}.sql" for name in names] or sorted((folder / "sql").glob("*.sql"))
    total: Counter[str] = Counter()
    for path, database in databases(dsn, folder, files):
        verdicts: Counter[str] = Counter()
        began = time.monotonic()
        for statement, difference, error in run_file(database, path):
            verdict = difference.verdict
            if verdict in {"refused", "invalid", "opaque"}:
                verdict = f"{verdict}, runs" if error is None else "error"
            verdicts[verdict] += 1
            if verdict not in {"exact", "analysed", "error", "in failed transaction"}:
                print(
                    verdict, path.stem, "|", " ".join(statement.split()), "|", *difference.less, "|", *difference.more
                )
        total += verdicts
        print(f"-- {path.stem} {time.monotonic() - began:.0f} s", dict(verdicts), "so far", dict(total), flush=True)
    print(dict(total))
    return 1 if total["less"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
