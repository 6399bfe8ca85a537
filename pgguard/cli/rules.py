"""`pgguard rules`: look at rules as a whole, and at what changes between two versions of them."""

import json
import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgguard.audit.files import AuditUnreadable, all_files
from pgguard.audit.learning import Seen, see
from pgguard.audit.reading import records
from pgguard.cli._common import EXISTING_FILE, EXISTING_FOLDER, read_catalog, read_rules, tables_of
from pgguard.cli._offline import baseline_option
from pgguard.model.access import Kind
from pgguard.model.context import Context
from pgguard.policy.difference import Change, Difference, difference
from pgguard.policy.in_words import (
    columns_in_words,
    condition_in_words,
    hold_in_words,
    rule_in_words,
    terms_in_words,
    what_in_words,
)
from pgguard.policy.learning import learn as learnt
from pgguard.policy.learning import refused as still_refused
from pgguard.policy.learning import written
from pgguard.policy.load import RuleFile, load
from pgguard.policy.problems import RulesInvalid
from pgguard.policy.rule import Mode, Rule
from pgguard.policy.rule_set import RuleSet
from pgguard.policy.schema import schema as schema_of_rules
from pgguard.runtime.rulebook import read_baseline
from pgguard.sql.shape import shape_of_text

_WIDE = 10_000
"""Columns where the output is no terminal: a line a rule, for grep."""


@click.group()
def rules() -> None:
    """Describe, compare and learn rules."""


@rules.command()
def schema() -> None:
    """Print a JSON Schema of rule files, for completion and checks in an editor."""
    click.echo(json.dumps(schema_of_rules(), indent=2, ensure_ascii=False))


@rules.command()
@click.argument("folder", type=EXISTING_FOLDER)
@baseline_option
@click.option("--table", metavar="SCHEMA.TABLE", help="Only what is about this table, the baseline's too.")
@click.option("--user", help="Only what is about this user, with the groups that --group names.")
@click.option("--group", "groups", multiple=True, help="Only what is about a member; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array, for scripts.")
def show(  # noqa: PLR0913  # one argument an option
    folder: Path, baseline: Path | None, table: str | None, user: str | None, groups: tuple[str, ...], *, as_json: bool
) -> None:
    """List the rules of FOLDER: who may do what, on what, and when.

    With --user or --group, those that are about such a person: a rule for everyone is, one that also asks for another
    group is not.
    """
    loaded = read_rules(folder, baseline)
    about: Iterable[Rule] = loaded.rules
    if table is None:
        about = (rule for rule in about if not rule.baseline)
    else:
        about = (part for rule in about if (part := _on_table(rule, _qualified(table))) is not None)
    if user is not None or groups:
        person = Context(user or "", user or "", "", 0.0, tuple(sorted({group.lower() for group in groups})))
        about = (rule for rule in about if rule.who.matches(person))
    found = sorted(about, key=lambda rule: (rule.who.in_words(), rule.effect, rule.name))
    if as_json:
        click.echo(json.dumps([_as_json(rule) for rule in found], indent=2, ensure_ascii=False))
    elif found:
        _print_table(found)
    else:
        click.echo("no rule is about that")


def _qualified(table: str) -> tuple[str, str]:
    schema, dot, name = table.partition(".")
    if not (schema and dot and name):
        raise click.BadParameter(f'"{table}" is no table; write it as schema.table', param_hint="--table")
    return schema, name


def _on_table(rule: Rule, table: tuple[str, str]) -> Rule | None:
    """The rule with only what of it is about the table; None where nothing is."""
    targets = []
    for target in rule.targets:
        patterns = tuple(p for p in target.patterns if target.kind is None or p.matches(*table, None))
        if patterns and target.kind in {None, Kind.TABLE}:
            targets.append(msgspec.structs.replace(target, patterns=patterns))
    return msgspec.structs.replace(rule, targets=tuple(targets)) if targets else None


def _print_table(found: Iterable[Rule]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("who", "effect", "what", "when and how", "rule"):
        table.add_column(heading, overflow="fold")
    for rule in found:
        terms = terms_in_words(rule).removeprefix(", ")
        table.add_row(*map(Text, (rule.who.in_words(), rule.effect, what_in_words(rule), terms, rule.name)))
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


@rules.command()
@click.option("--baseline", type=click.Path(exists=True, path_type=Path), help="Another than the package's own.")
def baseline(baseline: Path | None) -> None:
    """Print the baseline: what every client needs to work at all. Its head says what is left out, and why.

    Save it, change it, and name it as [rules] baseline in the configuration to have another.
    """
    for file in read_baseline(baseline):
        click.echo(file.content.decode(), nl=False)


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


@rules.command()
@click.argument("logs", metavar="AUDIT...", nargs=-1, required=True, type=EXISTING_FILE)
@click.option("--catalog", type=EXISTING_FILE, help="Shorten by it: whole tables without columns, whole schemas.")
@baseline_option
@click.option("--refused", is_flag=True, help="Learn from what was refused or held, too.")
def learn(logs: tuple[Path, ...], catalog: Path | None, baseline: Path | None, *, refused: bool) -> None:
    """Print the fewest rules that allow what an audit contains, beside the baseline: for review.

    Of one file its closed ones are read, too. Exits with 1 where the rules do not allow all of it.
    """
    files = all_files(logs[0]) if len(logs) == 1 else list(logs)
    base = _load([], baseline)
    try:
        seen = see(records(files), base, refused=refused)
    except AuditUnreadable as error:
        raise click.ClickException(str(error)) from error
    tables = None if catalog is None else tables_of(read_catalog(catalog))
    text = written(learnt(seen.needs, seen.groups, tables))
    tried = _load([RuleFile("learnt", text.encode())], baseline)
    left = still_refused(((context, key[-1]) for key, context in seen.accesses.items()), tried)
    click.echo(_heading(seen) + text, nl=False)
    for context, access in left[:10]:
        click.echo(f"not allowed by these rules: {access.privilege} on {access.object} for {context.user}", err=True)
    if left:
        sys.exit(1)


def _load(files: list[RuleFile], baseline: Path | None) -> RuleSet:
    try:
        return load(files, read_baseline(baseline), shape_of_text)
    except RulesInvalid as invalid:
        raise click.ClickException("the rules do not load:\n" + "\n".join(map(str, invalid.problems))) from invalid


def _heading(seen: Seen) -> str:
    lines = [
        f"Learnt from {seen.statements} statements of {len({user for user, *_ in seen.accesses})} users, for review:",
        "a group stands for its members where at least half of those seen did the same. The baseline's is left out.",
    ]
    lines += [
        f"Not learnt from: {count} statements that got {effect}." for effect, count in sorted(seen.left_out.items())
    ]
    return "".join(f"# {line}\n" for line in lines)


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
