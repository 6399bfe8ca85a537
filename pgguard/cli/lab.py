"""`pgguard lab`: a throwaway realm, directory, database and proxy, to try rules on a schema of one's own."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from pgguard.lab.entries import Entries
from pgguard.lab.errors import LabError
from pgguard.lab.lab import SHOP_PEOPLE, Lab, Plan, take_down
from pgguard.lab.services import SERVICE_NAMES
from pgguard.lab.services import serve as serve_one
from pgguard.lab.state import read_state

_FOLDER = click.option(
    "--dir", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), help="The lab's folder."
)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def lab() -> None:
    """Run a throwaway realm, directory, database and proxy on loopback."""


@lab.command()
@_FOLDER
@click.option("--database", default="shop", show_default=True, help="The database's name.")
@click.option("--sql", multiple=True, type=_FILE, help="Run by the superuser on the database; may be repeated.")
@click.option(
    "--rules", type=click.Path(exists=True, file_okay=False, path_type=Path), help="The rules; default: the demo's."
)
@click.option(
    "--directory", type=_FILE, default=SHOP_PEOPLE, help="YAML file of users and groups; default: the demo's."
)
@click.option("--db-role", default="", help="The role in which pgguard logs in; default: one named after the user.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A key of pgguard's configuration.")
@click.option("--no-proxy", is_flag=True, help="Leave the proxy to you: pgguard serve --config DIR/pgguard.toml")
def up(  # noqa: PLR0913, PLR0917 -- one parameter an option
    folder: Path,
    database: str,
    sql: tuple[Path, ...],
    rules: Path | None,
    directory: Path,
    db_role: str,
    settings: tuple[str, ...],
    no_proxy: bool,
) -> None:
    """Start a lab; returns when everything answers."""
    plan = Plan(folder, database, sql, rules, directory, db_role, settings, proxy=not no_proxy)
    with _errors_in_words(), _termination_as_interrupt():
        running = Lab(plan, tied=False)
        running.start()
    example = next(iter(running.people.users), "USER")
    where = running.folder
    click.echo(f"the lab is up in {where}")
    click.echo(f"  a user's psql:  pgguard lab shell --dir {where} {example} psql")
    click.echo(f"  in this shell:  . {where}/env.sh")
    click.echo(f"  its rules:      {running.rules}")
    click.echo(f"  its audit:      {running.audit}")
    click.echo(f"  end it:         pgguard lab down --dir {where}")


@lab.command()
@_FOLDER
def down(folder: Path) -> None:
    """End a lab; its logs, configuration and audit stay in the folder."""
    with _errors_in_words():
        ended = take_down(folder)
    click.echo(f"ended: {', '.join(ended)}" if ended else "nothing was running")


@lab.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_FOLDER
@click.argument("user")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(folder: Path, user: str, command: tuple[str, ...]) -> NoReturn:
    """A shell with USER's ticket and PG* variables, or one COMMAND in it."""
    with _errors_in_words():
        environment = read_state(folder.absolute()).environment_of(user)
    words = command or (os.environ.get("SHELL", "/bin/sh"),)
    try:
        os.execvpe(words[0], words, {**os.environ, **environment})  # noqa: S606 -- a shell is what was asked for
    except OSError as error:
        raise click.ClickException(f'cannot run "{words[0]}": {error.strerror}') from error


@lab.command()
@click.argument("name", type=click.Choice(SERVICE_NAMES))
@click.option(
    "--shared",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder in which services leave each other keytabs and krb5.conf.",
)
def service(name: str, shared: Path) -> None:
    """One server of the shop's lab in the foreground, in a container of its own: for compose.yaml."""
    with _errors_in_words():
        serve_one(name, shared)


@lab.group()
@_FOLDER
@click.pass_context
def directory(context: click.Context, folder: Path) -> None:
    """Change who is in which group, while sessions are open."""
    with _errors_in_words():
        ldap = read_state(folder.absolute()).ldap
    context.obj = Entries(ldap.uri, ldap.base, ldap.admin_dn, ldap.admin_password)


@directory.command("add-to-group")
@click.argument("user")
@click.argument("group")
@click.pass_context
def add_to_group(context: click.Context, user: str, group: str) -> None:
    """Make USER a member of GROUP."""
    with _errors_in_words():
        context.obj.add_to_group(user, group)


@directory.command("remove-from-group")
@click.argument("user")
@click.argument("group")
@click.pass_context
def remove_from_group(context: click.Context, user: str, group: str) -> None:
    """Take USER out of GROUP."""
    with _errors_in_words():
        context.obj.remove_from_group(user, group)


@contextmanager
def _errors_in_words() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """A `lab up` that is told to end takes down what it has already started."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
