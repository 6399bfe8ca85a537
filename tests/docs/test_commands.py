"""The commands in the documentation: those of the quick start run and show what stands there; all others exist."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pgguard.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUICK_START = ROOT / "docs" / "quick-start.md"

_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _typed_and_shown(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each command with the lines below it; "> " goes on with a command as in a shell."""
    typed, shown = "", []
    for line in "".join(_CONSOLE.findall(page.read_text())).splitlines():
        if line.startswith("$ "):
            if typed:
                yield typed, shown
            typed, shown = line[2:], []
        elif line.startswith("> "):
            typed += f"\n{line[2:]}"
        else:
            shown.append(line.rstrip())
    yield typed, shown


def _matches(shown: list[str], expected: list[str]) -> bool:
    """ "…" stands for anything within a line, and for any lines where it stands alone."""
    pattern = "\n".join(
        r"[\s\S]*?" if line == "…" else ".*".join(re.escape(part) for part in line.split("…")) for line in expected
    )
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in shown)) is not None


def test_the_quick_start_does_what_it_says():
    with tempfile.TemporaryDirectory(prefix="pgguard-qs-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        command = folder / "pgguard"
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m pgguard "$@"\n')
        command.chmod(0o755)
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        try:
            for typed, expected in _typed_and_shown(QUICK_START):
                done = subprocess.run(
                    ["bash", "-c", typed.replace("/tmp/", f"{folder}/")],
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment, cwd="/",
                )  # fmt: skip
                shown = [line for line in done.stdout.replace(f"{folder}/", "/tmp/").splitlines() if line]
                assert _matches(shown, expected), f"$ {typed}\n{done.stdout}\nwas to be\n" + "\n".join(expected)
        finally:
            subprocess.run([command, "lab", "down", "--dir", folder / "mylab"], capture_output=True, check=False)


def _commands() -> list[tuple[str, str]]:
    """Every `pgguard …` in a block of code, with its page."""
    found = []
    for page in PAGES:
        for block in _FENCED.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\|\||[|>;](?= )", re.sub(r"\s#.*$", "", line)):
                    words = part.strip().removeprefix("$ ")
                    if words.startswith("pgguard ") and not words.startswith("pgguard &") and "[OPTIONS]" not in words:
                        found.append((page.name, words))
    return found


@pytest.mark.parametrize(("page", "command"), _commands())
def test_every_command_and_option_exists(page: str, command: str):
    words = shlex.split(command)[1:]
    current: click.Command = main
    while True:
        context = click.Context(current, **current.context_settings)
        parser = current.make_parser(context)
        _, words, _ = parser.parse_args(words)  # raises for an option that there is not
        if not isinstance(current, click.Group):
            return
        if not words:
            return
        name, inner, words = current.resolve_command(context, words)
        assert inner is not None, f"{page}: there is no command {name}"
        current = inner


def test_commands_are_found_at_all():
    assert len(_commands()) >= 15
