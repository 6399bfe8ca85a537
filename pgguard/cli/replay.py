"""`pgguard replay`: decide an audit again under other rules, or run its statements again somewhere."""

import asyncio
import sys
from functools import partial
from itertools import count
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import msgspec

from pgguard.audit.files import all_files
from pgguard.audit.reading import records
from pgguard.audit.redecide import Example, Flip, Outcome, redecide_files
from pgguard.audit.workload import Measured, run, sessions_of
from pgguard.policy.problems import RulesInvalid
from pgguard.runtime.rulebook import load_rules

_LOG = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("logs", nargs=-1, required=True, type=_LOG)
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
) -> None:
    """Decide every recorded statement again (--rules), or run the allowed ones again (--to).

    With --rules, exits with 1 where something denied would be allowed or held, or where the same rules do not
    reproduce a record; with --strict, where anything changes at all.
    With --to, exits with 1 where a statement fails otherwise than it did.
    """
    if (rules is None) == (not targets):
        raise click.UsageError("say either --rules, to decide again, or --to, to run again")
    files = all_files(logs[0]) if len(logs) == 1 else list(logs)
    if rules is None:
        _run_workload(files, targets, _speed(speed), read_only=read_only)
        return
    load = partial(load_rules, rules, baseline)
    try:
        load()
    except RulesInvalid as error:
        raise click.ClickException(f"the rules cannot be loaded:\n{error}") from error
    done = count()
    try:
        outcome = redecide_files(files, load, workers, lambda lines: _progress(next(done), lines))
    except msgspec.DecodeError as error:
        raise click.ClickException(f"a record is not of this version: {error}") from error
    click.echo({"text": _text, "json": _json, "junit": _junit}[form](outcome))
    if outcome.unlike or outcome.loosening or (strict and outcome.flips):
        sys.exit(1)


def _speed(written: str) -> float | None:
    if written == "max":
        return None
    try:
        speed = float(written.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if speed <= 0:
        raise click.BadParameter(f'"{written}" is no speed; write 2x, 0.5x or max')
    return speed


def _run_workload(files: list[Path], targets: tuple[str, ...], speed: float | None, *, read_only: bool) -> None:
    """Against each target in turn, so that they do not disturb one another."""
    sessions = sessions_of(records(files), read_only=read_only)
    differs = False
    first: Measured | None = None
    for number, dsn in enumerate(targets, 1):
        measured = asyncio.run(run(sessions, dsn, speed, read_only=read_only))
        click.echo(
            f"target {number}: {len(measured.seconds)} statements, {len(sessions)} sessions, {measured.skipped} skipped"
        )
        for percent in (50, 90, 99):
            taken = measured.percentile(percent)
            ratio = "" if first is None else f"  {taken / max(first.percentile(percent), 1e-9):.2f} times target 1"
            click.echo(f"  p{percent}: {taken * 1000:.3f} ms{ratio}")
        for difference in measured.differences:
            then, now = difference.then or "success", difference.now or "success"
            click.echo(f"  {difference.id}: {then} then, {now} now: {difference.text!r}")
        first = first or measured
        differs = differs or bool(measured.differences)
    if differs:
        sys.exit(1)


def _progress(batch: int, lines: int) -> None:
    """A line that is written over, on a terminal only; how many lines are to come nobody knows beforehand."""
    if sys.stderr.isatty():
        click.echo(f"\r{batch * lines} lines", nl=False, err=True)


def _ordered(outcome: Outcome) -> list[tuple[Flip, Example]]:
    """What loosens first, then the most frequent."""
    return sorted(outcome.flips.items(), key=lambda item: (not item[0].loosens, -item[1].count))


def _text(outcome: Outcome) -> str:
    lines = [f"{outcome.decided} decisions made again; {sum(e.count for e in outcome.flips.values())} flips"]
    if outcome.undecided:
        lines.append(f"{outcome.undecided} statements were refused before any rule was asked, and are left out")
    if outcome.same_rules:
        lines.append(f"{outcome.same_rules} were made by these same rules; {len(outcome.unlike)} come out otherwise")
    lines += [f"  not reproduced: {id_}" for id_ in outcome.unlike[:20]]
    for flip, example in _ordered(outcome):
        lines += [
            f"{flip.before} -> {flip.after}: {example.count} times",
            f"  then: {', '.join(flip.rules_before) or 'no rule allows'}",
            f"  now:  {', '.join(flip.rules_after) or 'no rule allows'}",
            f"  like: {example.id} {example.user}: {example.text!r}",
        ]
    return "\n".join(lines)


def _json(outcome: Outcome) -> str:
    flips = [{**msgspec.to_builtins(f), **msgspec.to_builtins(e), "loosens": f.loosens} for f, e in _ordered(outcome)]
    whole = {
        "decided": outcome.decided,
        "undecided": outcome.undecided,
        "same_rules": outcome.same_rules,
        "not_reproduced": outcome.unlike,
        "flips": flips,
    }
    return msgspec.json.encode(whole).decode()


def _junit(outcome: Outcome) -> str:
    failures = len(outcome.flips) + len(outcome.unlike)
    suite = ET.Element("testsuite", name="pgguard replay", tests=str(outcome.decided), failures=str(failures))
    for flip, example in _ordered(outcome):
        case = ET.SubElement(suite, "testcase", name=f"{flip.before} -> {flip.after}: {example.text}")
        failure = ET.SubElement(case, "failure", message=f"{example.count} times, like {example.id}")
        failure.text = f"then: {', '.join(flip.rules_before)}\nnow: {', '.join(flip.rules_after)}"
    for id_ in outcome.unlike:
        case = ET.SubElement(suite, "testcase", name=id_)
        ET.SubElement(case, "failure", message="the same rules do not reproduce this decision")
    return ET.tostring(suite, encoding="unicode")
