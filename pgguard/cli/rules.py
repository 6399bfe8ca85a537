"""`pgguard rules`: look at rules as a whole, and at what changes between two versions of them."""

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from pgguard.cli._common import EXISTING_FOLDER, read_rules
from pgguard.cli._offline import baseline_option
from pgguard.policy.difference import Change, Difference, difference
from pgguard.policy.in_words import columns_in_words, condition_in_words, hold_in_words, rule_in_words
from pgguard.policy.rule import Mode, Rule
from pgguard.policy.schema import schema as schema_of_rules


@click.group()
def rules() -> None:
    """Describe, compare and learn rules."""


@rules.command()
def schema() -> None:
    """Print a JSON Schema of rule files, for completion and checks in an editor."""
    click.echo(json.dumps(schema_of_rules(), indent=2, ensure_ascii=False))


@rules.command()
@click.argument("old", type=EXISTING_FOLDER)
@click.argument("new", type=EXISTING_FOLDER)
@baseline_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
def diff(old: Path, new: Path, baseline: Path | None, *, as_json: bool) -> None:
    """Say what changes from the rules of folder OLD to those of NEW: who gains or loses which privilege on what.

    Exits with 0 where every statement is decided as before, with 1 where some may not be, and with 2 where either
    does not load.
    """
    try:
        found = difference(read_rules(old, baseline), read_rules(new, baseline))
    except click.ClickException as error:
        raise _DoNotLoad(error.message) from error
    if as_json:
        click.echo(json.dumps(_difference_as_json(found), indent=2, ensure_ascii=False))
    else:
        _tell(found)
    sys.exit(1 if found.differs else 0)


class _DoNotLoad(click.ClickException):
    exit_code = 2


def _tell(found: Difference) -> None:
    for sort, changes in groupby(found.changes, key=lambda change: change.sort):
        click.echo(f"{sort}:")
        for change in changes:
            click.echo(f'  {rule_in_words(change.part)}\n      rule "{change.part.name}", {change.part.place}')
            for still in change.still:
                click.echo(f'      {_beside(change)}: {rule_in_words(still)} (rule "{still.name}")')
    for heading, lines in (("also changed", found.others), ("without effect on any decision", found.notes)):
        if lines:
            click.echo("\n".join([f"{heading}:", *(f"  {line}" for line in lines)]))
    if not found.differs:
        click.echo("every statement is decided as before")


def _beside(change: Change) -> str:
    return "before" if change.sort.is_new else "still"


def _difference_as_json(found: Difference) -> dict[str, Any]:
    changes = [
        {"change": change.sort, **_as_json(change.part), _beside(change): [_as_json(still) for still in change.still]}
        for change in found.changes
    ]
    return {"differs": found.differs, "changes": changes, "others": found.others, "notes": found.notes}


def _as_json(rule: Rule) -> dict[str, Any]:
    """A rule or a part of one; what does not limit it is left out."""
    told = {
        "rule": rule.name,
        "place": str(rule.place),
        "effect": rule.effect,
        "who": rule.who.in_words(),
        "on": [
            {
                "kind": target.kind or "any",
                "privileges": sorted(target.privileges),
                "patterns": [pattern.source for pattern in target.patterns],
            }
            for target in rule.targets
        ],
        "columns": rule.columns and columns_in_words(rule.columns),
        "databases": rule.databases and [matcher.source for matcher in rule.databases],
        "when": rule.condition and condition_in_words(rule.condition),
        "until": rule.until,
        "max_rows": rule.max_rows,
        "approval": hold_in_words(rule) if rule.effect == "hold" else None,
        "message": rule.message,
        "owner": rule.owner,
        "mode": rule.mode if rule.mode is Mode.OBSERVE else None,
    }
    return {key: value for key, value in told.items() if value is not None}
