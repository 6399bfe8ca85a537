"""The baseline as a file: its head tells what its tool leaves out, and nothing of that is in it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from pgguard.model.access import Kind, Privilege
from pgguard.runtime.rulebook import read_baseline

from .asking import rules_of

ROOT = Path(__file__).parents[2]
TEXT = read_baseline(None)[0].content.decode()


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("baseline_tool", ROOT / "tools" / "baseline.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


def test_its_head_is_what_its_tool_writes(tool: ModuleType):
    assert TEXT.partition("rules:\n")[0] == tool.head()


def test_nothing_that_is_left_out_is_in_it(tool: ModuleType):
    listed = {
        (target.kind, pattern.source.partition(".")[2])
        for rule in rules_of("rules: []", baseline=TEXT).rules
        if rule.columns is None
        for target in rule.targets
        for pattern in target.patterns
    }
    functions = [name for kind, name in listed if kind is Kind.FUNCTION]
    assert len(functions) > 1000
    assert [name for name in functions if not tool.harmless(name)] == []
    assert [name for kind, name in listed if kind is Kind.TABLE and tool.secret(name)] == []


def test_it_lets_nobody_change_anything_but_settings():
    privileges = {p for rule in rules_of("rules: []", baseline=TEXT).rules for t in rule.targets for p in t.privileges}
    assert privileges == {Privilege.CONNECT, Privilege.SELECT, Privilege.EXECUTE, Privilege.SET, Privilege.SHOW}
