"""A statement that a session repeats costs one decision a second, however many rules there are."""

from pathlib import Path

import pytest

from bench.known import ANSWER, make_house, prepared, run
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


def stamp_of(connection: object) -> int:
    """The second that decisions are good for."""
    return connection._approval._surroundings.stamp().second
