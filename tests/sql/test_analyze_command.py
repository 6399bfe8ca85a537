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
        b"", b"garbage", b"[]", b'{"sql": 5}', b'{"nosql": "x"}', b'{"sql": "select \xff"}', b'{"sql": "select \\ud800"}',
        {"sql": "selec"}, {"sql": "select \0"}, {"sql": "select id from nowhere"}, {"sql": "select 1", "search_path": "app"},
        {"sql": "select " + "1+" * 30_000 + "1"}, {"sql": "select 1 " + "union select 1 " * 20_000},
        {"sql": "select 1" + "::int" * 40_000}, {"sql": "select " + "1+" * 4_900 + "1"},
        {"sql": "select " + "not " * 4_800 + "true"}, {"sql": "select " + "(" * 20_000 + "1" + ")" * 20_000},
    ],
    ids=range(17),
)  # fmt: skip
def test_an_odd_line_is_answered_with_an_error(odd: bytes | dict[str, Any], analyzer: Analyzer) -> None:
    """Bytes that are no UTF-8 ended the whole process."""
    assert "error" in analyzer.ask(odd)
    assert "statements" in analyzer.ask({"sql": "select 1"})


def test_fresh_sees_what_was_altered_since(dsn: str, analyzer: Analyzer) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for column in ("a", "b"):
            connection.execute(f"drop table if exists s.t; create table s.t ({column} int)".encode())
            answer = analyzer.ask({"sql": "select * from t", "search_path": ["s"], "fresh": True})
            assert answer["statements"][0]["relations"] == [
                {"schema": "s", "name": "t", "privileges": {"select": [column]}}
            ]


@pytest.mark.parametrize("path", [["$user"], ["nowhere", "$user", "s"]])
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
