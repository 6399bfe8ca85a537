"""`./dev bench`: what approval costs, beside a direct connection and beside PgBouncer.

Theory of operation. One lab is the ground for all: the same PostgreSQL, reached directly, through PgBouncer (session
pooling) and through pgguard (Kerberos, a hundred rules, LDAP groups, audit on; with `sync = "os"` and, as a proxy
of its own, with "always"). A case runs for a short while at each target in turn, and that round is repeated: what
else the machine does then meets all of them alike. Reported are medians over the rounds, and ratios. The CPU time of
a proxy is taken from /proc before and after: of all figures it depends least on what else runs.
"""

import json
import tempfile
from pathlib import Path

import click

from bench.cases import Bulk, Case, cases
from bench.report import report
from bench.targets import ground


@click.command()
@click.option("--seconds", default=2, show_default=True, help="How long a case runs at a target, each round.")
@click.option("--rounds", default=3, show_default=True, help="How often each case goes round all targets.")
@click.option("--clients", default="1,8,64", show_default=True, help="Numbers of clients.")
@click.option("--rows", default=1_000_000, show_default=True, help="Rows of the large result and of COPY.")
@click.option("--json", "saved", type=click.Path(path_type=Path), help="Save all measurements here.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the tables here; else they are printed.")
def main(  # noqa: PLR0913, PLR0917  # one parameter an option
    seconds: int, rounds: int, clients: str, rows: int, saved: Path | None, markdown: Path | None
) -> None:
    """Measure direct, PgBouncer and pgguard in interleaved runs."""
    measured = []
    with tempfile.TemporaryDirectory(prefix="pgguard-bench-") as folder:
        Path(folder).chmod(0o755)
        with ground(Path(folder), rows) as targets:
            wanted: list[Case | Bulk] = cases([int(number) for number in clients.split(",")], seconds)
            for case in wanted:
                for number in range(rounds):
                    click.echo(f"{case.name}, round {number + 1} of {rounds}", err=True)
                    measured += [case.run(target, Path(folder)) for target in targets]
    if saved is not None:
        saved.write_text(json.dumps(measured, indent=1) + "\n")
    text = report(measured)
    if markdown is None:
        click.echo(text)
    else:
        markdown.write_text(text)


if __name__ == "__main__":
    main()
