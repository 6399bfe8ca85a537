"""What is allowed goes through, under the very rules that the attacks run against.

The statements of a family build on each other: they run in their order, each in one session of its user's.
"""

import pytest

from .corpus import LEGITIMATE, Attempt, attempts
from .siege import Siege

ALL = attempts(LEGITIMATE)


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(
            attempt,
            id=f"{attempt.kind}: {attempt.name}"[:120],
            # that messages are answered at all is shown in each run: else the attacks by messages prove nothing
            marks=() if attempt.kind == "protocol" else pytest.mark.slow,
        )
        for attempt in ALL
    ],
)
def test_it_goes_through(siege: Siege, attempt: Attempt) -> None:
    assert siege.refusals(attempt, extended=False) == []
    if attempt.kind == "reading":
        assert siege.refusals(attempt, extended=True) == []


def test_there_are_as_many_as_the_documentation_says() -> None:
    assert len(ALL) > 300
