"""`pgguard directory show`: what the directory tells pgguard of a user, from where, how fresh, and why."""

import asyncio
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from pgguard.cli._common import config_option
from pgguard.directory.directory import make_source
from pgguard.directory.errors import DirectoryError
from pgguard.directory.lane import PATIENCE, beside
from pgguard.directory.ldap_source import time_limit
from pgguard.directory.membership import Membership
from pgguard.directory.settings import DirectorySettings
from pgguard.runtime.config import ConfigError, load_config


@click.group()
def directory() -> None:
    """Ask the configured directory what it tells of people."""


class _Answer(msgspec.Struct, frozen=True):
    """`origin`: the server or file that answered; `at`: when it was asked; `took`: seconds until it had answered."""

    membership: Membership
    origin: str
    at: datetime
    took: float


@directory.command()
@click.argument("user")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def show(user: str, path: Path, *, as_json: bool) -> None:
    """Print the groups of USER, each with the nesting that leads to it; ends with 1 where the groups are not known.

    The directory is asked anew, with the configuration and the code of `pgguard serve`.
    """
    try:
        settings = load_config(path).directory
        answer = asyncio.run(_ask(settings, user))
    except (ConfigError, DirectoryError, TimeoutError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(_as_json(answer, settings)))
    else:
        click.echo("\n".join(_lines(answer, settings)))
    if not answer.membership.found or answer.membership.groups is None:
        sys.exit(1)


async def _ask(settings: DirectorySettings, user: str) -> _Answer:
    source = make_source(settings)
    at, began = datetime.now(UTC), time.monotonic()
    found = await beside(lambda: source.fetch([user])[user], time_limit(settings) + PATIENCE)
    return _Answer(found, source.origin, at, time.monotonic() - began)


def _as_json(answer: _Answer, settings: DirectorySettings) -> dict[str, Any]:
    """`groups`: each with its path of groups, nearest first; null where they are not known, or the path is not told."""
    membership = answer.membership
    groups = membership.groups
    return {
        "user": membership.user,
        "found": membership.found,
        "disabled": membership.disabled,
        "groups": None if groups is None else {group: _path(membership, group, settings) for group in groups},
        "entry": membership.where,
        "problem": membership.problem,
        "from": answer.origin,
        "asked_at": answer.at.isoformat(timespec="milliseconds"),
        "answered_in_ms": round(answer.took * 1000, 1),
        "refresh_seconds": settings.refresh,
        "syncrepl": settings.listens,
        "max_stale_seconds": settings.max_stale,
    }


def _path(membership: Membership, group: str, settings: DirectorySettings) -> tuple[str, ...] | None:
    """Active Directory resolves the nesting itself, and tells no path."""
    in_chain = settings.kind == "ldap" and settings.groups == "active_directory"
    return None if in_chain else membership.paths[group]


def _lines(answer: _Answer, settings: DirectorySettings) -> Iterator[str]:
    membership = answer.membership
    yield f"user    {membership.user}: {_standing(membership)}"
    if membership.where:
        yield f"entry   {membership.where}"
    yield f"from    {answer.origin}, asked just now, answered in {answer.took * 1000:.0f} ms"
    pushed = ", and at once where it offers syncrepl" if settings.listens else ""
    yield f"fresh   open sessions follow it every {settings.refresh:g} s{pushed}"
    yield f"        without an answer the last one serves for {settings.max_stale:g} s"
    for group in membership.groups or ():
        path = _path(membership, group, settings)
        yield f"group   {group}: {_why(path)}"


def _standing(membership: Membership) -> str:
    if membership.problem:
        return f"its groups are not known: {membership.problem}"
    if not membership.found:
        return "not known, so in no group"
    if membership.disabled:
        return "disabled, so in no group and without sessions"
    return f"in {len(membership.groups or ())} groups"


def _why(path: tuple[str, ...] | None) -> str:
    if path is None:
        return "by the in-chain rule of the server, which tells no path"
    return "a direct member" if len(path) == 1 else f"by {' > '.join(path)}"
