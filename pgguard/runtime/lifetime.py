"""A serving process from its start to its end: signals, and what the service manager is told of it.

SIGHUP reloads. SIGTERM and SIGINT end it in order: sessions end at a quiet moment, what runs is let finish; a second
one cuts that short.
"""

import asyncio
import os
import signal
from typing import Protocol

from pgguard.runtime.service_manager import ServiceManager


class Serving(Protocol):
    """What serves: one server, or a supervisor of several."""

    async def start(self) -> None: ...

    async def hang_up(self) -> None:
        """Reload what can be reloaded; reopen the audit log."""
        ...

    async def stop(self, hurry: asyncio.Event) -> None:
        """Let sessions end, until `hurry` is set or the time for that is over; then close everything."""
        ...


async def live(serving: Serving) -> None:
    """Serve until told to end. Raises what `start` raises."""
    manager = ServiceManager(os.environ, os.getpid())
    started, stopping, hurry = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    tasks = {asyncio.create_task(manager.feed_watchdog())}  # the start may take longer than the watchdog waits

    def end() -> None:
        (hurry if stopping.is_set() else stopping).set()

    async def reload() -> None:
        await started.wait()
        manager.reloading()
        await serving.hang_up()
        manager.ready("serving")

    def hang_up() -> None:
        task = asyncio.create_task(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    await serving.start()
    started.set()
    manager.ready("serving")
    await stopping.wait()
    manager.stopping()
    await serving.stop(hurry)
    for task in tasks:
        task.cancel()
