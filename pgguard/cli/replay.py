"""`pgguard replay`: decide an audit again under other rules, or run its statements again somewhere."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import click
import psycopg

from pgguard.audit.files import AuditUnreadable, all_files
from pgguard.audit.reading import records
from pgguard.audit.redecide import redecide_files
from pgguard.audit.rerun import Measured, run
from pgguard.audit.workload import Workload, workload_of
from pgguard.cli import _replay
from pgguard.policy.load import load
from pgguard.policy.problems import RulesInvalid
from pgguard.policy.rule_set import RuleSet
from pgguard.runtime.rulebook import load_rules, read_baseline
from pgguard.sql.shape import shape_of_text

_LOG = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("logs", nargs=-1, type=_LOG)
@click.option("--rules", type=_FOLDER, help="Decide again by these rules.")
@click.option("--baseline", type=click.Path(exists=True, path_type=Path), help="Instead of the package's baseline.")
@click.option("--strict", is_flag=True, help="Any flip is a failure.")
@click.option("--format", "form", type=click.Choice(["text", "json", "junit"]), default="text", show_default=True)
@click.option("--workers", default=2, show_default=True, help="Processes.")
@click.option(
    "--to", "targets", multiple=True, metavar="DSN", help="Run the allowed statements there; of two, compare."
)
@click.option("--speed", default="1x", show_default=True, help="How many times as fast as then (2x), or max.")
@click.option("--read-only", is_flag=True, help="Run only what plainly changes nothing.")
@click.option("--record", is_flag=True, help="Say what to record, and how much of LOGS can be run again.")
def replay(  # noqa: PLR0913  # one argument an option
    logs: tuple[Path, ...],
    rules: Path | None,
    baseline: Path | None,
    *,
    strict: bool,
    form: str,
    workers: int,
    targets: tuple[str, ...],
    speed: str,
    read_only: bool,
    record: bool,
) -> None:
    """Decide every recorded statement again (--rules), or run the allowed ones again (--to).

    With --rules, exits with 1 where something denied would be allowed or held, or where the same rules do not
    reproduce a record; with --strict, where anything changes at all.
    With --to, exits with 1 where a statement fails otherwise than it did.
    """
    if [rules is not None, bool(targets), record].count(True) != 1:
        raise click.UsageError("say either --rules, to decide again, or --to, to run again, or --record")
    files = all_files(logs[0]) if len(logs) == 1 else list(logs)
    if record:
        click.echo(_replay.left_out_text(_workload(files, read_only=read_only)) if files else _replay.RECORDING)
        return
    if not files:
        raise click.UsageError("name the audit's files")
    if rules is not None:
        _decide_again(files, partial(load_rules, rules, baseline), workers, form, strict=strict)
    elif form == "junit":
        raise click.UsageError("--format junit is for --rules; a workload has text and json")
    else:
        _run_again(files, targets, _speed(speed), form, read_only=read_only)


def _decide_again(files: list[Path], load: Callable[[], RuleSet], workers: int, form: str, *, strict: bool) -> None:
    try:
        load()
    except RulesInvalid as error:
        raise click.ClickException(f"the rules cannot be loaded:\n{error}") from error
    try:
        with _replay.bar("deciding again", sum(file.stat().st_size for file in files)) as progress:
            outcome = redecide_files(files, load, workers, progress)
    except AuditUnreadable as error:
        raise click.ClickException(str(error)) from error
    match form:
        case "json":
            click.echo(_replay.decisions_json(outcome))
        case "junit":
            click.echo(_replay.decisions_junit(outcome, strict=strict))
        case _:
            click.echo(_replay.decisions_text(outcome))
    if outcome.unlike or outcome.loosening or (strict and outcome.flips):
        sys.exit(1)


def _speed(written: str) -> float | None:
    if written == "max":
        return None
    try:
        speed = float(written.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise click.BadParameter(f'"{written}" is no speed; write 2x, 0.5x or max')
    return speed


def _workload(files: list[Path], *, read_only: bool) -> Workload:
    harmless = load([], read_baseline(None), shape_of_text) if read_only else None
    try:
        return workload_of(records(files), harmless=harmless)
    except AuditUnreadable as error:
        raise click.ClickException(str(error)) from error


def _run_again(files: list[Path], targets: tuple[str, ...], speed: float | None, form: str, *, read_only: bool) -> None:
    """Against each target in turn, so that they do not disturb one another."""
    workload = _workload(files, read_only=read_only)
    if not workload.statements:
        raise click.ClickException(f"nothing to run: {_replay.left_out_text(workload)}; see --record")
    if form == "text":
        click.echo(_replay.left_out_text(workload))
    results: list[Measured] = []
    for number, dsn in enumerate(targets, 1):
        with _replay.bar(f"target {number}", workload.statements) as progress:
            measured = _measure(number, run(workload, dsn, speed, read_only=read_only, progress=partial(progress, 1)))
        if form == "text":
            click.echo(_replay.target_text(number, workload, measured, results[0] if results else None))
        results.append(measured)
    if form == "json":
        click.echo(_replay.workload_json(workload, results))
    if any(measured.differences for measured in results):
        sys.exit(1)


def _measure(number: int, running: Coroutine[Any, Any, Measured]) -> Measured:
    """Run it; a target that lets no session in is told by its number: its DSN may hold a password."""
    try:
        return asyncio.run(running)
    except* psycopg.Error as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise click.ClickException(f"target {number} lets no session in: {first or type(first).__name__}") from first
