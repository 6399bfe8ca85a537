"""`pgguard replay`: decide an audit again under other rules, and see what would change before it does."""

import sys
from functools import partial
from itertools import count
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import msgspec

from pgguard.audit.files import all_files
from pgguard.audit.redecide import Example, Flip, Outcome, redecide_files
from pgguard.policy.problems import RulesInvalid
from pgguard.runtime.rulebook import load_rules

_LOG = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("logs", nargs=-1, required=True, type=_LOG)
@click.option("--rules", required=True, type=_FOLDER, help="The rules to decide by.")
@click.option("--baseline", type=click.Path(exists=True, path_type=Path), help="Instead of the package's baseline.")
@click.option("--strict", is_flag=True, help="Any flip is a failure.")
@click.option("--format", "form", type=click.Choice(["text", "json", "junit"]), default="text", show_default=True)
@click.option("--workers", default=2, show_default=True, help="Processes.")
def replay(  # noqa: PLR0913  # one argument an option
    logs: tuple[Path, ...], rules: Path, baseline: Path | None, *, strict: bool, form: str, workers: int
) -> None:
    """Decide every recorded statement again, and print each decision that changes.

    Exits with 1 where something denied would be allowed or held, or where the same rules do not reproduce a record;
    with --strict, where anything changes at all.
    """
    load = partial(load_rules, rules, baseline)
    try:
        load()
    except RulesInvalid as error:
        raise click.ClickException(f"the rules cannot be loaded:\n{error}") from error
    files = all_files(logs[0]) if len(logs) == 1 else list(logs)
    done = count()
    try:
        outcome = redecide_files(files, load, workers, lambda lines: _progress(next(done), lines))
    except msgspec.DecodeError as error:
        raise click.ClickException(f"a record is not of this version: {error}") from error
    click.echo({"text": _text, "json": _json, "junit": _junit}[form](outcome))
    if outcome.unlike or outcome.loosening or (strict and outcome.flips):
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
