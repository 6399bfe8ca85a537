"""One worker process, as its supervisor sees it: started, waited for, ended."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from pgguard.runtime.channel import Channel
from pgguard.runtime.config import Config, encode_config
from pgguard.runtime.ledger import Place
from pgguard.runtime.orders import Order, Report
from pgguard.runtime.team import framed

Handle = Callable[["Member", Order], Awaitable[object]]


class Member:
    def __init__(
        self, number: int, process: asyncio.subprocess.Process, passing: socket.socket, handle: Handle
    ) -> None:
        self.number = number
        self._process = process
        self._passing = passing
        self.channel = Channel(lambda order: handle(self, order), lambda: None)
        self.ready = asyncio.Event()
        self.draining = False
        self.connections = 0
        """How many it serves."""
        self.places: Counter[Place] = Counter()
        """What its sessions have taken in the ledger."""
        self.report = Report()
        """What it has told last."""
        self.since = asyncio.get_running_loop().time()

    @property
    def serves(self) -> bool:
        """Whether it may be given connections."""
        return self.ready.is_set() and not self.draining

    async def ended(self) -> int:
        """Wait for its end; its status."""
        status = await self._process.wait()
        self._passing.close()
        return status

    async def begun(self) -> bool:
        """Wait until it serves, or has ended; whether it serves."""
        waiting = [asyncio.create_task(self.ready.wait()), asyncio.create_task(self._process.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return self.ready.is_set()

    def hand(self, connection: socket.socket) -> bool:
        """Give it a connection; whether it took it."""
        try:
            socket.send_fds(self._passing, [b"c"], [connection.fileno()])
        except OSError:  # full, or at its end
            return False
        self.connections += 1
        return True

    def end(self) -> None:
        """Have it let its sessions end, and end; a second time, at once."""
        self.draining = True
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)


async def start_member(number: int, config: Config, command: Sequence[str], handle: Handle) -> Member:
    """Start a worker with this configuration; `command`: the words of `pgguard`. Raises OSError."""
    orders, passing = socket.socketpair(), socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs = orders[1].fileno(), passing[1].fileno()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "pgguard", *command, "--worker", f"{number}:{theirs[0]}:{theirs[1]}"),
        stdin=subprocess.DEVNULL,
        pass_fds=theirs,
        env=_environment(),
    )
    for one in (orders[1], passing[1]):
        one.close()
    orders[0].sendall(framed(encode_config(config)))
    for one in (orders[0], passing[0]):
        one.setblocking(False)
    member = Member(number, process, passing[0], handle)
    await asyncio.get_running_loop().create_unix_connection(lambda: member.channel, sock=orders[0])
    return member


def _environment() -> dict[str, str]:
    """What systemd has said to the supervisor is not for those below it."""
    own = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}
