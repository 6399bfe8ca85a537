"""`pgguard rules`: look at rules as a whole, and at what changes between two versions of them."""

import json

import click

from pgguard.policy.schema import schema as schema_of_rules


@click.group()
def rules() -> None:
    """Describe, compare and learn rules."""


@rules.command()
def schema() -> None:
    """Print a JSON Schema of rule files, for completion and checks in an editor."""
    click.echo(json.dumps(schema_of_rules(), indent=2, ensure_ascii=False))
