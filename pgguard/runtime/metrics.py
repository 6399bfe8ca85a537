"""What an operator watches: counters that the statements' way adds to, and the page on which Prometheus reads them.

The page is text in Prometheus' exposition format 0.0.4. Counters are kept here; what other rooms know anyway (caches,
directory, catalogs, rules) is read from them when the page is asked for, so that a statement pays for three additions.
The page is made where statements are judged, and may have a line for each of ten thousand rules: labels are text from
the beginning, written once.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from pgguard.model.decision import Decision, Effect

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0, 10.0)
"""Seconds: a known statement takes a fraction of the first ones, one that waits for the catalog the last."""

_WAITS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Seconds that people take."""

ENDINGS = ("approved", "refused", "expired", "withdrawn")
"""How the waiting for people ends: `withdrawn` where the client, or pgguard's end, has ended it."""

_SETS = 256
"""Different sets of rules that are counted as such, before they are taken apart."""

Across = Literal["sum", "max", "min"]


class Family(msgspec.Struct, frozen=True):
    """One metric with its samples. `name` is without the prefix `pgguard_`; `across`: how several workers' are one."""

    name: str
    kind: str
    help: str
    samples: tuple[tuple[str, str, float], ...]
    """Suffix of the name, labels as the page has them (`labelled`), value."""
    across: Across = "sum"


class Histogram:
    def __init__(self, bounds: tuple[float, ...] = _BUCKETS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def samples(self, **labels: str) -> Iterator[tuple[str, str, float]]:
        reached = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            reached += count
            yield "_bucket", labelled(**labels, le=bound), reached
        yield "_sum", labelled(**labels), self._sum
        yield "_count", labelled(**labels), reached


class Metrics:
    """What one process has counted since its start."""

    def __init__(self) -> None:
        self._effects: Counter[Effect] = Counter()
        self._decisions: Counter[tuple[Effect, tuple[str, ...]]] = Counter()
        """By the rules that made them together: a statement pays for one addition, the page for the rest."""
        self._rules: Counter[str] = Counter()
        """By their labels; and `_in_order`: these as the page has them."""
        self._in_order: list[str] = []
        self.latency = Histogram()
        self._waits = {ending: Histogram(_WAITS) for ending in ENDINGS}
        self.logins_refused = 0
        self.unrecorded = 0
        """Statements and logins that were refused, or passed over, because the audit could not be written."""

    def decided(self, effect: Effect, decision: Decision | None) -> None:
        """A decision that stands in the audit now, and what came of it."""
        self._effects[effect] += 1
        if decision is not None:
            self._decisions[decision.effect, decision.rules] += 1
            if len(self._decisions) > _SETS:
                self._by_rule()

    def waited(self, ending: str, seconds: float) -> None:
        """A statement has waited so long for people, until this."""
        self._waits[ending].observe(seconds)

    def _by_rule(self) -> None:
        """Take what has been counted apart, rule by rule."""
        for (effect, rules), count in self._decisions.items():
            for rule in rules:
                self._rules[labelled(rule=rule, effect=effect.value)] += count
        self._decisions.clear()

    def _rule_samples(self) -> tuple[tuple[str, str, float], ...]:
        self._by_rule()
        if len(self._in_order) != len(self._rules):
            self._in_order = sorted(self._rules)
        return tuple([("", labels, self._rules[labels]) for labels in self._in_order])

    def families(self) -> Iterator[Family]:
        yield Family(
            "statements_total",
            "counter",
            "Judged statements by what was done with them.",
            tuple(("", labelled(effect=effect.value), self._effects[effect]) for effect in Effect),
        )
        yield Family(
            "rule_decisions_total",
            "counter",
            "Decisions by the rules that made them.",
            self._rule_samples(),
        )
        yield Family(
            "decision_seconds",
            "histogram",
            "From a statement's last byte to its verdict, the audit record included, waiting for people excluded.",
            tuple(self.latency.samples()),
        )
        yield Family(
            "hold_seconds",
            "histogram",
            "How long statements waited for people, by how that ended.",
            tuple(sample for ending, waits in self._waits.items() for sample in waits.samples(ended=ending)),
        )
        yield counter("logins_refused_total", "Logins that were turned away.", self.logins_refused)
        yield counter("audit_failures_total", "Records that could not be written.", self.unrecorded)


def counter(name: str, what: str, value: float) -> Family:
    return Family(name, "counter", what, (("", "", value),))


def gauge(name: str, what: str, value: float, across: Across = "sum") -> Family:
    return Family(name, "gauge", what, (("", "", value),), across)


def exposition(families: Iterable[Family]) -> str:
    """The page as Prometheus reads it."""
    lines = []
    for family in families:
        name = f"pgguard_{family.name}"
        lines += [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
        lines += [f"{name}{suffix}{labels} {_number(value)}" for suffix, labels, value in family.samples]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    """All its digits: a counter that is rounded stands still."""
    return str(value) if isinstance(value, int) or value != int(value) else str(int(value))


def labelled(**labels: str) -> str:
    """Labels as the page has them, braces and all."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
