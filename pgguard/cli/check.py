"""`pgguard check`: do these rules load, and do they say what is meant?"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from pgguard.cli._common import EXISTING_FILE, EXISTING_FOLDER, read_catalog, read_rules, tables_of
from pgguard.cli._offline import baseline_option
from pgguard.directory.directory import make_source
from pgguard.directory.errors import DirectoryError
from pgguard.policy.problems import Problem
from pgguard.policy.rule_set import RuleSet
from pgguard.policy.warnings import expired, matching_nothing, needless, unknown_people, users_named
from pgguard.runtime.config import ConfigError, load_config


@click.command()
@click.argument("folder", type=EXISTING_FOLDER)
@baseline_option
@click.option("--catalog", type=EXISTING_FILE, help="Warn of patterns, columns and labels that match nothing in it.")
@click.option(
    "--directory",
    "config",
    type=EXISTING_FILE,
    metavar="CONFIG",
    help="Warn of groups and users that the directory of this configuration does not know.",
)
@click.option("--strict", is_flag=True, help="Warnings are errors.")
def check(folder: Path, baseline: Path | None, catalog: Path | None, config: Path | None, *, strict: bool) -> None:
    """Load the rules of FOLDER; print every error with file, line and column, or warnings and their identity."""
    rules = read_rules(folder, baseline)
    warnings = [*expired(rules, datetime.now(UTC).date().isoformat()), *needless(rules)]
    if catalog is not None:
        warnings += matching_nothing(rules, tables_of(read_catalog(catalog)))
    if config is not None:
        warnings += _unknown_people(rules, config)
    for warning in sorted(warnings):
        click.echo(f"{warning.place}: warning: {warning.message}", err=True)
    own = sum(not rule.baseline for rule in rules.rules)
    click.echo(f"{own} rules load, beside {len(rules.rules) - own} of the baseline; identity {rules.identity}")
    if strict and warnings:
        sys.exit(1)


def _unknown_people(rules: RuleSet, config: Path) -> list[Problem]:
    try:
        source = make_source(load_config(config).directory)
        groups, people = source.groups(), source.fetch(users_named(rules))
    except (ConfigError, DirectoryError) as error:
        raise click.ClickException(f"the directory cannot be asked: {error}") from error
    return unknown_people(rules, groups, (user for user, membership in people.items() if not membership.found))
