"""The commands as a shell runs them, by click's own runner."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pgguard.cli.main import main

RULES = Path(__file__).parents[2] / "rules"
CATALOG = RULES / "shop.catalog.json"


@pytest.fixture
def pgguard() -> Callable[..., Result]:
    def call(*words: str | Path, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], input=stdin)

    return call
