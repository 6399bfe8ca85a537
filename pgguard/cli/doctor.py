"""`pgguard doctor`: does everything work that the configuration names?"""

import asyncio
from pathlib import Path

import click

from pgguard.cli._common import config_option
from pgguard.runtime.config import ConfigError, load_config
from pgguard.runtime.doctor import Finding, examine


@click.command()
@config_option
@click.option("--database", default="postgres", show_default=True, help="A database to log in to.")
@click.option("--user", default="", help="Somebody whom the directory and the database should know.")
def doctor(path: Path, database: str, user: str) -> None:
    """Try keytab, KDC, clock, directory, database, TLS, audit and rules; say what to do. Ends with 1 if one fails."""
    try:
        config = load_config(path)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    findings = [Finding("configuration", True, str(path)), *asyncio.run(examine(config, path, database, user))]
    for finding in findings:
        click.echo(f"{click.style('ok  ', fg='green') if finding.well else click.style('FAIL', fg='red')} ", nl=False)
        click.echo(f"{finding.check}: {finding.what}")
        if finding.advice:
            click.echo(f"     {finding.advice}")
    failed = sum(not finding.well for finding in findings)
    if failed:
        raise click.ClickException(f"{failed} of {len(findings)} checks failed")
