"""A call that blocks, beside the event loop, and that can be left behind.

Theory of operation. What a directory does below its own time limits (a TLS handshake, an answer that comes byte by
byte, name service, the KDC) may never come back (ldap_connection.py). A pool's thread would then be lost for all later
calls, and hold up the end of the process. So each call has a thread of its own, which ends with it, or is left behind
as a daemon. Those left behind are counted, and while they are too many, no call is made: a server that holds threads
costs a bounded number of them.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")

PATIENCE = 2.0
"""Seconds beyond a call's own time limit after which its thread is left behind."""

_MOST_LEFT_BEHIND = 32

_left_behind: set[threading.Thread] = set()


async def beside(call: Callable[[], _T], seconds: float) -> _T:
    """What `call` returns or raises. Raises TimeoutError after `seconds`: whatever it does later is not heard."""
    _left_behind.difference_update([thread for thread in _left_behind if not thread.is_alive()])
    if len(_left_behind) >= _MOST_LEFT_BEHIND:
        raise TimeoutError(f"{len(_left_behind)} earlier calls hang; none is made before one of them has ended")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        if not done.done():
            set_outcome(outcome)

    def work() -> None:
        try:
            outcome: Any = call()
            set_outcome: Callable[[Any], None] = done.set_result
        except BaseException as error:  # noqa: BLE001  # it is raised to whoever waits
            outcome, set_outcome = error, done.set_exception
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, set_outcome, outcome)

    thread = threading.Thread(target=work, name="directory", daemon=True)
    thread.start()
    try:
        return await asyncio.wait_for(done, seconds)
    except TimeoutError as error:
        _left_behind.add(thread)
        raise TimeoutError(f"no answer within {seconds:g} s") from error
