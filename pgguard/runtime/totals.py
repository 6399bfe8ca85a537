"""What several processes have counted, as one: counters and histograms are added, gauges as their family says.

A worker that has ended has counted too: without its share a total would fall, and Prometheus take that for a restart.
"""

from collections.abc import Callable, Iterable

import msgspec

from pgguard.runtime.metrics import Across, Family
from pgguard.runtime.orders import Report

_JOIN: dict[Across, Callable[[float, float], float]] = {"sum": lambda a, b: a + b, "max": max, "min": min}


def together(reports: Iterable[Report]) -> Report:
    """Families and samples in the order in which they are first met; each trouble once."""
    families: dict[str, Family] = {}
    samples: dict[str, dict[tuple[str, str], float]] = {}
    troubles: dict[str, None] = {}
    for report in reports:
        troubles |= dict.fromkeys(report.troubles)
        for family in report.families:
            join = _JOIN[families.setdefault(family.name, family).across]
            merged = samples.setdefault(family.name, {})
            for suffix, labels, value in family.samples:
                key = suffix, labels
                merged[key] = join(merged[key], value) if key in merged else value
    return Report(
        tuple(
            msgspec.structs.replace(family, samples=tuple([(*key, value) for key, value in samples[name].items()]))
            for name, family in families.items()
        ),
        tuple(troubles),
    )


def lasting(report: Report) -> Report:
    """What stays of a process that has ended: what it has counted, without what it saw at the end."""
    return Report(tuple(family for family in report.families if family.kind != "gauge"))
