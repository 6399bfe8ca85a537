"""The attack corpus against the lab: no attempt sees a canary, changes what is not its own, or makes a session hang."""

import pytest

from .corpus import ATTACKS, Attempt, attempts
from .siege import Siege

_EVERY = 25
"""A regular run takes every 25th attempt, and those that got through once; the slow one takes them all."""

ALL = [
    pytest.param(
        attempt,
        id=f"{attempt.kind}: {attempt.name}"[:120],
        marks=() if n % _EVERY == 0 or attempt.story else pytest.mark.slow,
    )
    for n, attempt in enumerate(attempts(ATTACKS))
]


@pytest.mark.parametrize("attempt", ALL)
def test_nothing_is_won(siege: Siege, attempt: Attempt) -> None:
    assert siege.breaches(attempt) == []


def test_there_are_as_many_attempts_as_the_documentation_says() -> None:
    assert len(ALL) > 1600
