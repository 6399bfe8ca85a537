"""Measurements as Markdown tables: medians over the rounds, ratios to the other ways."""

from statistics import median

from bench.cases import Measured


def report(measured: list[Measured]) -> str:
    lines = [
        "| case | way | per second | of direct | of PgBouncer | added p50 µs | added p99 µs | proxy CPU µs |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case in dict.fromkeys(entry["case"] for entry in measured):
        own = [entry for entry in measured if entry["case"] == case]
        for target in dict.fromkeys(entry["target"] for entry in own):
            rate = _of(own, target, "per_second")
            cells = [
                case,
                target,
                f"{rate:,.0f}",
                f"{rate / _of(own, 'direct', 'per_second'):.2f}",
                f"{rate / _of(own, 'pgbouncer', 'per_second'):.2f}",
                _added(own, target, "p50_us"),
                _added(own, target, "p99_us"),
                "" if target == "direct" else f"{_of(own, target, 'cpu_us'):,.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _of(own: list[Measured], target: str, key: str) -> float:
    return median(entry[key] for entry in own if entry["target"] == target)


def _added(own: list[Measured], target: str, key: str) -> str:
    if target == "direct" or key not in own[0]:
        return ""
    return f"{_of(own, target, key) - _of(own, 'direct', key):,.0f}"
