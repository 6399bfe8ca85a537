"""The address for those who watch: /metrics for Prometheus, /healthz and /readyz for whoever restarts or balances.

It is a port of its own ([metrics] in the configuration), so that it can be kept inside. `/healthz` answers while the
event loop turns; `/readyz` tells what keeps new sessions from working, a line each, with status 503.

Whoever reaches it is a stranger, and statements are served beside it: what a connection costs is bounded, in bytes, in
seconds from its first byte to the last of its answer, and in number. One too many ends the oldest, not itself: a crowd
that asks nothing, or takes no answer, keeps nobody from asking, least of all whoever restarts what does not answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from math import inf

from pgguard.runtime.config import MetricsSettings

_REQUEST_SECONDS = 5.0
_MAX_REQUEST = 8192
_MOST = 64
"""Connections at a time."""

_PAUSE_SECONDS = 0.1
_PAGE = "text/plain; version=0.0.4; charset=utf-8"
_PLAIN = "text/plain; charset=utf-8"


class SharedPage:
    """One page for all who ask before it is made, however often: making it takes the processor from statements."""

    def __init__(self, make: Callable[[], Awaitable[str]]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._next: asyncio.Task[str] | None = None
        self._made = -inf
        """When the last one was."""

    async def get(self) -> str:
        """A page that tells of nothing older than this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._make_next())
        return await asyncio.shield(self._next)

    async def _make_next(self) -> str:
        loop = asyncio.get_running_loop()
        async with self._making:
            await asyncio.sleep(self._made + _PAUSE_SECONDS - loop.time())
            self._next = None  # who asks from here on is told what happens from here on
            try:
                return await self._make()
            finally:
                self._made = loop.time()


class WatchPage:
    """`page` gives the metrics; `troubles` what keeps the proxy from being ready, nothing while it is."""

    def __init__(
        self, settings: MetricsSettings, page: Callable[[], Awaitable[str]], troubles: Callable[[], Sequence[str]]
    ) -> None:
        self._settings = settings
        self._page = SharedPage(page)
        self._troubles = troubles
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, None] = {}
        """In the order in which they came."""

    async def start(self) -> None:
        host = None if self._settings.host == "*" else self._settings.host
        self._server = await asyncio.start_server(self._serve, host, self._settings.port, limit=_MAX_REQUEST)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._make_room()
        self._open[writer] = None
        writer.transport.set_write_buffer_limits(0)  # `drain` returns when the kernel has all of the answer
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # whoever asks in this way gets no answer
        finally:
            self._open.pop(writer, None)
            writer.transport.abort()  # `close` would keep what is not taken, for as long as it is not taken

    def _make_room(self) -> None:
        if len(self._open) >= _MOST:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()

    async def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        if method not in {b"GET", b"HEAD"}:
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "GET only\n", body=True)
        path = rest.partition(b" ")[0].partition(b"?")[0]
        body = method == b"GET"
        if path == b"/metrics":
            return _response(HTTPStatus.OK, await self._page.get(), body=body, kind=_PAGE)
        if path == b"/healthz":
            return _response(HTTPStatus.OK, "ok\n", body=body)
        if path == b"/readyz":
            troubles = self._troubles()
            status = HTTPStatus.SERVICE_UNAVAILABLE if troubles else HTTPStatus.OK
            return _response(status, "".join(f"{trouble}\n" for trouble in troubles) or "ready\n", body=body)
        return _response(HTTPStatus.NOT_FOUND, "there are /metrics, /healthz and /readyz\n", body=body)


def _response(status: HTTPStatus, text: str, *, body: bool, kind: str = _PLAIN) -> bytes:
    content = text.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (content if body else b"")
