"""`pgguard explain`: what the rules say to a statement, and why, without running anything."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from pgguard.cli._common import EXISTING_FILE, EXISTING_FOLDER, read_catalog, read_rules
from pgguard.cli._offline import Judged, Offline, baseline_option, own
from pgguard.model.decision import AccessDecision, Decision, Effect
from pgguard.policy.circumstances import CircumstancesInvalid, read_as
from pgguard.policy.wording import access_in_words, refusal_of

_COLOURS = {Effect.ALLOW: "green", Effect.HOLD: "yellow", Effect.DENY: "red"}
_MAX_LINE = 8 * 1024 * 1024


@click.command()
@click.option("--rules", "folder", required=True, type=EXISTING_FOLDER)
@click.option("--catalog", "catalog", required=True, type=EXISTING_FILE)
@baseline_option
@click.option("--as", "user", help="The user who asks.")
@click.option("--group", "groups", multiple=True, help="A group of theirs; may be repeated.")
@click.option("--principal", help="The Kerberos principal, with its realm.")
@click.option("--database", help="The database; else the catalog's own.")
@click.option("--at", help="When, as 2026-03-02T10:00:00+01:00; else now.")
@click.option("--from", "from_", help="The client's address.")
@click.option("--application", help="The client's application_name.")
@click.option("--transport", type=click.Choice(["gss", "tls", "plain", "socket"]))
@click.option("--reason", help="The session's pgguard.reason.")
@click.option("--estimated-rows", type=float, help="What the planner would estimate.")
@click.option("--state", "states", multiple=True, metavar="PROBE=VALUE", help="The value of a probe, in JSON or text.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
@click.option("--jsonl", is_flag=True, help='Answer each line {"as": {…}, "sql": …} of standard input with one line.')
@click.argument("sql", required=False)
def explain(folder: Path, catalog: Path, baseline: Path | None, sql: str | None, **options: Any) -> None:
    """Say what the rules make of a statement, and why: offline, by rules and a saved catalog."""
    offline = Offline(read_rules(folder, baseline), read_catalog(catalog))
    if options.pop("jsonl"):
        _lines(offline)
        return
    as_json = options.pop("as_json")
    if sql is None or options["user"] is None:
        raise click.UsageError('say who asks, and what: pgguard explain … --as alice --group analysts "SELECT …"')
    try:
        judged = offline.judge(read_as(_circumstances(options)), sql)
    except CircumstancesInvalid as invalid:
        raise click.UsageError(str(invalid)) from invalid
    if as_json:
        click.echo(msgspec.json.encode(_answer(judged) | _reasoning(judged)))
    else:
        _show(judged, sql)


def _circumstances(options: dict[str, Any]) -> dict[str, Any]:
    states = dict(state.partition("=")[::2] for state in options.pop("states"))
    options["from"] = options.pop("from_")
    given = {key: value for key, value in options.items() if value is not None}
    return {**given, "groups": list(given["groups"]), "state": {name: _json(text) for name, text in states.items()}}


def _json(text: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return value if isinstance(value, bool | int | float | str) else text


# lines


def _lines(offline: Offline) -> None:
    for line in _read_lines(sys.stdin.buffer):
        sys.stdout.buffer.write(msgspec.json.encode(_line(offline, line)) + b"\n")
        sys.stdout.buffer.flush()


def _read_lines(source: BinaryIO) -> Iterator[bytes]:
    """Each line, but of one that is too long no more than tells that it is: one answer a line, whatever it holds."""
    while line := source.readline(_MAX_LINE + 1):
        yield line
        while len(line) > _MAX_LINE and not line.endswith(b"\n"):
            line = source.readline(_MAX_LINE + 1)


class _Question(msgspec.Struct, frozen=True, rename={"who": "as"}):
    who: Any
    sql: str


def _line(offline: Offline, line: bytes) -> dict[str, Any]:
    """The answer to one line; an error of it is an answer too, and the next line is read."""
    if len(line) > _MAX_LINE:
        return {"error": f"the line is longer than {_MAX_LINE} bytes"}
    try:
        question = msgspec.json.decode(line, type=_Question)
        return _answer(offline.judge(read_as(question.who), question.sql))
    except (msgspec.DecodeError, CircumstancesInvalid, UnicodeDecodeError) as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001  # whatever one line does, the next is answered
        return {"error": f"{type(error).__name__}: {error}"}


def _answer(judged: Judged) -> dict[str, Any]:
    """The contract of `--jsonl`. What PostgreSQL itself would refuse is denied, by no rule."""
    decision = judged.decision
    if decision is None:
        return {"decision": Effect.DENY, "rules": [], "accesses": []}
    return {
        "decision": decision.effect,
        "rules": own(decision.rules),
        "accesses": [_access(found) for found in decision.accesses],
    }


def _access(found: AccessDecision) -> dict[str, Any]:
    access = found.access
    return {
        "privilege": access.privilege,
        "kind": access.kind,
        "object": str(access.object),
        "columns": None if access.columns is None else list(access.columns),
        "decision": found.effect,
        "rules": own(found.rules),
    }


def _reasoning(judged: Judged) -> dict[str, Any]:
    """What `--json` tells beside the decision."""
    if judged.refused is not None:
        return {"refused": judged.refused}
    decision = judged.decision
    assert decision is not None, "either refused or decided"
    reasoning: dict[str, Any] = {
        "near": {str(found.access.object): found.near for found in decision.accesses if found.near},
        "holds": decision.holds,
        "max_rows": decision.max_rows,
        "unknown": decision.unknown,
        "observed": decision.observed,
    }
    if decision.effect is Effect.DENY:
        reasoning["refusal"] = refusal_of(decision, "none")
    return reasoning


# for people


def _show(judged: Judged, sql: str) -> None:
    if judged.refused is not None:
        click.secho(f"PostgreSQL would refuse it: {judged.refused.sqlstate.value} {judged.refused.message}", fg="red")
        if judged.refused.position:
            _underline(sql, judged.refused.position - 1, 1)
        return
    decision = judged.decision
    assert decision is not None, "either refused or decided"
    click.secho(decision.effect.upper(), fg=_COLOURS[decision.effect], bold=True)
    for found in decision.accesses:
        if found.effect is decision.effect is not Effect.ALLOW:
            _underline(sql, *_offence(found, sql))
            break
    for found in decision.accesses:
        _show_access(found)
    if not decision.accesses:
        click.echo("  it touches nothing that rules speak of")
    _show_conditions(decision)


def _show_conditions(decision: Decision) -> None:
    """What goes with a decision: approvers, limits, and what could not be told."""
    for requirement in decision.holds:
        who = ", ".join([*requirement.approvers.groups, *requirement.approvers.users])
        click.echo(f"  held by {requirement.rule}: {requirement.approvers.count} of {who or 'those who may alone'}")
    if decision.max_rows is not None:
        click.echo(f"  at most {decision.max_rows} rows")
    for why in decision.unknown:
        click.echo(f"  unknown, so it fails closed: {why}")
    if decision.observed is not None:
        click.echo(f"  with the observed rules in force: {decision.observed} by {', '.join(decision.observed_rules)}")


def _show_access(found: AccessDecision) -> None:
    click.secho(f"  {found.effect:5} ", fg=_COLOURS[found.effect], nl=False)
    click.echo(access_in_words(found.access))
    if found.rules:
        click.echo(f"        by {', '.join(found.rules)}")
    elif found.effect is Effect.DENY:
        what = f" for {', '.join(found.missing)}" if found.missing else ""
        click.echo(f"        no rule allows it{what}")
    if found.message:
        click.echo(f"        {found.message}")
    for near in found.near:
        click.echo(f"        near: {near.rule}: {near.why}")


def _offence(found: AccessDecision, sql: str) -> tuple[int, int]:
    """Where the first name of what is refused stands in the text; (0, 0) where it does not."""
    access = found.access
    for name in (*found.missing, *(access.columns or ()), access.object.name):
        match = re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", sql, re.IGNORECASE)
        if match is not None:
            return match.start(), len(name)
    return 0, 0


def _underline(sql: str, start: int, length: int) -> None:
    """The line of the text with what stands there underlined."""
    begin = sql.rfind("\n", 0, start) + 1
    line = sql[begin:].partition("\n")[0]
    click.echo(f"  {line}")
    if length:
        click.echo(f"  {' ' * (start - begin)}{'^' * length}")
