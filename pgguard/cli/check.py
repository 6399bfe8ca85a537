"""`pgguard check`: do these rules load?"""

from pathlib import Path

import click

from pgguard.cli._common import EXISTING_FOLDER, read_rules


@click.command()
@click.argument("folder", type=EXISTING_FOLDER)
@click.option("--baseline", type=click.Path(exists=True, path_type=Path), help="Another baseline than the package's.")
def check(folder: Path, baseline: Path | None) -> None:
    """Load the rules of FOLDER; print every error with file, line and column, or the rule set's identity."""
    rules = read_rules(folder, baseline)
    own = sum(not rule.baseline for rule in rules.rules)
    click.echo(f"{own} rules load, beside {len(rules.rules) - own} of the baseline; identity {rules.identity}")
