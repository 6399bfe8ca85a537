"""A relay that reads, decides and records nothing: what the event loop and the sockets alone cost in this language.

    python -m bench.relay PORT TO_PORT

Each piece is written on as it came. pgguard, which uses the same loop in the same way, cannot cost less than this.
"""

import asyncio
import sys
from typing import cast

import uvloop


class _Side(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.other is not None:
            self.transport.writelines(self.other.early)

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        assert self.other is not None
        assert self.other.transport is not None
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        assert self.other is not None
        assert self.other.transport is not None
        self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def _relay(port: int, to: int) -> None:
    loop = asyncio.get_running_loop()
    connecting = set()

    def accept() -> _Side:
        client, server = _Side(), _Side()
        client.other, server.other = server, client
        task = loop.create_task(loop.create_connection(lambda: server, "127.0.0.1", to))
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return client

    listening = await loop.create_server(accept, ("127.0.0.1", "::1"), port)
    await listening.serve_forever()


if __name__ == "__main__":
    uvloop.run(_relay(int(sys.argv[1]), int(sys.argv[2])))
