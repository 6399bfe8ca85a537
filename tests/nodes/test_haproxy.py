"""Two nodes behind the HAProxy of deploy/: sessions spread, and what one node knows counts on the other."""

import json
import re
import socket
import subprocess
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pgguard.lab.lab import Lab, Plan
from pgguard.lab.ports import accepts, free_port
from pgguard.lab.process import Process, find_program
from pgguard.lab.proxy import Proxy, to_toml
from tests.e2e.psql import psql_with

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BALANCER = "127.0.0.8"
_RULES = """
rules:
  - name: only-from-where-people-sit
    who: {group: dba}
    allow: [read, write]
    on: sales.*
    when: {from: 127.0.0.1/32}
  - {name: patience, who: {group: dba}, allow: execute, on: {function: pg_catalog.pg_sleep}}
  - {name: write, who: {group: writers}, allow: [read, write], on: sales.*}
  - {name: a-dba, who: {group: writers}, hold: delete, on: sales.orders, approvers: {group: dba}}
"""


@dataclass(frozen=True)
class Nodes:
    lab: Lab
    port: int
    proxies: tuple[Proxy, Proxy]
    metrics: tuple[int, int]
    audits: tuple[Path, Path]

    def environment(self, user: str) -> dict[str, str]:
        return {**self.lab.environment(user), "PGPORT": str(self.port)}

    def metric(self, node: int, name: str) -> str:
        with urllib.request.urlopen(f"http://localhost:{self.metrics[node]}/metrics") as page:
            return re.search(rf"^pgguard_{name}(?:\{{.*\}})? .*$", page.read().decode(), re.MULTILINE)[0]

    def sessions(self) -> list[str]:
        return [self.metric(node, "sessions").split()[-1] for node in (0, 1)]

    def records(self, node: int) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.audits[node].read_text().splitlines()]


def _haproxy_config(text: str, front: int, proxies: tuple[Proxy, Proxy], metrics: tuple[int, int]) -> str:
    """The shipped file with this test's ports, and the address by which nodes know the balancer."""
    text = text.replace("bind :6432", f"bind 127.0.0.1:{front}")
    for name, number in (("one", 0), ("two", 1)):
        own = f"127.0.0.1:{proxies[number].port} source {BALANCER} port {metrics[number]}"
        text, replaced = re.subn(rf"(server {name}) .*", rf"\1 {own}", text)
        assert replaced == 1
    return text


@pytest.fixture(scope="module")
def nodes(servers: Path) -> Iterator[Nodes]:
    folder = servers / "nodes"
    rules = folder / "own-rules"
    rules.mkdir(parents=True)
    (rules / "rules.yaml").write_text(_RULES)
    ports, metrics, front = (free_port(), free_port()), (free_port(), free_port()), free_port()
    addresses = {str(number): f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(Plan(folder / "lab", rules=rules, proxy=False)))
        lab.postgres.run("create database holds")
        shared = tomllib.loads(lab.config.read_text())
        proxies, audits = [], []
        for number, port in enumerate(ports, 1):
            audits.append(folder / f"audit-{number}.jsonl")
            own = {
                "listen": {"host": "127.0.0.1", "port": port, "proxy_from": [f"{BALANCER}/32"]},
                "peers": {"node": number, "addresses": addresses},
                "holds": {"store": "postgres", "dsn": lab.postgres.dsn("holds"), "node": f"node-{number}"},
                "metrics": {"host": "localhost", "port": metrics[number - 1]},
                "audit": {"path": audits[-1]},
            }
            config = folder / f"node-{number}" / "pgguard.toml"
            config.parent.mkdir()
            config.write_text(to_toml({**shared, **own}))
            proxy = Proxy(config, port, lab.realm.environment(), tied=True)
            stack.callback(proxy.stop)
            proxy.start()
            proxies.append(proxy)
        config = folder / "haproxy.cfg"
        shipped = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()
        config.write_text(_haproxy_config(shipped, front, (proxies[0], proxies[1]), metrics))
        balancer = Process(
            "HAProxy", [find_program("haproxy", "haproxy"), "-db", "-f", config], log=folder / "haproxy.log"
        )
        stack.callback(balancer.stop)
        balancer.wait_until(lambda: accepts("127.0.0.1", front))
        yield Nodes(lab, front, (proxies[0], proxies[1]), metrics, (audits[0], audits[1]))


@pytest.fixture
def connect(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], psycopg.Connection]]:
    """Sessions of dora's through the balancer."""
    for name in ("KRB5_CONFIG", "KRB5CCNAME"):
        monkeypatch.setenv(name, nodes.environment("dora")[name])
    where = {"host": "localhost", "port": nodes.port, "dbname": "shop", "user": "dora", "gssencmode": "require"}
    with ExitStack() as stack:
        yield lambda: stack.enter_context(psycopg.connect(**where, autocommit=True))


def _eventually(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sessions_spread_and_each_comes_from_its_clients_address(nodes: Nodes, connect):
    for _ in range(4):
        assert connect().execute("select count(*) > 0 from sales.orders").fetchone() == (True,)
    assert nodes.sessions() == ["2", "2"]
    for node in (0, 1):
        started = [record["address"] for record in nodes.records(node) if record["type"] == "session-start"]
        assert started == ["127.0.0.1"] * len(started) != []


def test_who_comes_around_the_balancer_tells_no_address(nodes: Nodes):
    with socket.create_connection(("127.0.0.1", nodes.proxies[0].port)) as client:
        client.sendall(b"\r\n\r\n\0\r\nQUIT\n" + bytes.fromhex("2111000c0a0000010a00000200010002"))
        assert client.recv(1) == b""
    assert "sent a PROXY header; [listen] proxy_from does not list it" in nodes.proxies[0].log.read_text()


def test_a_cancel_request_reaches_the_session_on_whichever_node_it_lands(nodes: Nodes, connect):
    """A session on each node, while two others keep the balancer's count even: of any two requests one lands wrong."""
    sessions = [connect() for _ in range(4)]
    assert nodes.sessions() == ["2", "2"]
    with ThreadPoolExecutor() as pool:
        for cancel in (psycopg.Connection.cancel, psycopg.Connection.cancel_safe):  # in clear, and encrypted
            for session in sessions:
                asleep = pool.submit(session.execute, "select pg_sleep(60)")
                _eventually(lambda: nodes.lab.postgres.run(_ASLEEP).strip() == "1")
                cancel(session)
                with pytest.raises(psycopg.errors.QueryCanceled):
                    asleep.result(timeout=20)
                _eventually(lambda: nodes.sessions() == ["2", "2"])


_ASLEEP = "select count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'"


def test_a_hold_on_one_node_is_approved_on_the_other(nodes: Nodes):
    def console(command: str) -> subprocess.CompletedProcess[str]:
        return psql_with(nodes.environment("dora"), command, PGDATABASE="pgguard")

    with ThreadPoolExecutor() as pool:
        asked = pool.submit(psql_with, nodes.environment("bob"), "delete from sales.orders where id = -1")
        _eventually(lambda: asked.done() or console("show holds").stdout)
        assert not asked.done(), asked.result()
        shown = [console("show holds").stdout.split("|")[0] for _ in range(2)]
        assert shown[0] == shown[1] != "", "both nodes show it"
        assert "goes on" in console(f"approve {shown[0]} 'fine'").stderr
        assert asked.result(timeout=30).stdout == "DELETE 0\n"


def test_drift_of_rules_shows_in_the_metrics(nodes: Nodes):
    assert nodes.metric(0, "rules_info") == nodes.metric(1, "rules_info") != ""
    assert "identity=" in nodes.metric(0, "rules_info")


def test_a_node_that_ends_gets_no_more_sessions(nodes: Nodes, connect):
    """Last: it ends one.

    HAProxy asks for the nodes' health every two seconds and has not noticed: it used to try the ended node again until
    it had, and then to end the session it was trying for.
    """
    nodes.proxies[0].stop()
    for _ in range(3):
        assert connect().execute("select count(*) > 0 from sales.orders").fetchone() == (True,)
    assert nodes.metric(1, "sessions").split()[-1] == "3"
