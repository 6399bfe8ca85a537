"""A call that blocks, beside the event loop, and that can be left behind.

Theory of operation. What a directory does below its own time limits (a TLS handshake, name service, the KDC) may never
come back (ldap_connection.py). A pool's thread would then be lost for all later calls, and hold up the end of the
process. So each call has a thread of its own, which ends with it, or is left behind as a daemon.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


async def beside(call: Callable[[], _T], seconds: float) -> _T:
    """What `call` returns or raises. Raises TimeoutError after `seconds`: whatever it does later is not heard."""
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

    threading.Thread(target=work, name="directory", daemon=True).start()
    return await asyncio.wait_for(done, seconds)
