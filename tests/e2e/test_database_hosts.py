"""Several database hosts: a primary and its hot standby, and where sessions go by `[database] session`."""

import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.ports import free_port
from pgguard.lab.postgres import ACCOUNT, Postgres
from pgguard.lab.process import own_folder, run
from pgguard.lab.proxy import Proxy, override, to_toml
from tests.e2e.psql import psql_with

pytestmark = pytest.mark.slow

PRIMARY, STANDBY = "127.0.0.1", "127.0.0.2"
RULES = """
rules:
  - {name: everything, who: everyone, allow: all, on: {any: "*"}}
"""
WHERE = "select pg_is_in_recovery()"
WRITE = "insert into notes values ('written')"


class Pair:
    """The servers, and what a statement of alice's gives through a proxy with settings of its own."""

    def __init__(self, lab: Lab, standby: Postgres, folder: Path, stack: ExitStack) -> None:
        self.lab = lab
        self.standby = standby
        self._folder = folder
        self._stack = stack
        self._environment = lab.environment("alice")

    def through(self, session: str, *hosts: str) -> Callable[..., str]:
        folder = self._folder / f"{session}-{len(list(self._folder.iterdir()))}"
        folder.mkdir()
        port = free_port()
        sections = tomllib.loads(self.lab.config.read_text())
        override(
            sections,
            [f"listen.port={port}", f"database.host={list(hosts)}", f"database.session={session}",
             f"audit.path={folder / 'audit.jsonl'}"],
        )  # fmt: skip
        config = folder / "pgguard.toml"
        config.write_text(to_toml(sections))
        proxy = Proxy(config, port, self.lab.realm.environment(), tied=True)
        self._stack.callback(proxy.stop)
        proxy.start()

        def ask(*statements: str) -> str:
            done = psql_with({**self._environment, "PGPORT": str(port)}, *statements)
            return done.stdout + done.stderr

        return ask


@pytest.fixture
def pair(servers: Path) -> Iterator[Pair]:
    folder = servers / "pair"
    (folder / "rules").mkdir(parents=True)
    (folder / "rules" / "rules.yaml").write_text(RULES)
    (folder / "schema.sql").write_text("create table notes (note text);\n")
    (folder / "proxies").mkdir()
    with ExitStack() as stack:
        plan = Plan(folder / "lab", sql=(folder / "schema.sql",), rules=folder / "rules", proxy=False)
        lab = stack.enter_context(Lab(plan))
        place = own_folder(servers / "standby", ACCOUNT)
        primary = lab.postgres
        where = ["-h", primary.folder, "-p", str(primary.port), "-U", primary.superuser]
        copying = ["-D", place / "data", "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        run([primary.binaries / "pg_basebackup", *where, *copying], account=ACCOUNT, cwd=place)
        standby = Postgres(place, primary.binaries, host=STANDBY, port=primary.port)
        stack.enter_context(standby)
        yield Pair(lab, standby, folder / "proxies", stack)


def test_sessions_go_to_the_host_that_serves_them_and_over_to_the_next(pair: Pair):
    anywhere = pair.through("any", STANDBY, PRIMARY)
    assert anywhere(WHERE) == "t\n"
    assert "25006: cannot execute INSERT in a read-only transaction" in anywhere(WRITE), "the standby's own error"
    writing = pair.through("read-write", STANDBY, PRIMARY)
    assert writing(WHERE, WRITE) == "f\nINSERT 0 1\n", "a standby takes no writes: the next host does"

    pair.lab.postgres.stop()
    assert anywhere(WHERE) == "t\n"
    assert "FATAL:  the database does not answer pgguard" in writing(WHERE)
    pair.standby.run("select pg_promote()")
    assert writing(WHERE, WRITE) == "f\nINSERT 0 1\n"
    assert pair.through("read-write", PRIMARY, STANDBY)(WRITE) == "INSERT 0 1\n", "the dead host is passed over"
