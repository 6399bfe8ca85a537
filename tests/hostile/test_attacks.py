"""The attack corpus against the lab: no attempt sees a canary, changes what is not its own, or makes a session hang."""

import pytest

from .corpus import Attempt, attempts
from .siege import Siege

_EVERY = 9
"""A regular run takes every ninth attempt; the slow one takes them all."""

ALL = [
    pytest.param(attempt, id=f"{attempt.kind}: {attempt.name}"[:120], marks=() if n % _EVERY == 0 else pytest.mark.slow)
    for n, attempt in enumerate(attempts())
]


@pytest.mark.parametrize("attempt", ALL)
def test_nothing_is_won(siege: Siege, attempt: Attempt) -> None:
    assert siege.breaches(attempt) == []


def test_there_are_as_many_attempts_as_the_documentation_says() -> None:
    assert len(ALL) > 400
