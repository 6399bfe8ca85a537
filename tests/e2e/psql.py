"""psql as users call it: a command line, a ticket, and what it prints."""

import os
import subprocess

from pgguard.lab.lab import Lab


def run_psql(lab: Lab, user: str, *commands: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Each command is a `-c` of its own in one session, and goes on after errors as a person would."""
    return psql_with(lab.environment(user), *commands, **variables)


def psql_with(environment: dict[str, str], *commands: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`run_psql` of somebody whose environment was taken while all of the lab was running."""
    words = [word for command in commands for word in ("-c", command)]
    return subprocess.run(
        ["psql", "-XAt", "-v", "VERBOSITY=verbose", *words],
        env={**os.environ, **environment, "PGCONNECT_TIMEOUT": "20", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
