"""What `pgguard replay` prints: decisions that change, what a workload cost, and what to record for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from xml.etree import ElementTree as ET

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pgguard.audit.redecide import Example, Flip, Outcome
from pgguard.audit.rerun import Measured
from pgguard.audit.workload import Workload

PERCENTILES = (50, 90, 99)
_SHOWN = 20

RECORDING = """\
To decide again nothing is needed: each record holds what its decision depended on, whatever is redacted.

To run statements again the log must hold them whole. In pgguard.toml:

    [audit]
    literals = "keep"    # constants in statements; "hash" and "drop" leave nothing to run
    values = "keep"      # bound values
    keep_days = 0        # or longer than the time you want to look back

In the rule files: statements that `redact:` hides are left out, as are masked passwords.

Record the whole day that counts: sessions are run from their first recorded statement, so a log that begins in the
middle of a session lacks what it did before (SET, temporary tables, prepared statements). Start the log anew before
(pgguard rotates it; or logrotate and SIGHUP), let sessions reconnect, and take a dump of the database at that time to
run against. Not in the log, and so not run: the data of COPY FROM STDIN, and large objects' contents.

Then: pgguard replay --record AUDIT… says how much of a log can be run.
"""


@contextmanager
def bar(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """A progress bar on a terminal, on standard error; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)


# decisions


def _ordered(outcome: Outcome) -> list[tuple[Flip, Example]]:
    """What loosens first, then the most frequent."""
    return sorted(outcome.flips.items(), key=lambda item: (not item[0].loosens, -item[1].count))


def decisions_text(outcome: Outcome) -> str:
    lines = [f"{outcome.decided} decisions made again; {sum(e.count for e in outcome.flips.values())} flips"]
    if outcome.undecided:
        lines.append(f"{outcome.undecided} statements were refused before any rule was asked, and are left out")
    if outcome.same_rules:
        lines.append(f"{outcome.same_rules} were made by these same rules; {len(outcome.unlike)} come out otherwise")
    lines += [f"  not reproduced: {id_}" for id_ in outcome.unlike[:_SHOWN]]
    if len(outcome.unlike) > _SHOWN:
        lines.append(f"  and {len(outcome.unlike) - _SHOWN} more; --format json names them all")
    for flip, example in _ordered(outcome):
        lines += [
            f"{flip.before} -> {flip.after}: {example.count} times",
            f"  then: {', '.join(flip.rules_before) or 'no rule allows'}",
            f"  now:  {', '.join(flip.rules_after) or 'no rule allows'}",
            f"  like: {example.id} {example.user}: {example.text!r}",
        ]
    return "\n".join(lines)


def decisions_json(outcome: Outcome) -> str:
    flips = [{**msgspec.to_builtins(f), **msgspec.to_builtins(e), "loosens": f.loosens} for f, e in _ordered(outcome)]
    whole = {
        "decided": outcome.decided,
        "undecided": outcome.undecided,
        "same_rules": outcome.same_rules,
        "not_reproduced": outcome.unlike,
        "flips": flips,
    }
    return msgspec.json.encode(whole).decode()


def decisions_junit(outcome: Outcome, *, strict: bool) -> str:
    """A test case for each flip, failed where the command fails by it, and one for each record not reproduced."""
    failing = [flip for flip in outcome.flips if strict or flip.loosens]
    failures = len(failing) + len(outcome.unlike)
    cases = len(outcome.flips) + len(outcome.unlike) or 1
    suite = ET.Element("testsuite", name="pgguard replay", tests=str(cases), failures=str(failures))
    if not (outcome.flips or outcome.unlike):
        ET.SubElement(suite, "testcase", name=f"{outcome.decided} decisions stay as they are")
    for flip, example in _ordered(outcome):
        case = ET.SubElement(suite, "testcase", name=f"{flip.before} -> {flip.after}: {_printable(example.text)}")
        told = f"then: {', '.join(flip.rules_before)}\nnow: {', '.join(flip.rules_after)}"
        if strict or flip.loosens:
            failure = ET.SubElement(case, "failure", message=f"{example.count} times, like {example.id}")
            failure.text = told
        else:
            ET.SubElement(case, "system-out").text = f"{example.count} times, like {example.id}\n{told}"
    for id_ in outcome.unlike:
        case = ET.SubElement(suite, "testcase", name=id_)
        ET.SubElement(case, "failure", message="the same rules do not reproduce this decision")
    return ET.tostring(suite, encoding="unicode")


def _printable(text: str) -> str:
    """XML 1.0 has no way to write most control characters."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


# workloads


def target_text(number: int, workload: Workload, measured: Measured, first: Measured | None) -> str:
    sessions = f"{len(workload.sessions)} sessions ({workload.at_once} at once)"
    lines = [f"target {number}: {len(measured.seconds)} statements of {sessions} in {measured.lasted:.1f} s"]
    lines.append(f"  {len(measured.differences)} fail otherwise than then")
    for percent in PERCENTILES:
        taken = measured.percentile(percent)
        ratio = "" if first is None else f"  {_ratio(first, measured, percent):.2f} times target 1"
        lines.append(f"  p{percent}: {taken * 1000:.3f} ms{ratio}")
    if measured.late > 1:
        lines.append(f"  it did not keep up: statements began up to {measured.late:.1f} s late")
    lines += [f"  left out: {count} {reason}" for reason, count in measured.left_out.most_common()]
    for difference in measured.differences[:_SHOWN]:
        then, now = difference.then or "success", difference.now or "success"
        lines.append(f"  {difference.id}: {then} then, {now} now: {difference.text!r}")
    if len(measured.differences) > _SHOWN:
        lines.append(f"  and {len(measured.differences) - _SHOWN} more; --format json names them all")
    return "\n".join(lines)


def left_out_text(workload: Workload) -> str:
    """What of the log is run, and what is not."""
    lines = [f"{workload.statements} statements of {len(workload.sessions)} sessions can be run"]
    lines += [f"left out: {count} {reason}" for reason, count in workload.left_out.most_common()]
    return "\n".join(lines)


def workload_json(workload: Workload, results: list[Measured]) -> str:
    targets = [
        {
            "statements": len(measured.seconds),
            "seconds": measured.lasted,
            "late": measured.late,
            **{f"p{percent}": measured.percentile(percent) for percent in PERCENTILES},
            "ratios": {f"p{percent}": _ratio(results[0], measured, percent) for percent in PERCENTILES},
            "left_out": measured.left_out,
            "differences": msgspec.to_builtins(measured.differences),
        }
        for measured in results
    ]
    whole = {"sessions": len(workload.sessions), "at_once": workload.at_once, "left_out": workload.left_out}
    return msgspec.json.encode({**whole, "targets": targets}).decode()


def _ratio(first: Measured, other: Measured, percent: int) -> float:
    return other.percentile(percent) / max(first.percentile(percent), 1e-9)
