"""The Grafana dashboard asks for metrics that there are, by labels that they have."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "pgguard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
_OF_PROMETHEUS = {"instance", "le"}


def _metrics() -> set[str]:
    """What the code gives names to: the first argument of `gauge`, `counter` and `Family`, with a histogram's suffixes."""
    names = set()
    for path in (ROOT / "pgguard" / "runtime").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            match call:
                case ast.Call(func=ast.Name("gauge" | "counter"), args=[ast.Constant(str() as name), *_]):
                    names.add(f"pgguard_{name}")
                case ast.Call(func=ast.Name("Family"), args=[ast.Constant(str() as name), ast.Constant(kind), *_]):
                    suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
                    names |= {f"pgguard_{name}{suffix}" for suffix in suffixes}
    return names


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_panel_asks_for_metrics_that_there_are(expression: str):
    asked = set(re.findall(r"\bpgguard_\w+", expression))
    assert asked
    assert asked <= _metrics()


def test_every_metric_that_is_documented_has_its_panel():
    described = (ROOT / "docs" / "operations.md").read_text()
    table = described[described.index("| metric") : described.index("Worth an alarm")]
    named = {
        name.partition("{")[0]
        for name in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)[2:]
        for name in re.findall(r"`([^`]*)`", name)
    }
    shown = " ".join(EXPRESSIONS)
    assert [name for name in sorted(named - {"directory_push"}) if f"pgguard_{name}" not in shown] == []


def test_labels_are_those_of_the_table():
    described = (ROOT / "docs" / "operations.md").read_text()
    labels = {label for names in re.findall(r"`\w+\{([\w,]+)\}`", described) for label in names.split(",")}
    asked = {label for by in re.findall(r"by \(([\w, ]+)\)", " ".join(EXPRESSIONS)) for label in by.split(", ")}
    assert asked - _OF_PROMETHEUS <= labels


def test_panels_do_not_overlap():
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(places) == len(set(places))
