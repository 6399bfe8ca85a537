"""The reference pages are what the code makes of itself: `./dev pages` makes them anew."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import click
import pytest

from pgguard.cli.main import main
from pgguard.policy.rule_reader import RULE_KEYS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "tools" / "pages.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["rules-reference.md", "cli.md"])
def test_the_page_is_what_the_code_makes(pages: ModuleType, name: str):
    assert (ROOT / "docs" / name).read_text() == pages.PAGES[name](), "run ./dev pages"


def test_every_key_of_a_rule_has_a_meaning(pages: ModuleType):
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (.*) \|$", pages.rules_reference(), re.MULTILINE)
    assert [key for key, meaning in rows if not meaning.strip()] == []
    assert set(RULE_KEYS) <= {key for key, _ in rows}


def test_every_command_has_a_heading_and_every_option_a_meaning(pages: ModuleType):
    page = pages.cli_reference()
    context = click.Context(main, info_name="pgguard")
    assert [name for name in main.list_commands(context) if f"\n## `pgguard {name}`\n" not in page] == []
    assert re.findall(r"^\| (`--?[^|]*) \|\s*\|$", page, re.MULTILINE) == []
