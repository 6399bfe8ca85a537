"""What systemd is told of this process: that it is ready, reloads, stops, and is alive (sd_notify(3)).

It is one datagram of NAME=VALUE lines to the socket that NOTIFY_SOCKET names; without that variable nothing is said.
The watchdog is fed from the event loop, so that a loop that turns no more is noticed and the process restarted.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class ServiceManager:
    """`environment` as systemd set it; `process`: this one's id, for which the watchdog must be meant."""

    def __init__(self, environment: Mapping[str, str], process: int) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address  # "@": an abstract name (unix(7))
        meant = environment.get("WATCHDOG_PID", str(process)) == str(process)
        self.watchdog_seconds = int(environment.get("WATCHDOG_USEC", "0")) / 1e6 if meant else 0.0
        """In which the process must give a sign of life; 0: nobody waits for one."""

    def ready(self, status: str) -> None:
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """To be followed by `ready`."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=letting sessions end")

    async def feed_watchdog(self) -> None:
        """Until cancelled; returns at once where nobody waits for it."""
        while self._address and self.watchdog_seconds:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_seconds / 3)

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.warning('cannot tell the service manager at "%s": %s', self._address, error)
