"""The commands in the documentation: they run, and show what stands below them; those that nothing runs say why, and all
others exist.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import click
import psycopg
import pytest

from pgguard.audit.verify import verify_files
from pgguard.cli.main import main
from pgguard.lab.lab import Lab, Plan
from tests.docs.pages import PAGES, ROOT, Block, Stage, blocks, commands, run
from tests.e2e.psql import run_psql

_GIT = (
    "git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "-c", "init.defaultBranch=main",
)  # fmt: skip


@pytest.fixture
def folder(servers: Path) -> Iterator[Path]:
    """Short and world-searchable, for the labs that commands bring up; they are ended whatever happens."""
    folder = servers / "typed"
    folder.mkdir()
    yield folder
    for lab in folder.glob("**/lab.json"):
        subprocess.run(
            [sys.executable, "-P", "-m", "pgguard", "lab", "down", "--dir", lab.parent],
            capture_output=True,
            check=False,
        )
    shutil.rmtree(folder)


def _environment(folder: Path) -> dict[str, str]:
    """One in which `pgguard` is this checkout's."""
    programs = folder / "programs"
    programs.mkdir()
    command = programs / "pgguard"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m pgguard "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def _run_page(name: str, stage: Stage) -> None:
    for block in _blocks_for_a_shell():
        if block.page == name and block.not_run is None:
            for command in commands(block):
                run(command, stage)


def _blocks_for_a_shell() -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.is_for_a_shell]


def test_the_quick_start(folder: Path):
    _run_page("quick-start.md", Stage(folder, _environment(folder), {"/tmp/": f"{folder}/"}))


def test_the_readme(folder: Path):
    """Its first commands in a clone; `./dev` without installing what is missing."""
    (folder / "myschema.sql").write_text("create table t (id int);\n")
    (folder / "myrules").mkdir()
    (folder / "myrules" / "t.yaml").write_text("rules: []\n")
    places = {"<this repository>": str(ROOT), "./dev ": "pgguard ", "/tmp/": f"{folder}/"}
    _run_page("README.md", Stage(folder, _environment(folder), places))


@pytest.fixture
def shop(lab: Lab, folder: Path) -> Stage:
    """A checkout of the shop's rules, with what its people have been doing."""
    run_psql(lab, "alice", "select id, total from sales.orders", "select card_number from sales.customers")
    checkout = folder / "checkout"
    checkout.mkdir()
    audit, rules = checkout / "audit.jsonl", lab.rules
    shutil.copyfile(lab.audit, audit)
    for copy in ("rules", "new-rules"):
        shutil.copytree(rules, checkout / copy)
    branch = (["init"], ["add", "rules"], ["commit", "--quiet", "-m", "rules"], ["checkout", "--quiet", "-b", "change"])
    for words in branch:
        subprocess.run([*_GIT, *words], cwd=checkout, check=True, capture_output=True)
    places = {
        "postgresql://…": lab.postgres.dsn("shop"),
        "/var/log/pgguard/audit.jsonl": str(audit),
        "9f2c…": verify_files([audit], None).head,
    }
    environment = {**_environment(folder), **lab.environment("alice")}
    answers = ("git worktree",)  # followed by `rules diff`, which ends with 1 for a change
    return Stage(checkout, environment, places, answers)


@pytest.mark.parametrize("page", ["audit.md", "replay.md", "rules.md"])
def test_a_page_about_rules_and_records(shop: Stage, page: str):
    _run_page(page, shop)


def test_the_worst_night(folder: Path):
    """What an operator looks at first, and what ends the sessions that came in around pgguard."""
    with Lab(Plan(folder / "night", settings=('console.admin_groups=["dba"]',))) as lab:
        run_psql(lab, "alice", "select card_number from sales.customers")
        places = {
            "/etc/pgguard/pgguard.toml": str(lab.config),
            "/var/log/pgguard/audit.jsonl": str(lab.audit),
            "-p 6432": f"-p {lab.proxy.port}",
        }
        environment = {**_environment(folder), **lab.environment("dora")}
        _run_page("operations.md", Stage(folder, environment, places))
        (ending,) = (block.text for page in PAGES for block in blocks(page) if "pg_terminate_backend" in block.text)
        lab.postgres.run("create role stranger login superuser", "shop")
        with closing(psycopg.connect(lab.postgres.dsn("shop"), user="stranger")) as around:
            lab.postgres.run(ending, "shop")
            with pytest.raises(psycopg.OperationalError):
                around.execute("select 1")


_RUN: dict[str, Callable[..., None]] = {
    "README.md": test_the_readme,
    "quick-start.md": test_the_quick_start,
    "operations.md": test_the_worst_night,
    **dict.fromkeys(("audit.md", "replay.md", "rules.md"), test_a_page_about_rules_and_records),
}
_RUN_ELSEWHERE = {"security.md": "tests/docs/test_behind_pgguard.py"}


def test_every_command_is_run_or_says_why_not():
    forgotten = [
        f"{block.page}:{block.line}"
        for block in _blocks_for_a_shell()
        if block.not_run is None and block.page not in _RUN and block.page not in _RUN_ELSEWHERE
    ]
    assert forgotten == []


def test_security_has_no_command_that_its_own_test_does_not_run():
    assert [
        b.line for b in _blocks_for_a_shell() if b.page == "security.md" and b.language == "sh" and not b.not_run
    ] == []


def _installed_by(page: str) -> set[str]:
    typed = "".join(block.text for block in _blocks_for_a_shell() if block.page == page).replace("\\\n", " ")
    return {package for line in re.findall(r"^apt-get install (.*)$", typed, re.MULTILINE) for package in line.split()}


def test_the_packages_that_are_installed_by_hand_are_those_that_dev_installs():
    """The quick start named none of what its lab runs."""
    lists = re.findall(r'^\w*packages="([^"]+)"$', (ROOT / "dev").read_text(), re.MULTILINE)
    assert _installed_by("quick-start.md") == {package for names in lists for package in names.split()}
    assert _installed_by("operations.md") < _installed_by("quick-start.md")


def test_what_is_said_to_be_run_elsewhere_is_there():
    named = {path for b in _blocks_for_a_shell() for path in re.findall(r"\btests/[\w/.]+\w", b.not_run or "")}
    assert named
    assert [path for path in sorted({*named, *_RUN_ELSEWHERE.values()}) if not (ROOT / path).exists()] == []


def test_no_command_hides_in_a_block_that_is_none():
    begins = re.compile(r"^(\$ |pgguard |\./dev |psql |docker |systemctl )", re.MULTILINE)
    hidden = [
        f"{block.page}:{block.line}"
        for page in PAGES
        for block in blocks(page)
        if not block.is_for_a_shell and page.name != "cli.md" and begins.search(block.text)
    ]
    assert hidden == []


def _typed() -> list[tuple[str, str]]:
    """Every `pgguard …` in a block of code, with its page."""
    found = []
    for block in _blocks_for_a_shell():
        for line in block.text.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||[|>;](?= )", re.sub(r"\s#.*$", "", line)):
                words = part.strip().removeprefix("$ ")
                if words.startswith("pgguard ") and "[OPTIONS]" not in words:
                    found.append((block.page, words))
    return found


@pytest.mark.parametrize(("page", "command"), _typed())
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
    assert len(_typed()) >= 20
