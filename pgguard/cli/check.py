"""`pgguard check`: do these rules load, and do they say what is meant?"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from pgguard.cli._common import EXISTING_FILE, EXISTING_FOLDER, read_catalog, read_rules, tables_of
from pgguard.cli._offline import baseline_option
from pgguard.policy.warnings import expired, matching_nothing


@click.command()
@click.argument("folder", type=EXISTING_FOLDER)
@baseline_option
@click.option("--catalog", type=EXISTING_FILE, help="Warn of patterns, columns and labels that match nothing in it.")
@click.option("--strict", is_flag=True, help="Warnings are errors.")
def check(folder: Path, baseline: Path | None, catalog: Path | None, *, strict: bool) -> None:
    """Load the rules of FOLDER; print every error with file, line and column, or warnings and their identity."""
    rules = read_rules(folder, baseline)
    warnings = expired(rules, datetime.now(UTC).date().isoformat())
    if catalog is not None:
        warnings += matching_nothing(rules, tables_of(read_catalog(catalog)))
    for warning in sorted(warnings):
        click.echo(f"{warning.place}: warning: {warning.message}", err=True)
    own = sum(not rule.baseline for rule in rules.rules)
    click.echo(f"{own} rules load, beside {len(rules.rules) - own} of the baseline; identity {rules.identity}")
    if strict and warnings:
        sys.exit(1)
