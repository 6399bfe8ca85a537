"""The `pgguard` command: finds its subcommands among the modules beside it and imports only the one that is called.

Each module of this package that is not listed in `_NOT_COMMANDS` holds one click command (or group) under the
module's own name: `cli/check.py` holds `check`, `cli/rule_docs.py` would hold `rule_docs`, called `pgguard rule-docs`.
"""

import importlib
import pkgutil

import click

import pgguard
import pgguard.cli

_NOT_COMMANDS = frozenset({"main"})


class _CommandModules(click.Group):
    """A group whose commands are the modules of `pgguard.cli`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        names = (module.name for module in pkgutil.iter_modules(pgguard.cli.__path__))
        return sorted(n.replace("_", "-") for n in names if n not in _NOT_COMMANDS and not n.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"pgguard.cli.{name}"), name)
        return command


@click.group(cls=_CommandModules, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(pgguard.__version__)
def main() -> None:
    """Kerberos query-level approval for PostgreSQL."""
