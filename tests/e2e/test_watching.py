"""What Prometheus and a balancer see, while real psql sessions run and a real directory fails."""

import resource
import shutil
import socket
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgguard.lab.lab import Lab
from pgguard.lab.ports import free_port
from pgguard.lab.terminal import PSQL, Terminal
from pgguard.runtime.metrics import Histogram, Metrics, exposition, labelled
from tests.e2e.psql import run_psql

OwnLab = Callable[..., Lab]


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _samples(page: str) -> dict[str, float]:
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_statements_are_counted_by_decision_and_rule_and_a_lost_directory_shows(own_lab: OwnLab):
    port = free_port()
    lab = own_lab(f"metrics.port={port}", "directory.refresh=0.2", "directory.timeout=1")
    assert _get(port, "/healthz") == (200, "ok\n")
    assert _get(port, "/readyz") == (200, "ready\n")
    run_psql(lab, "alice", "select count(*) from sales.orders", "select card_number from sales.customers")
    seen = _samples(_get(port, "/metrics")[1])
    assert seen['pgguard_statements_total{effect="allow"}'] == 1
    assert seen['pgguard_statements_total{effect="deny"}'] == 1
    assert seen["pgguard_decision_seconds_count"] == 2
    assert any(name.startswith("pgguard_rule_decisions_total") and 'effect="allow"' in name for name in seen)
    assert seen["pgguard_directory_up"] == 1
    with Terminal(PSQL, lab.environment("alice")) as terminal:
        terminal.until_prompt()
        seen = _samples(_get(port, "/metrics")[1])
        assert seen["pgguard_sessions"] == 1
        assert seen['pgguard_catalog_age_seconds{database="shop"}'] < 60, "of a database that has sessions"
        lab.slapd.stop()
        while _get(port, "/readyz")[0] == 200:  # bounded: the directory is asked each 0.2 s
            terminal.enter("select 1;")
    code, why = _get(port, "/readyz")
    assert code == 503
    assert "the directory does not answer" in why
    assert _samples(_get(port, "/metrics")[1])["pgguard_directory_up"] == 0
    assert _get(port, "/elsewhere")[0] == 404


def test_a_value_on_a_bound_belongs_to_that_bound():
    histogram = Histogram()
    for seconds in (0.0001, 0.00011, 20.0):
        histogram.observe(seconds)
    buckets = {labels: value for suffix, labels, value in histogram.samples() if suffix == "_bucket"}
    assert [buckets[labelled(le=bound)] for bound in ("0.0001", "0.00025", "10.0", "+Inf")] == [1, 2, 2, 3]


def test_a_page_of_a_fresh_start_names_every_effect():
    page = exposition(Metrics().families())
    assert "# TYPE pgguard_decision_seconds histogram\n" in page
    assert 'pgguard_statements_total{effect="hold"} 0\n' in page


# strangers: whoever reaches the port

_FILES = 200
"""That the proxy may have open: a service manager allows more, which a crowd only has to be larger for."""


@contextmanager
def _crowd(port: int, size: int) -> Iterator[None]:
    """So many connections at a time, each with half a request; for each that ends, or is the oldest, a new one comes."""
    there = threading.Event()
    enough = threading.Event()

    def come_and_go() -> None:
        crowd: deque[socket.socket] = deque()
        while not enough.is_set():
            if len(crowd) == size:
                there.set()
                crowd.popleft().close()
            one = socket.socket()
            try:
                one.settimeout(10)
                one.connect(("127.0.0.1", port))
                one.sendall(b"GET /metr")
                crowd.append(one)
            except OSError:
                one.close()
        for one in crowd:
            one.close()

    coming = threading.Thread(target=come_and_go)
    coming.start()
    try:
        assert there.wait(60)
        yield
    finally:
        enough.set()
        coming.join()


def test_a_crowd_that_asks_nothing_takes_nobodys_place(own_lab: OwnLab):
    """Each was kept for five seconds, however many they were: until no client could connect, and /healthz was silent."""
    port = free_port()
    lab = own_lab(f"metrics.port={port}")
    resource.prlimit(lab.proxy.pid, resource.RLIMIT_NOFILE, (_FILES, _FILES))
    with _crowd(port, 2 * _FILES):
        for _ in range(5):
            assert _get(port, "/healthz") == (200, "ok\n")
            told = run_psql(lab, "alice", "select count(*) from sales.orders where id < 0")
            assert (told.stdout, told.stderr) == ("0\n", "")


def _send(connection: socket.socket, what: bytes, pause: float) -> None:
    """Again and again, until the other end has closed; a bounded number of times."""
    waiting = threading.Event()
    for _ in range(1000):
        connection.sendall(what)
        waiting.wait(pause)


def test_a_request_without_an_end_is_cut_short(own_lab: OwnLab):
    port = free_port()
    own_lab(f"metrics.port={port}")
    with socket.create_connection(("localhost", port), timeout=60) as endless:
        endless.sendall(b"GET /metrics HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            _send(endless, b"X-And: so on\r\n" * 1000, 0)
    assert _get(port, "/healthz") == (200, "ok\n")


def test_an_answer_that_nobody_takes_is_not_kept(own_lab: OwnLab, tmp_path: Path):
    """It stayed in the process's memory, with its connection, for as long as the other end liked."""
    rules = tmp_path / "rules"
    shutil.copytree("rules", rules)
    many = [f"  - {{name: {'many-' * 30}{n}, who: everyone, allow: select, on: sales.orders}}" for n in range(1000)]
    (rules / "many.yaml").write_text("\n".join(["rules:", *many]))
    port = free_port()
    lab = own_lab(f"metrics.port={port}", rules=rules)
    run_psql(lab, "alice", "select count(*) from sales.orders")
    assert len(_get(port, "/metrics")[1]) > 150_000, "more than the kernel takes for a client like this one"
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        lazy.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 500)  # and the other end's buffer is small as well
        lazy.connect(("127.0.0.1", port))
        lazy.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionError):
            _send(lazy, b".", 0.05)


def test_nothing_that_clients_choose_is_a_label(own_lab: OwnLab):
    """A page with a line for each user or statement would grow with them."""
    port = free_port()
    lab = own_lab(f"metrics.port={port}")

    def visit(user: str, number: int) -> None:
        told = (
            f"select {number}",
            f"select id as c{number} from sales.orders",
            f"selekt {number}",
            "select * from hr.x",
        )
        run_psql(lab, user, *told, PGAPPNAME=f"application {number}")
        run_psql(lab, user, "select 1", PGDATABASE=f"database_{number}")
        run_psql(lab, user, "select 1", PGUSER=f"somebody_{number}")

    visit("alice", 1)
    before = set(_samples(_get(port, "/metrics")[1]))
    for number, user in enumerate(("alice", "bob", "carol"), start=2):
        visit(user, number)
    assert {name for name in _samples(_get(port, "/metrics")[1]) if "rule=" not in name} <= before
