"""The operator's log: what a client calls itself stays a name in it."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest

from pgguard.runtime.config import LogSettings
from pgguard.runtime.logs import set_up_logging

Written = Callable[[], list[str]]


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], Written]]:
    """`log("json")` sets logging up; what it returns gives the lines written since."""
    root = logging.getLogger("pgguard")
    before = root.level, list(root.handlers)

    def set_up(form: str) -> Written:
        set_up_logging(LogSettings(format=form), None)
        return lambda: list(capsys.readouterr().err.splitlines())

    yield set_up
    root.setLevel(before[0])
    root.handlers[:] = before[1]


_FORGED = (
    'alice"\n2026-01-01 00:00:00,000 INFO    pgguard.runtime.server: all is well\r\x1b[2J\x9b2J\x7f\u2028\u202eend'
)


def test_a_name_forges_no_line_and_steers_no_terminal(log: Callable[[str], Written]):
    """A user's name from a startup packet, which nobody has proven, was written as it came."""
    lines = log("console")
    logging.getLogger("pgguard.test").info('principal may not be user "%s"', _FORGED)
    first, second = lines()
    assert first.endswith('may not be user "alice"')
    assert second == (
        "    2026-01-01 00:00:00,000 INFO    pgguard.runtime.server: all is well"
        r"\x0d\x1b[2J\x9b2J\x7f\u2028\u202eend"
        '"'
    )


def test_as_json_it_is_one_line_and_the_name_as_it_was(log: Callable[[str], Written]):
    lines = log("json")
    logging.getLogger("pgguard.test").info("%s", _FORGED)
    (line,) = lines()
    assert json.loads(line)["message"] == _FORGED
    assert line.isascii()


def test_what_is_told_in_several_lines_stays_readable(log: Callable[[str], Written]):
    lines = log("console")
    logging.getLogger("pgguard.test").error("rules were not reloaded:\n%s", "a.yaml:1:1: x\nb.yaml:1:1: y")
    assert lines()[1:] == ["    a.yaml:1:1: x", "    b.yaml:1:1: y"]
