"""The sums of docs/scaling.md are those of its one table of figures: whoever puts others there sees what changes."""

import re
from math import ceil
from pathlib import Path

import pytest

_PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
_MILLION = 1_000_000
_DAY = 86_400


def _rows(heading: str) -> dict[str, list[str]]:
    """Of the first table behind a heading: its first column to the others."""
    table = _PAGE.partition(heading)[2].partition("\n\n|")[2].partition("\n\n")[0]
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


def _number(text: str) -> float:
    return float(re.sub(r"[^0-9.]", "", text))


_FIGURES = {name: _number(row[0]) for name, row in _rows("## How many nodes").items()}

CORES = _FIGURES["cores of a node"]
USE = _FIGURES["use of a core"] / 100
STATEMENT = _FIGURES["processor for a statement"] * (1 + _FIGURES["more of it with several workers"] / 100) / _MILLION
LOGIN = _FIGURES["processor for a login"] / _MILLION
LOCK = 2 * _FIGURES["lock of the audit for a record"] / _MILLION
PROCESSES = (CORES + 1) * _FIGURES["memory of a process"] * 1e6
SESSION = _FIGURES["memory for a session"] * 1e3
AUDIT = _FIGURES["audit for a statement"] * 1e3
PORTS = _FIGURES["outgoing ports"]
RATE = round(CORES * USE / round(STATEMENT, 6))


def test_one_node():
    told = {name: _number(row[-1]) for name, row in _rows("### One node").items()}
    assert told == {
        "processor for a statement, several workers": round(STATEMENT * _MILLION),
        "statements a second": RATE,
        "statements a second that the audit's lock allows, however many workers": round(1 / LOCK),
        "workers that it pays to have": int(1 / LOCK * STATEMENT / USE),
        "sessions by ports": PORTS,
        "sessions by processor, one statement in 10 s each": RATE * 10,
        "sessions by processor, one statement a second each": RATE,
        "sessions by memory of 16 GB": int((16e9 - PROCESSES) / SESSION),
        "logins a second": round(CORES * USE / LOGIN),
    }


@pytest.mark.parametrize(("column", "each"), [(0, 0.1), (1, 1.0)])
def test_a_million_sessions(column: int, each: float):
    told = {name: _number(row[column]) for name, row in _rows("### A million sessions").items()}
    by_ports, by_processor = ceil(_MILLION / PORTS), ceil(_MILLION * each / RATE)
    nodes = max(by_ports, by_processor)
    sessions = _MILLION / nodes
    rate = sessions * each
    assert told == {
        "statements a second": _MILLION * each,
        "nodes by ports": by_ports,
        "nodes by processor": by_processor,
        "nodes": nodes,
        "sessions a node": round(sessions),
        "statements a second and node": round(rate),
        "cores busy of 8": round(rate * STATEMENT, 1),
        "audit's lock taken": round(rate * LOCK * 100),
        "memory a node": round((PROCESSES + sessions * SESSION) / 1e9, 1),
        "audit a second and node": round(rate * AUDIT / 1e6, 1),
        "audit a day and node, before compression": round(rate * AUDIT * _DAY / 1e9),
        "processor to let a lost node's sessions in again": round(sessions * LOGIN),
    }
