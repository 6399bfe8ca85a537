"""`./dev bench`: what approval costs, beside a direct connection and beside PgBouncer.

Theory of operation. One lab is the ground for all: the same PostgreSQL, reached directly, through PgBouncer (session
pooling) and through pgguard (Kerberos, a hundred rules, LDAP groups, audit on; with `sync = "os"` and, as a proxy
of its own, with "always"). A case runs for a short while at each target in turn, and that round is repeated, each
time with another target first: what else the machine does then meets all of them alike. Reported are medians over the
rounds, and ratios. The CPU time of a proxy is taken from /proc before and after: of all figures it depends least on
what else runs. At the end come what idle sessions cost, and how the parts of a decision grow with rules, groups and
tables.
"""

import json
import tempfile
import time
from pathlib import Path

import click

from bench.cases import cases, write_scripts
from bench.growth import growth
from bench.report import pasted, report
from bench.sessions import idle_sessions
from bench.targets import BARE, GSS, WORKERS, ground

_RESULTS = Path(".dev")


@click.command()
@click.option("--quick", is_flag=True, help="One short round with less of everything: some three minutes.")
@click.option("--seconds", type=int, help="How long a case runs at a target, each round.  [default: 2]")
@click.option("--rounds", type=int, help="How often each case goes round all targets.  [default: 2]")
@click.option("--clients", help="Numbers of clients.  [default: 1,8,64]")
@click.option("--rows", type=int, help="Rows of the large result and of COPY.  [default: 1000000]")
@click.option("--sessions", type=int, help="How many sessions are idle.  [default: 1000]")
@click.option("--only", default="", help="Only the cases whose names hold this.")
@click.option("--folder", type=click.Path(path_type=Path), default=_RESULTS, help="For bench.json and bench.md.")
@click.option("--page", type=click.Path(path_type=Path), help="Paste the tables into this page, between its marks.")
def main(  # noqa: PLR0913  # one parameter an option
    *,
    quick: bool,
    seconds: int | None,
    rounds: int | None,
    clients: str | None,
    rows: int | None,
    sessions: int | None,
    only: str,
    folder: Path,
    page: Path | None,
) -> None:
    """Measure direct, PgBouncer and pgguard in interleaved runs: some fifteen minutes."""
    seconds, rounds = seconds or (1 if quick else 2), rounds or (1 if quick else 2)
    numbers = [int(number) for number in (clients or ("1,8" if quick else "1,8,64")).split(",")]
    rows, sessions = rows or (100_000 if quick else 1_000_000), sessions or (100 if quick else 1_000)
    began = time.monotonic()
    measured = []
    with tempfile.TemporaryDirectory(prefix="pgguard-bench-") as name:
        place = Path(name)
        place.chmod(0o755)
        write_scripts(place)
        with ground(place, rows, sessions) as targets:
            for case in cases(numbers, seconds):
                if only not in case.name:
                    continue
                ways = [
                    target for target in targets if target.name not in {BARE, GSS, WORKERS} or target.name in case.also
                ]
                for number in range(rounds * case.times):
                    _tell(f"{case.name}, round {number + 1} of {rounds * case.times}", began)
                    turn = number % len(ways)
                    measured += [case.run(target, place) for target in ways[turn:] + ways[:turn]]
            _tell(f"{sessions} idle sessions", began)
            guarded = next(target for target in targets if target.name == "pgguard")
            grown = idle_sessions(guarded, sessions, place, seconds)
    _tell("growth", began)
    grown += growth()
    _tell("done", began)
    folder.mkdir(exist_ok=True)
    (folder / "bench.json").write_text(json.dumps({"cases": measured, "growth": grown}, indent=1) + "\n")
    tables = report(measured, grown)
    (folder / "bench.md").write_text(tables)
    if page is not None:
        page.write_text(pasted(page.read_text(), tables))
    click.echo(tables)


def _tell(what: str, began: float) -> None:
    click.echo(f"{time.monotonic() - began:5.0f} s  {what}", err=True)


if __name__ == "__main__":
    main()
