"""`pgguard serve`: run the proxy."""

import logging
import os
import resource
from pathlib import Path

import click
import uvloop

from pgguard.audit.log import AuditUnavailable
from pgguard.auth.acceptor import KerberosError
from pgguard.auth.identity import MapError
from pgguard.auth.tls import TlsError
from pgguard.cli._common import config_option
from pgguard.hardening import harden
from pgguard.holds.store import StoreUnavailable
from pgguard.policy.problems import RulesInvalid
from pgguard.runtime.colleagues import Alone
from pgguard.runtime.config import Config, ConfigError, load_config
from pgguard.runtime.entrance import Port
from pgguard.runtime.lifetime import live
from pgguard.runtime.logs import set_up_logging
from pgguard.runtime.secret_files import exposed_files
from pgguard.runtime.server import Server
from pgguard.runtime.session_trace import start_tracing
from pgguard.runtime.supervisor import Supervisor, WorkerFailed
from pgguard.runtime.team import Seat, Worker, take_seat

_log = logging.getLogger(__name__)

_CANNOT_START = (
    AuditUnavailable, KerberosError, MapError, TlsError, RulesInvalid, ConfigError, StoreUnavailable, WorkerFailed,
)  # fmt: skip


@click.command()
@config_option
@click.option("--trace", is_flag=True, help="Log each message between client and pgguard, without values and secrets.")
@click.option("--allow-root", is_flag=True, help="Run as root, which nothing that it does needs.")
@click.option("--worker", "seat", hidden=True, help="Set by the supervisor (runtime/team.py).")
def serve(path: Path, *, trace: bool, allow_root: bool, seat: str | None) -> None:
    """Run the proxy in the foreground.

    SIGHUP reloads rules and reopens the audit log. SIGTERM and SIGINT let transactions end, for [limits] drain_seconds,
    and end the proxy; a second one ends it at once. With [listen] workers above 1, SIGUSR2 replaces them all by new
    ones, without turning anybody away.
    """
    if os.geteuid() == 0 and not allow_root:
        raise click.ClickException(
            "pgguard needs no root and does not run as root; run it under an account of its own (deploy/pgguard.service"
            " does), or say --allow-root"
        )
    try:
        harden()
    except OSError as error:
        raise click.ClickException(str(error.strerror)) from error
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a session has two, and shells begin with 1,024
    try:
        taken = None if seat is None else take_seat(seat)
        config = load_config(path) if taken is None else taken.config
        set_up_logging(config.log, None if taken is None else taken.number)
        if trace:
            start_tracing()
        if taken is None:
            _warn_of_open_secrets(config, path)
        options = [option for option, given in (("--trace", trace), ("--allow-root", allow_root)) if given]
        uvloop.run(_serve(config, path, taken, tuple(options)))
    except _CANNOT_START as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        listen = config.listen
        raise click.ClickException(
            f"cannot listen on {listen.host} port {listen.port}: {error.strerror}; choose another port in [listen]"
        ) from error
    logging.shutdown()


def _warn_of_open_secrets(config: Config, path: Path) -> None:
    for file in exposed_files(config, path):
        _log.warning('"%s" holds a secret, and everybody on this machine may read or change it: chmod 600 it', file)


async def _serve(config: Config, path: Path, seat: Seat | None, options: tuple[str, ...]) -> None:
    if seat is not None:
        await live(Worker(seat))
    elif config.listen.workers > 1:
        await live(Supervisor(config, path, options))
    else:
        await live(Server(config, Alone(config.limits), Port(config.listen, os.environ)))
