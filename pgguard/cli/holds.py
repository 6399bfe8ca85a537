"""`pgguard holds`: see and decide held statements from the command line, by the console and one's own ticket."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pgguard.cli._keys import Keys

_DATABASE = "pgguard"
_PORT = "6432"
_SECONDS = 20.0

_where: list[Callable[[Any], Any]] = [
    click.option(
        "--host", default=lambda: os.environ.get("PGHOST", "localhost"), help="Where pgguard is; else PGHOST."
    ),
    click.option("--port", type=int, default=lambda: os.environ.get("PGPORT", _PORT), help="Else PGPORT, or 6432."),
    click.option("--user", default=lambda: os.environ.get("PGUSER"), help="Else PGUSER, or the name of the account."),
]


@click.group()
def holds() -> None:
    """See, approve and refuse statements that wait for you. It takes a Kerberos ticket (kinit)."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_where):
        command = option(command)
    return command


_as_json = click.option("--json", "as_json", is_flag=True, help="For programs.")
_number = click.argument("number", type=click.IntRange(min=1))


@holds.command("list")
@_options
@_as_json
def list_(*, as_json: bool, **where: Any) -> None:
    """What waits for you, and what of yours waits."""
    rows = _ask(where, lambda console: console.fetch("show holds"))
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows]))
    elif rows:
        Console().print(_table(rows))
    else:
        click.echo("nothing waits for you", err=True)


@holds.command()
@_options
@_as_json
@_number
def show(number: int, *, as_json: bool, **where: Any) -> None:
    """One of them, in full."""
    rows = _ask(where, lambda console: console.fetch(f"show hold {number}"))
    if as_json:
        click.echo(json.dumps([[row["what"], row["is"]] for row in rows]))
    else:
        Console().print(_page(rows))


@holds.command()
@_options
@_number
@click.argument("why", default="")
def approve(number: int, why: str, **where: Any) -> None:
    """Your yes; break-glass needs the reason."""
    click.echo(_decide(where, f"approve {number}{_quoted(why)}"))


@holds.command()
@_options
@_number
@click.argument("why")
def refuse(number: int, why: str, **where: Any) -> None:
    """Your no, which ends it; the requester reads the reason."""
    click.echo(_decide(where, f"refuse {number}{_quoted(why)}"))


@holds.command()
@_options
@_as_json
def watch(*, as_json: bool, **where: Any) -> None:
    """A page that follows what waits, with keys; with --json an event a line."""
    _ask(where, _events if as_json else _watch)


# the console connection


def _ask(where: dict[str, Any], work: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        console = await asyncpg.connect(
            database=_DATABASE, gsslib="gssapi", timeout=_SECONDS, command_timeout=_SECONDS, **where
        )
        try:
            return await work(console)
        finally:
            await console.close(timeout=_SECONDS)

    try:
        return asyncio.run(connected())
    except KeyboardInterrupt:
        return None
    except asyncpg.PostgresError as error:
        raise click.ClickException(str(error)) from error
    except (OSError, asyncpg.InterfaceError, ImportError) as error:
        host, port = where["host"], where["port"]
        raise click.ClickException(
            f"cannot reach the console at {host} port {port}: {error or 'no answer'}; see --host and --port"
        ) from error
    except asyncpg.InternalClientError as error:  # what the GSSAPI library raised is inside
        raise click.ClickException(f"no Kerberos ticket can be used: {error}; get one with kinit") from error


def _decide(where: dict[str, Any], command: str) -> str:
    """The notice that tells what came of it."""

    async def decide(console: asyncpg.Connection) -> str:
        told: list[str] = []
        console.add_log_listener(lambda _, notice: told.append(notice.message))
        await console.execute(command)
        await asyncio.sleep(0)  # the listener is called in the loop's next round
        return "; ".join(told)

    return str(_ask(where, decide))


def _quoted(why: str) -> str:
    return " '" + why.replace("'", "''") + "'" if why else ""


# pages


def _table(rows: list[asyncpg.Record], chosen: int | None = None) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("hold", "waits_s", "user", "rule", "needs", "statement"):
        table.add_column(heading, overflow="fold")
    for index, row in enumerate(rows):
        table.add_row(*(Text(str(value)) for value in row.values()), style="reverse" if index == chosen else "")
    return table


def _page(rows: list[asyncpg.Record]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in rows:
        table.add_row(Text(row["what"], style="bold"), Text(row["is"]))
    return table


async def _events(console: asyncpg.Connection) -> None:
    await console.add_listener("holds", lambda *told: click.echo(told[3]))
    await _until_lost(console).wait()


def _until_lost(console: asyncpg.Connection) -> asyncio.Event:
    lost = asyncio.Event()
    console.add_termination_listener(lambda _: lost.set())
    return lost


async def _watch(console: asyncpg.Connection) -> None:
    """Show what waits, anew at each event and each second, and do what the keys say."""
    news = asyncio.Event()
    await console.add_listener("holds", lambda *_: news.set())
    with Keys() as keys, Live(auto_refresh=False, screen=True) as live:
        page = _Page(console, live)
        while not console.is_closed():
            await page.draw()
            key = await keys.next(news, 1.0)
            news.clear()
            if key == "q":
                return
            await page.press(key, keys)


class _Page:
    def __init__(self, console: asyncpg.Connection, live: Live) -> None:
        self._console = console
        self._live = live
        self._rows: list[asyncpg.Record] = []
        self._chosen = 0
        self._number: str | None = None
        """The hold that is chosen: the keys are meant for it, wherever on the page it stands."""
        self._told = ""
        self._open = False
        console.add_log_listener(self._notice)

    def _notice(self, _: object, notice: asyncpg.PostgresLogMessage) -> None:
        self._told = notice.message

    async def draw(self) -> None:
        self._rows = await self._console.fetch("show holds")
        numbers = [str(row["hold"]) for row in self._rows]
        self._choose(numbers.index(self._number) if self._number in numbers else self._chosen)
        page = Table.grid()
        page.add_row(_table(self._rows, self._chosen) if self._rows else Text("nothing waits for you", style="dim"))
        if self._open and self._rows:
            page.add_row(Text())
            page.add_row(_page(await self._console.fetch(f"show hold {self._rows[self._chosen]['hold']}")))
        page.add_row(Text())
        page.add_row(Text(self._told, style="yellow"))
        page.add_row(Text("j k: choose   enter: details   a: approve   r: refuse   q: quit", style="dim"))
        self._live.update(page, refresh=True)

    def _choose(self, index: int) -> None:
        self._chosen = max(0, min(index, len(self._rows) - 1))
        self._number = str(self._rows[self._chosen]["hold"]) if self._rows else None

    async def press(self, key: str, keys: Keys) -> None:
        match key:
            case "j":
                self._choose(self._chosen + 1)
            case "k":
                self._choose(self._chosen - 1)
            case "\r" | "\n":
                self._open = not self._open
            case "a" | "r" if self._rows:
                await self._decide("approve" if key == "a" else "refuse", str(self._rows[self._chosen]["hold"]), keys)

    async def _decide(self, verb: str, number: str, keys: Keys) -> None:
        """Ask for the reason on the page; Escape takes it back."""
        why = await keys.line(lambda typed: self._live.update(Text(f"{verb} #{number}, why? {typed}"), refresh=True))
        if why is None:
            self._told = ""
            return
        try:
            await self._console.execute(f"{verb} {number}{_quoted(why)}")
            await asyncio.sleep(0)  # the listener is called in the loop's next round
        except asyncpg.PostgresError as error:
            self._told = str(error)
