"""A statement that a session repeats costs one decision a second, however many rules there are."""

from pathlib import Path

import msgspec
import pytest

from bench.known import ANSWER, make_house, prepared, run
from pgguard.audit.redact import Redactor
from pgguard.runtime import approval


async def test_a_prepared_statement_is_decided_once_in_the_same_circumstances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What it had meant since its preparation made a new tuple of its facts each time, so that none was known again:
    each Bind was decided anew, against every rule."""
    made = []
    decide = approval.decide
    monkeypatch.setattr(approval, "decide", lambda *words: made.append(words) or decide(*words))
    house = make_house(tmp_path)
    connection, client = await prepared(house)
    before, second = len(made), {stamp_of(connection)}
    for _ in range(50):
        run(connection)
        second.add(stamp_of(connection))
    assert client.pieces[-50:] == [ANSWER] * 50
    assert len(made) - before <= len(second) - 1
    assert house.audit.path.read_text().count('"type":"decision"') >= 51, "each is recorded all the same"


async def test_values_that_are_redacted_are_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """They were redacted once for the record, and again to find that it makes no precedent."""
    house = make_house(tmp_path)
    redactor = house.audit.redactor = Redactor(msgspec.structs.replace(house.config.audit, values="hash"), None)
    connection, client = await prepared(house)
    run(connection)
    asked = []
    value = redactor.value
    monkeypatch.setattr(redactor, "value", lambda *words: asked.append(words) or value(*words))
    for _ in range(5):
        run(connection)
    assert client.pieces[-5:] == [ANSWER] * 5
    assert len(asked) == 5


def stamp_of(connection: object) -> int:
    """The second that decisions are good for."""
    return connection._approval._surroundings.stamp().second
