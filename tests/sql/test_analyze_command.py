"""`pgguard analyze --jsonl`: each line is answered by one line, whatever it holds."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgguard.lab.postgres import Postgres


class Analyzer:
    def __init__(self, dsn: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pgguard", "analyze", "--jsonl", "--dsn", dsn],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, question: bytes | dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write((question if isinstance(question, bytes) else json.dumps(question).encode()) + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> int:
        self._process.communicate()
        return self._process.returncode


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> str:
    postgres.run("create database asked")
    postgres.run("create schema postgres; create schema s; create table postgres.own (id int)", "asked")
    postgres.run("create function s.f(int, variadic text[]) returns int language sql as 'select 1'", "asked")
    return postgres.dsn("asked")


@pytest.fixture(scope="module")
def analyzer(dsn: str) -> Iterator[Analyzer]:
    """Ends well whatever was asked: no question may end the process."""
    analyzer = Analyzer(dsn)
    yield analyzer
    assert analyzer.close() == 0


@pytest.mark.parametrize(
    "odd",
    [
        b"", b"garbage", b"[]", b"null", b"7", b'{"sql": 5}', b'{"sql": null}', b'{"nosql": "x"}', b'{"sql": "select \xff"}',
        b'{"sql": "select \\ud800"}', b"[" * 20_000, b'{"sql": "select 1", "fresh": "yes"}', b"\0\0",
        b'{"sql": "select 1", "search_path": [1]}', {"sql": "selec"}, {"sql": "select \0"}, {"sql": "select id from nowhere"},
        {"sql": "select 1", "search_path": "app"}, {"sql": "select " + "1+" * 30_000 + "1"},
        {"sql": "select 1 " + "union select 1 " * 20_000}, {"sql": "select 1" + "::int" * 40_000},
        {"sql": "select " + "(" * 10_000 + "1" + ")" * 10_000},
    ],
    ids=range(22),
)  # fmt: skip
def test_an_odd_line_is_answered_with_an_error(odd: bytes | dict[str, Any], analyzer: Analyzer) -> None:
    """Bytes that are no UTF-8 ended the whole process."""
    assert "error" in analyzer.ask(odd)
    assert "statements" in analyzer.ask({"sql": "select 1"})


@pytest.mark.parametrize(
    "large",
    ["select " + "1+" * 4_900 + "1", "select " + "not " * 4_800 + "true", "select id from own where id in (" + ", ".join(f"'{n:06}'" for n in range(20_000)) + ")"],
    ids=("left", "right", "200 kB"),
)  # fmt: skip
def test_a_large_statement_is_analysed_apart(large: str, analyzer: Analyzer) -> None:
    """In a process of its own, with room for its depth."""
    (facts,) = analyzer.ask({"sql": large, "search_path": ["postgres"]})["statements"]
    assert facts["opaque"] is None


def test_the_answer_is_as_documented(analyzer: Analyzer) -> None:
    question = {
        "sql": "with x as (insert into own values (1) returning id) select count(*), s.f(1, 'a', 'b') from own; set work_mem = 1",
        "search_path": ["postgres"],
    }
    assert analyzer.ask(question) == {
        "statements": [
            {
                "kind": "SELECT",
                "relations": [
                    {"schema": "postgres", "name": "own", "privileges": {"insert": ["id"], "select": ["id"]}}
                ],
                "functions": ["pg_catalog.count()", "s.f(integer, text[])"],
                "settings": [],
                "other": [],
                "opaque": None,
            },
            {"kind": "SET", "relations": [], "functions": [], "settings": ["work_mem"], "other": [], "opaque": None},
        ]
    }


def test_a_select_on_no_column_is_an_empty_list(analyzer: Analyzer) -> None:
    (facts,) = analyzer.ask({"sql": "select count(*) from postgres.own"})["statements"]
    assert facts["relations"] == [{"schema": "postgres", "name": "own", "privileges": {"select": []}}]


FRESH = (
    ("create table s.t (a int)", "select * from t", {"select": ["a"]}),
    ("alter table s.t add b int", "select * from t", {"select": ["a", "b"]}),
    ("alter table s.t rename a to c", "select * from t", {"select": ["b", "c"]}),
    ("alter table s.t drop b", "select * from t", {"select": ["c"]}),
    ("drop table s.t; create table s.t (z int)", "select * from t", {"select": ["z"]}),
    ("create view s.v with (security_invoker) as select z + 1 as y from s.t", "select y from v", {"select": ["z"]}),
    ("alter table s.t rename to u", "select y from v", {"select": ["z"]}),
    ("drop view s.v; create table s.t (id int)", "select * from t", {"select": ["id"]}),
)


@pytest.mark.parametrize("lost", [False, True], ids=("", "lost-connection"))
def test_fresh_sees_what_was_altered_since(dsn: str, analyzer: Analyzer, *, lost: bool) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("drop schema s cascade; create schema s")
        for change, sql, privileges in FRESH:
            if lost:
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
                )
            connection.execute(change.encode())
            answer = analyzer.ask({"sql": sql, "search_path": ["s"], "fresh": True})
            found = [r for r in answer["statements"][0]["relations"] if r["name"] in {"t", "u"}]
            assert [r["privileges"] for r in found] == [privileges], change


def test_fresh_sees_functions_types_and_operators(dsn: str, analyzer: Analyzer) -> None:
    def functions(sql: str) -> list[str]:
        found: list[str] = analyzer.ask({"sql": sql, "search_path": ["n"], "fresh": True})["statements"][0]["functions"]
        return found

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create schema n; create function n.g(numeric) returns int language sql as 'select 1'")
        assert functions("select g(1)") == ["n.g(numeric)"]
        connection.execute("create function n.g(int) returns int language sql as 'select 1'")
        assert functions("select g(1)") == ["n.g(integer)"]
        connection.execute("drop function n.g(int)")
        assert functions("select g(1)") == ["n.g(numeric)"]
        connection.execute(
            "create type n.a as (x int); create function n.h(n.a) returns int language sql as 'select 1'"
        )
        assert functions("select h(row(1)::n.a)") == ["n.h(n.a)"]
        connection.execute("alter type n.a rename to b")
        assert functions("select h(row(1)::n.b)") == ["n.h(n.b)"]
        connection.execute("alter schema n rename to m; create schema n")
        assert functions("select m.h(row(1)::m.b)") == ["m.h(m.b)"]


def test_a_database_that_is_gone_is_an_error_and_its_return_none(postgres: Postgres) -> None:
    postgres.run("create database gone")
    analyzer = Analyzer(postgres.dsn("gone"))
    assert "statements" in analyzer.ask({"sql": "select 1", "fresh": True})
    postgres.run("drop database gone with (force)")
    assert "cannot load the catalog anew" in analyzer.ask({"sql": "select 1", "fresh": True})["error"]
    assert "statements" in analyzer.ask({"sql": "select 1"})
    postgres.run("create database gone")
    assert "statements" in analyzer.ask({"sql": "select 1", "fresh": True})
    assert analyzer.close() == 0


def test_an_unknown_role_is_said_in_a_line(postgres: Postgres) -> None:
    dsn = f"postgresql://nobody@localhost:{postgres.port}/postgres"
    done = subprocess.run(
        [sys.executable, "-m", "pgguard", "analyze", "--jsonl", "--dsn", dsn],
        input=b"",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.decode() == 'Error: cannot ask the database: role "nobody" does not exist\n'


@pytest.mark.parametrize("path", [["$user"], ["nowhere", "$user", "s"], ["a\0b", '"', "$user"]])
def test_a_path_is_read_as_the_server_reads_it(path: list[str], analyzer: Analyzer) -> None:
    """`$user` was taken for a schema of that name, and a schema that does not exist for the one to create in."""
    (read,) = analyzer.ask({"sql": "select id from own", "search_path": path})["statements"]
    assert [(r["schema"], r["name"]) for r in read["relations"]] == [("postgres", "own")]
    (made,) = analyzer.ask({"sql": "create table made (id int)", "search_path": path})["statements"]
    assert [(r["schema"], r["name"]) for r in made["relations"]] == [("postgres", "made")]


def test_reset_role_becomes_the_login(analyzer: Analyzer) -> None:
    assert analyzer.ask({"sql": "reset role"})["statements"][0]["other"] == [
        {"privilege": "become", "kind": "role", "object": "postgres"}
    ]
