"""The address for those who watch: /metrics for Prometheus, /healthz and /readyz for whoever restarts or balances.

It is a port of its own ([metrics] in the configuration), so that it can be kept inside. `/healthz` answers while the
event loop turns; `/readyz` tells what keeps new sessions from working, a line each, with status 503.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from pgguard.runtime.config import MetricsSettings

_REQUEST_SECONDS = 5.0
_MAX_REQUEST = 8192
_PAGE = "text/plain; version=0.0.4; charset=utf-8"
_PLAIN = "text/plain; charset=utf-8"


class WatchPage:
    """`page` gives the metrics; `troubles` what keeps the proxy from being ready, nothing while it is."""

    def __init__(
        self, settings: MetricsSettings, page: Callable[[], Awaitable[str]], troubles: Callable[[], Sequence[str]]
    ) -> None:
        self._settings = settings
        self._page = page
        self._troubles = troubles
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        host = None if self._settings.host == "*" else self._settings.host
        self._server = await asyncio.start_server(self._serve, host, self._settings.port, limit=_MAX_REQUEST)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # whoever asks in this way gets no answer
        finally:
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        if method not in {b"GET", b"HEAD"}:
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "GET only\n", body=True)
        path = rest.partition(b" ")[0].partition(b"?")[0]
        body = method == b"GET"
        if path == b"/metrics":
            return _response(HTTPStatus.OK, await self._page(), body=body, kind=_PAGE)
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
