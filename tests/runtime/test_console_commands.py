"""Which text is which console command."""

import time

import pytest

from pgguard.runtime.console_commands import Commands, find


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("show holds", Commands.show_holds),
        ("  SHOW\n HOLDS ;; ", Commands.show_holds),
        ("show hold 42;", Commands.show_hold),
        ("approve 42", Commands.approve),
        ("refuse 42 'it''s; not\n today';", Commands.refuse),
        ('LISTEN "holds"', Commands.listen),
        ("UNLISTEN *", Commands.unlisten),
        ("show groups of alice", Commands.show_groups),
        ("terminate '68ab12'", Commands.terminate),
        ("begin", Commands.nothing),
        ("BEGIN ISOLATION LEVEL READ COMMITTED;", Commands.nothing),
        ("set datestyle to iso", Commands.nothing),
    ],
)
def test_commands_are_known_in_any_case_and_spacing(text: str, run: object):
    found = find(text)
    assert found is not None
    assert found[0].run is run


@pytest.mark.parametrize(
    "text", ["approve", "approve x", "approve 1 why", "approve 1 'a' 'b'", "show holds; reload", "begin; reload", "select 1"]
)  # fmt: skip
def test_anything_else_is_no_command(text: str):
    assert find(text) is None


@pytest.mark.parametrize("text", ["set" + " " * 60000 + ";x", "approve 1" + " " * 60000 + "x", "show" + " " * 65000])
def test_no_text_keeps_the_event_loop_from_others(text: str):
    began = time.process_time()
    find(text)
    assert time.process_time() - began < 0.5
