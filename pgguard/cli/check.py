"""`pgguard check`: do these rules load, and do they say what is meant?"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from pgguard.cli._common import EXISTING_FILE, EXISTING_FOLDER, read_catalog, read_rules
from pgguard.cli._offline import baseline_option
from pgguard.policy.warnings import Table, expired, matching_nothing
from pgguard.sql.catalog import Catalog

_TABLES = frozenset("rvmfp")  # pg_class.relkind: tables, views, materialized views, foreign and partitioned tables


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
        warnings += matching_nothing(rules, _tables(read_catalog(catalog)))
    for warning in sorted(warnings):
        click.echo(f"{warning.place}: warning: {warning.message}", err=True)
    own = sum(not rule.baseline for rule in rules.rules)
    click.echo(f"{own} rules load, beside {len(rules.rules) - own} of the baseline; identity {rules.identity}")
    if strict and warnings:
        sys.exit(1)


def _tables(catalog: Catalog) -> list[Table]:
    relations = (r for r in catalog.snapshot.relations if r.kind in _TABLES)
    return [Table(r.schema, r.name, r.columns, r.comments) for r in relations]
