"""`pgguard serve`: run the proxy."""

import logging
from pathlib import Path

import click
import uvloop

from pgguard.audit.log import AuditUnavailable
from pgguard.auth.acceptor import KerberosError
from pgguard.auth.identity import MapError
from pgguard.auth.tls import TlsError
from pgguard.cli._common import config_option
from pgguard.holds.store import StoreUnavailable
from pgguard.policy.problems import RulesInvalid
from pgguard.runtime.config import Config, ConfigError, load_config
from pgguard.runtime.lifetime import live
from pgguard.runtime.logs import set_up_logging
from pgguard.runtime.server import Server
from pgguard.runtime.session_trace import start_tracing

_CANNOT_START = (AuditUnavailable, KerberosError, MapError, TlsError, RulesInvalid, ConfigError, StoreUnavailable)


@click.command()
@config_option
@click.option("--trace", is_flag=True, help="Log each message between client and pgguard, without values and secrets.")
def serve(path: Path, *, trace: bool) -> None:
    """Run the proxy in the foreground.

    SIGHUP reloads rules and reopens the audit log. SIGTERM and SIGINT let transactions end, for [limits] drain_seconds,
    and end the proxy; a second one ends it at once.
    """
    try:
        config = load_config(path)
        set_up_logging(config.log)
        if trace:
            start_tracing()
        uvloop.run(_serve(config))
    except _CANNOT_START as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        listen = config.listen
        raise click.ClickException(
            f"cannot listen on {listen.host} port {listen.port}: {error.strerror}; choose another port in [listen]"
        ) from error
    logging.shutdown()


async def _serve(config: Config) -> None:
    await live(Server(config))
