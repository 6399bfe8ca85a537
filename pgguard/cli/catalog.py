"""`pgguard catalog`: save what names mean in a database, for working on rules without it."""

import sys

import click

from pgguard.cli._common import fetch_catalog, run
from pgguard.sql.catalog import save


@click.group()
def catalog() -> None:
    """Save a database's catalog to a file."""


@catalog.command()
@click.option("--dsn", required=True, help="The database, as postgresql://user@host/database.")
def dump(dsn: str) -> None:
    """Write the catalog as JSON to standard output, for --catalog of check, test, explain and analyze."""
    sys.stdout.buffer.write(save(run(fetch_catalog(dsn))) + b"\n")
