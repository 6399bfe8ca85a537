"""Measurements as Markdown: plots and tables of medians over the rounds, and ratios to the other ways."""

from statistics import median

from bench.cases import Measured

BEGIN, END = "<!-- what ./dev bench measured begins -->\n", "<!-- what ./dev bench measured ends -->\n"


def report(measured: list[Measured], grown: list[Measured]) -> str:
    return f"{_plots(measured)}\n{_cases(measured)}\n{_growth(grown)}"


def pasted(page: str, tables: str) -> str:
    """The page with these tables in the place of those that stand between the marks."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page lacks {BEGIN.strip()} or {END.strip()}")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def _plots(measured: list[Measured]) -> str:
    """Of the cases with transactions: the share of the direct throughput, and the processor time of the proxy.

    But for logins: PgBouncer makes none of its own, and would be fourteen times as fast as a direct connection.
    """
    timed = (entry["case"] for entry in measured if "p50_us" in entry)
    cases = dict.fromkeys(case for case in timed if not case.startswith("login"))
    by_case = {case: [entry for entry in measured if entry["case"] == case] for case in cases}
    shares, costs = (
        {way: [figure(own, way) for own in by_case.values()] for way in ("pgguard", "pgbouncer")}
        for figure in (_share, lambda own, way: _of(own, way, "cpu_us"))
    )
    return "\n".join(
        [
            _plot("Of the direct throughput", list(cases), shares, ".2f"),
            _plot("Proxy CPU, µs a transaction", list(cases), costs, ".0f"),
        ]
    )


def _share(own: list[Measured], way: str) -> float:
    return _of(own, way, "per_second") / _of(own, "direct", "per_second")


def _plot(title: str, cases: list[str], figures: dict[str, list[float]], style: str) -> str:
    """A chart that Markdown with Mermaid shows."""
    bars, line = (", ".join(f"{figure:{style}}" for figure in figures[way]) for way in ("pgguard", "pgbouncer"))
    names = ", ".join(f'"{case}"' for case in cases)
    return (
        f'```mermaid\nxychart-beta horizontal\n    title "{title} (bars: pgguard, line: PgBouncer)"\n'
        f"    x-axis [{names}]\n    bar [{bars}]\n    line [{line}]\n```\n"
    )


def _cases(measured: list[Measured]) -> str:
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
                f"{_share(own, target):.2f}",
                f"{rate / _of(own, 'pgbouncer', 'per_second'):.2f}",
                _added(own, target, "p50_us"),
                _added(own, target, "p99_us"),
                "" if target == "direct" else f"{_of(own, target, 'cpu_us'):,.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _growth(grown: list[Measured]) -> str:
    lines = ["| what | by | from | to | there | then | ratio |", "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for row in grown:
        few = row.get("few")
        at_few = "" if few is None else f"{row['at_few']:,.1f}"
        ratio = "" if few is None else f"{row['at_many'] / row['at_few']:.2f}"
        cells = ["" if few is None else f"{few:,}", f"{row['many']:,}", at_few, f"{row['at_many']:,.1f}", ratio]
        lines.append(f"| {row['what']} | {row['of']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _of(own: list[Measured], target: str, key: str) -> float:
    return median(entry[key] for entry in own if entry["target"] == target)


def _added(own: list[Measured], target: str, key: str) -> str:
    if target == "direct" or key not in own[0]:
        return ""
    return f"{_of(own, target, key) - _of(own, 'direct', key):,.0f}"
