"""What Prometheus and a balancer see, while real psql sessions run and a real directory fails."""

import urllib.error
import urllib.request
from collections.abc import Callable

from pgguard.lab.lab import Lab
from pgguard.lab.ports import free_port
from pgguard.lab.terminal import PSQL, Terminal
from pgguard.runtime.metrics import Histogram, Metrics, exposition
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
    buckets = {labels["le"]: value for suffix, labels, value in histogram.samples() if suffix == "_bucket"}
    assert (buckets["0.0001"], buckets["0.00025"], buckets["10.0"], buckets["+Inf"]) == (1, 2, 2, 3)


def test_a_page_of_a_fresh_start_names_every_effect():
    page = exposition(Metrics().families())
    assert "# TYPE pgguard_decision_seconds histogram\n" in page
    assert 'pgguard_statements_total{effect="hold"} 0\n' in page
