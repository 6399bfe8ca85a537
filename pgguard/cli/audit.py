"""`pgguard audit`: look into the audit log, and prove that nobody has changed it."""

import csv
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec

from pgguard.audit.files import AuditUnreadable, all_files
from pgguard.audit.follow import Follower, Position, end_of, last_lines
from pgguard.audit.reading import Wanted, found, tables
from pgguard.audit.records import DecisionMade, Record, read_record
from pgguard.audit.verify import verify_files

_LOG = click.Path(exists=True, dir_okay=False, path_type=Path)
_COLOURS = {"allow": "green", "deny": "red", "hold": "yellow"}
_SHOWN = 1000
_CHUNK = 256 << 10
_ROW_GROUP = 50_000
_LOOK_BACK = 64 << 20
_POLL_SECONDS = 0.2
_EXPORTED = ("at", "id", "session", "user", "principal", "database", "address", "effect", "rules", "tables", "text")


@click.group()
def audit() -> None:
    """Read, search and verify the audit log."""


def _wanted(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which records are looked for."""
    for name, what in (
        ("user", "database user or principal"),
        ("table", "schema.name of a relation it touches"),
        ("rule", "name of a rule that decided"),
        ("effect", "allow, deny or hold"),
        ("session", "session id"),
        ("text", "part of the statement, in any case"),
        ("since", "ISO 8601 time, this one included"),
        ("until", "ISO 8601 time, this one excluded"),
    ):
        command = click.option(f"--{name}", default="", help=what.capitalize() + ".")(command)
    return command


def _files(logs: tuple[Path, ...]) -> list[Path]:
    """One log stands for itself and its closed files; several are taken as they are."""
    return all_files(logs[0]) if len(logs) == 1 else list(logs)


def _read(logs: tuple[Path, ...], wanted: Wanted) -> Iterator[Record]:
    try:
        yield from found(_files(logs), wanted)
    except AuditUnreadable as error:
        raise click.ClickException(str(error)) from error


def _line(record: Record) -> str:
    """A record as a person reads it."""
    if isinstance(record, DecisionMade):
        effect = click.style(f"{record.effect:5}", fg=_COLOURS[record.effect])
        by = ", ".join(record.decision.rules) if record.decision is not None else (record.error or "")
        return (
            f"{record.at} {effect} {record.id} {record.context.user}@{record.context.database} [{by}] {record.text!r}"
        )
    fields: dict[str, Any] = msgspec.to_builtins(record)
    rest = " ".join(f"{key}={value}" for key, value in fields.items() if key not in ("at", "type") and value)
    return f"{record.at} {click.style(fields['type'], fg='cyan')} {rest}"


@audit.command()
@click.argument("logs", nargs=-1, required=True, type=_LOG)
@click.option("--json", "as_json", is_flag=True, help="Print the records as they are in the log.")
@_wanted
def search(logs: tuple[Path, ...], *, as_json: bool, **wanted: str) -> None:
    """Print the records that have all that is asked for."""
    for record in _read(logs, Wanted(**wanted)):
        click.echo(msgspec.json.encode(record).decode() if as_json else _line(record))


@audit.command()
@click.argument("log", type=_LOG)
@click.option("-n", "--lines", default=10, show_default=True, help="Records to begin with.")
@click.option("--no-follow", is_flag=True, help="End after these.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as they are in the log.")
@_wanted
def tail(log: Path, *, lines: int, no_follow: bool, as_json: bool, **wanted: str) -> None:
    """Print the last records, and those to come, over rotations; lines that are no records are told of."""
    wants = Wanted(**wanted)
    here = end_of(log)
    for line in reversed(list(islice(_last_wanted(log, here, wants), lines))):
        _print_line(line, wants, as_json=as_json)
    if no_follow:
        return
    with closing(Follower(log, here)) as follower, suppress(KeyboardInterrupt):
        while True:
            gaps = follower.gaps
            new = follower.read(_CHUNK)
            if follower.gaps > gaps:
                click.echo("records are missing here: files were removed before they were read", err=True)
            for line in new:
                _print_line(line, wants, as_json=as_json)
            if not new:
                time.sleep(_POLL_SECONDS)


def _last_wanted(log: Path, here: Position | None, wants: Wanted) -> Iterator[bytes]:
    """The last lines that are wanted, the last first, within a bounded look back."""
    looked = 0
    for line in last_lines(log, here):
        looked += len(line)
        if looked > _LOOK_BACK:
            click.echo(f"looked back over {_LOOK_BACK >> 20} MiB; `pgguard audit search` looks at everything", err=True)
            return
        record = _record(line)
        if record is not None and wants.has(record):
            yield line


def _record(line: bytes) -> Record | None:
    try:
        return read_record(line)
    except msgspec.DecodeError:
        return None


def _print_line(line: bytes, wants: Wanted, *, as_json: bool) -> None:
    record = _record(line)
    if record is None:
        shown = line[:80].decode("utf-8", "backslashreplace")
        click.secho(f"no record of this version: {shown}", fg="red", err=True)
    elif wants.has(record):
        click.echo(line.decode() if as_json else _line(record))


@audit.command()
@click.argument("logs", nargs=-1, required=True, type=_LOG)
@click.option("--rules", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Name its unused rules.")
@_wanted
def stats(logs: tuple[Path, ...], rules: Path | None, **wanted: str) -> None:
    """Count who used which tables and rules."""
    by_effect: Counter[str] = Counter()
    by_table: Counter[tuple[str, str]] = Counter()
    by_rule: Counter[str] = Counter()
    for record in _read(logs, Wanted(**wanted)):
        if isinstance(record, DecisionMade):
            by_effect[record.effect] += 1
            by_table.update((record.context.user, table) for table in tables(record))
            decided = record.decision.accesses if record.decision is not None else ()
            by_rule.update({rule for access in decided for rule in access.rules})
    for effect, count in sorted(by_effect.items()):
        click.echo(f"{count:>10} {effect}")
    for (user, table), count in by_table.most_common():
        click.echo(f"{count:>10} {user} used {table}")
    for rule, count in by_rule.most_common():
        click.echo(f"{count:>10} by rule {rule}")
    if rules is not None:
        _print_unused(rules, set(by_rule))


def _print_unused(folder: Path, used: set[str]) -> None:
    from pgguard.runtime.rulebook import load_rules  # noqa: PLC0415  # only this option needs the rules

    for name in sorted(load_rules(folder, None).by_name.keys() - used):
        if not name.startswith("baseline/"):
            click.echo(f"{'never':>10} by rule {name}")


@audit.command()
@click.argument("logs", nargs=-1, required=True, type=_LOG)
@click.option("--key-file", type=_LOG, help="The key of [audit] key_file.")
@click.option("--head", "heads", multiple=True, help="A hash noted elsewhere that must be in the log.")
def verify(logs: tuple[Path, ...], key_file: Path | None, heads: tuple[str, ...]) -> None:
    """Find every record that was altered, removed, added or moved. Exits with 1 where there is one."""
    report = verify_files(_files(logs), None if key_file is None else key_file.read_bytes(), heads)
    if report.behind:
        click.echo(f"it begins behind {report.behind}, which is no longer here", err=True)
    for finding in report.findings[:_SHOWN]:
        where = f"{finding.file}:{finding.line}: " if finding.line else f"{finding.file}: " if finding.file else ""
        click.echo(f"{where}{finding.what}", err=True)
    if len(report.findings) > _SHOWN:
        click.echo(f"and {len(report.findings) - _SHOWN} more", err=True)
    if report.findings:
        sys.exit(1)
    click.echo(f"{report.records} records, unbroken; head {report.head}")


@audit.command()
@click.argument("logs", nargs=-1, required=True, type=_LOG)
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="*.csv, *.parquet")
@_wanted
def export(logs: tuple[Path, ...], output: Path, **wanted: str) -> None:
    """Write decisions as CSV, or as Parquet (pip install 'pgguard[parquet]')."""
    rows = (_row(record) for record in _read(logs, Wanted(**wanted)) if isinstance(record, DecisionMade))
    write = {".csv": _write_csv, ".parquet": _write_parquet}.get(output.suffix)
    if write is None:
        raise click.ClickException(f'cannot tell the format of "{output}"; let it end in .csv or .parquet')
    try:
        write(output, rows)
    except OSError as error:
        raise click.ClickException(f'cannot write "{output}": {error.strerror}') from error


def _row(record: DecisionMade) -> dict[str, str]:
    context = record.context
    rules = record.decision.rules if record.decision is not None else ()
    values = (
        *(record.at, record.id, record.session, context.user, context.principal, context.database),
        *(context.address or "", str(record.effect), " ".join(rules), " ".join(sorted(tables(record))), record.text),
    )
    return dict(zip(_EXPORTED, values, strict=True))


def _write_csv(output: Path, rows: Iterator[dict[str, str]]) -> None:
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _EXPORTED)
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(output: Path, rows: Iterator[dict[str, str]]) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise click.ClickException("Parquet needs pyarrow: pip install 'pgguard[parquet]'; .csv does not") from error
    schema = pa.schema([(name, pa.string()) for name in _EXPORTED])
    with parquet.ParquetWriter(output, schema) as writer:
        while group := list(islice(rows, _ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))
