"""PostgreSQL 13 to 18 as servers: the same script with and without pgguard, the same results; and a refused column.

The servers come by npm, in the versions of postgres_versions/package.json, into a folder that later runs find again.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgguard.lab.lab import Lab, Plan

from .conftest import TRANSPORTS

pytestmark = pytest.mark.slow

VERSIONS = (13, 14, 15, 16, 17, 18)
PACKAGE = Path(__file__).parent / "postgres_versions" / "package.json"
CACHE = Path("/var/tmp")  # survives, and the account postgres can enter it

RULES = """
rules:
  - {name: everything, who: everyone, allow: all, on: {any: "*"}}
  - {name: all-else, who: everyone, allow: [ddl, grant], on: {any: "*"}}
  - {name: no-secrets, who: everyone, deny: [select, update], on: public.people, columns: [secret]}
"""

SCHEMA = """
create table people (id int primary key, name text, secret text);
insert into people values (1, 'one', 'x'), (2, 'two', 'y'), (3, 'drei ä', 'z');
create table parts (id int, part text) partition by list (part);
create table parts_a partition of parts for values in ('a');
create view names as select id, name from people;
create function twice(n int) returns int language sql as 'select 2 * n';
create type mood as enum ('well', 'ill');
"""

Step = Callable[[psycopg.Connection], object]


@pytest.fixture(scope="session")
def installed() -> Path:
    """The folder with node_modules/postgres-VERSION."""
    if shutil.which("npm") is None:
        pytest.skip("this machine has no npm")
    mark = hashlib.sha256(PACKAGE.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"pgguard-servers-{os.geteuid()}-{mark}"
    folder.mkdir(mode=0o755, exist_ok=True)
    assert folder.stat().st_uid == os.geteuid(), f'"{folder}" belongs to somebody else'
    if not (folder / "complete").exists():
        shutil.copy(PACKAGE, folder)
        done = subprocess.run(
            ["npm", "install", "--no-package-lock", "--no-fund", "--no-audit"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "complete").touch()
    return folder


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest, installed: Path, servers: Path) -> Iterator[Lab]:
    folder = servers / f"version-{request.param}"
    (folder / "rules").mkdir(parents=True)
    (folder / "rules" / "rules.yaml").write_text(RULES)
    (folder / "schema.sql").write_text(SCHEMA)
    binaries = installed / "node_modules" / f"postgres-{request.param}" / "native" / "bin"
    with Lab(Plan(folder, sql=(folder / "schema.sql",), rules=folder / "rules", binaries=binaries)) as running:
        assert running.postgres.version == request.param
        yield running


@pytest.fixture
def through(version: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    with monkeypatch.context() as patched:
        for name, value in {**version.environment("alice"), **TRANSPORTS["gss"]}.items():
            patched.setenv(name, value)
        made = psycopg.connect("", autocommit=True)
    with made:
        yield made


@pytest.fixture
def direct(version: Lab) -> Iterator[psycopg.Connection]:
    with psycopg.connect(version.postgres.dsn("shop", "alice"), autocommit=True, gssencmode="disable") as made:
        yield made


def sql(*statements: str) -> Step:
    """Each by a simple query of its own; what comes of it, or the error."""

    def step(connection: psycopg.Connection) -> object:
        seen: list[object] = []
        for statement in statements:
            result = connection.pgconn.exec_(statement.encode())
            rows = [[result.get_value(r, c) for c in range(result.nfields)] for r in range(result.ntuples)]
            seen.append((result.status, result.command_status, rows, _error(result)))
        return seen

    return step


def _error(result: psycopg.pq.abc.PGresult) -> tuple[bytes | None, ...]:
    fields = psycopg.pq.DiagnosticField
    return tuple(map(result.error_field, (fields.SEVERITY, fields.SQLSTATE, fields.MESSAGE_PRIMARY)))


def extended(connection: psycopg.Connection) -> object:
    seen: list[object] = []
    for binary in (False, True):
        cursor = connection.execute(
            "select %s::int + 1, %s::text, %s::mood, array[%s::numeric]", (1, "ä", "ill", "1.50"), binary=binary
        )
        seen.append(cursor.fetchall())
    # prepared from the sixth on
    seen += [connection.execute("select name from people where id = %s", (n,)).fetchall() for n in range(8)]
    try:
        connection.execute("select twice(%s)::int / %s", (1, 0))
    except psycopg.Error as error:
        seen.append(error.sqlstate)
    return seen


def pipeline(connection: psycopg.Connection) -> object:
    """Whether the error comes while others are still sent hangs on who is quicker, and is no part of the answer."""
    failed = None
    connection.execute("create temp table piped (n int primary key)")
    try:
        with connection.pipeline():
            for n in range(7):
                connection.execute("insert into piped values (%s) returning n", (n % 5,))
    except psycopg.Error as error:
        failed = error.sqlstate
    rows = connection.execute("select count(*) from piped").fetchall()
    connection.execute("drop table piped")
    return failed, rows


def copy(connection: psycopg.Connection) -> object:
    connection.execute("create temp table copied (n int, t text)")
    with connection.cursor().copy("copy copied from stdin") as into:
        for n in range(1000):
            into.write_row((n, f"ä{n}"))
    with connection.cursor().copy("copy copied to stdout (format binary)") as out:
        size = sum(len(block) for block in out)
    failed = None
    try:
        with connection.cursor().copy("copy copied from stdin") as into:
            into.write("no number\tx\n")
    except psycopg.Error as error:
        failed = error.sqlstate
    connection.execute("drop table copied")
    return size, failed


def cursors(connection: psycopg.Connection) -> object:
    with connection.transaction(), connection.cursor("portions") as cursor:
        cursor.itersize = 2
        cursor.execute("select id from people order by id")
        return [row[0] for row in cursor]


STEPS: dict[str, Step] = {
    "strings of statements": sql("select 1; select 'b', null", "", "select 1; select 1/0; select 2", "selec 1"),
    "tables": sql(
        "select id, name from people order by id", "insert into people (id, name) values (4, 'vier') returning id, name",
        "update names set name = 'four' where id = 4", "delete from people where id = 4", "select twice(21)",
        "insert into people (id) values (1)", "select nothing from people", "select * from nowhere",
    ),
    "transactions": sql(
        "begin", "savepoint s", "insert into people (id) values (9)", "select 1/0", "select 1", "rollback to s",
        "select count(id) from people", "commit", "begin isolation level serializable read only",
        "insert into people (id) values (9)", "rollback",
    ),
    "definitions": sql(
        "create schema made", "create table made.t (a int primary key, b text default 'x')",
        "insert into made.t values (1)", "alter table made.t add column c int generated always as (a * 2) stored",
        "select * from made.t", "create index on made.t (b)", "create temp table t (z int)", "select * from t",
        "set search_path to made, public", "select * from t", "drop table t", "select * from t", "drop schema made cascade",
        "reset search_path", "create table bad (x nowhere.type)",
    ),
    "partitions": sql(
        "insert into parts values (1, 'a')", "select * from parts", "select * from parts_a", "truncate parts",
        "insert into parts values (1, 'b')",
    ),
    "prepared and cursors in SQL": sql(
        "prepare p (int) as select name from people where id = $1", "execute p (2)", "deallocate p", "begin",
        "declare c scroll cursor for select id from people order by id", "fetch 2 from c", "move absolute 0 in c",
        "fetch all from c", "close c", "commit",
    ),
    "settings": sql("set timezone to 'Asia/Tokyo'", "show timezone", "reset all", "show pgguard.reason", "show transaction_isolation"),
    "what newer versions know": sql(
        "truncate parts", "merge into parts using (values (7)) v(n) on id = n when not matched then insert values (n, 'a')",
        "select json_array(1, 2)", "select * from json_table('[1]', '$[*]' columns (a int path '$'))",
        "select any_value(id) is not null from people", "select uuidv7() is null", "select date_bin('1 day', now(), now()) is null",
        "update people set name = name where id = 1 returning old.name, new.name", "select '{\"a\": 1}'::jsonb['a']", "create temp table v (a int, b int generated always as (a) virtual)",
        "select unistr('x')", "vacuum (verbose off) people", "select pg_catalog.pg_input_is_valid('1', 'int4')",
        "select string_agg(name, ',' order by id) within group (order by id) from people", "select 1 where 'a' similar to 'a'",
        "select range_agg(r) from (values (int4range(1, 2))) v(r)", "select normalize('a')", "select array_shuffle(array[1])",
    ),
    "anonymous code and notices": sql("do $$ begin raise notice 'told'; end $$", "do $$ begin raise exception 'no'; end $$"),
    "extended": extended, "pipeline": pipeline, "copy": copy, "cursors": cursors,
}  # fmt: skip

READ_OTHERWISE = {"select 1_000": 16, "select 0x1F": 16, "select 1from people": 15, "select system_user is null": 16}
"""What the parser of PostgreSQL 18 reads otherwise than a server before this version."""


WITHOUT_TYPES = (b"json_array(integer, integer)", b"json_array")
"""Syntax to the parser, an unknown function to a server before 16: pgguard has no argument types to write there."""


@pytest.mark.parametrize("step", STEPS)
def test_a_version_answers_as_without_pgguard(direct: psycopg.Connection, through: psycopg.Connection, step: str):
    expected = STEPS[step](direct)
    assert STEPS[step](through) == _without_types(expected)


def _without_types(answer: Any) -> Any:
    if isinstance(answer, bytes):
        return answer.replace(*WITHOUT_TYPES)
    if isinstance(answer, list | tuple):
        return type(answer)(_without_types(one) for one in answer)
    return answer


def test_a_column_is_refused_in_each_version(through: psycopg.Connection):
    for statement in (
        "select secret from people", "select * from people", "select p from people p", "table people",
        "copy people to stdout", "update people set secret = ''", "select to_json(people) from people",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="people"):
            through.execute(statement)
    assert through.execute("select count(id) from people where id = %s", (1,)).fetchone() == (1,)


@pytest.mark.parametrize("statement", READ_OTHERWISE)
def test_what_a_version_reads_otherwise_runs_nowhere_otherwise(
    version: Lab, direct: psycopg.Connection, through: psycopg.Connection, statement: str
):
    """It is refused where it would mean another thing: 1_000 is a number and an alias before 15."""
    expected, seen = sql(statement)(direct), sql(statement)(through)
    if version.postgres.version >= READ_OTHERWISE[statement]:
        assert seen == expected
    else:
        status, _, rows, _ = seen[0]
        assert (status, rows) == (psycopg.pq.ExecStatus.FATAL_ERROR, [])


@pytest.mark.parametrize("command", [r"\d+ people", r"\d parts", r"\dt", r"\df twice", r"\dT", r"\dn", r"\du", r"\l"])
def test_psql_describes_each_version(version: Lab, command: str):
    words = ["psql", "-X", "-c", command]
    seen = subprocess.run(
        words,
        env={**os.environ, **version.environment("alice")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    expected = subprocess.run(
        [*words, version.postgres.dsn("shop", "alice")], capture_output=True, text=True, check=False, timeout=60
    )
    assert seen.stdout == expected.stdout
    # a column that this psql knows and a newer server has no more: the server adds a hint
    assert seen.stderr.split("\n")[:3] == expected.stderr.split("\n")[:3]
