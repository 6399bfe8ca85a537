"""Calls beside the event loop: what they give, and how many of them may hang."""

import threading

import pytest

from pgguard.directory import lane
from pgguard.directory.lane import beside


async def test_what_a_call_returns_or_raises_comes_back():
    assert await beside(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        await beside(lambda: 1 // 0, 5)


async def test_calls_that_hang_are_left_behind_up_to_a_bound(monkeypatch: pytest.MonkeyPatch):
    """A server that takes connections and answers none once cost a thread and a socket for each try, without end."""
    monkeypatch.setattr(lane, "_MOST_LEFT_BEHIND", 3)
    go_on = threading.Event()
    try:
        for _ in range(3):
            with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
                await beside(go_on.wait, 0.01)
        with pytest.raises(TimeoutError, match="3 earlier calls hang"):
            await beside(lambda: 7, 5)
    finally:
        go_on.set()
    for thread in list(lane._left_behind):
        thread.join()
    assert await beside(lambda: 7, 5) == 7
