"""The two ways to tell a hook: a signed POST, and a command. Both are ended at their time limit.

The POST is spoken on asyncio's own streams, which can be left at any moment; a library in a thread could not.
"""

import asyncio
import contextlib
import hashlib
import hmac
import os
import signal
import ssl
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

_LINE = 8192
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ")
"""What of pgguard's own a command gets: it needs no more, and none of the secrets."""


class HookFailed(Exception):  # noqa: N818  # it says what happened
    """The hook was not told; the message says why."""


def signature(secret: bytes, body: bytes) -> str:
    """As it stands in the header: the receiver computes the same over the body as it came."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


async def post(url: str, secret: bytes, body: bytes, seconds: float) -> None:
    """Any 2xx means that it was taken; redirections are not followed. Raises HookFailed."""
    where = urlsplit(url)
    try:
        async with asyncio.timeout(seconds):
            status = await _ask(where, _request(where, secret, body))
    except TimeoutError as error:
        raise HookFailed(f"no answer within {seconds:g} s") from error
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise HookFailed(f"no answer: {error}") from error
    words = status.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise HookFailed("what answers does not speak HTTP/1.1")
    if not words[1].startswith(b"2"):
        raise HookFailed(f"it answers {words[1].decode()}")


def _request(where: SplitResult, secret: bytes, body: bytes) -> bytes:
    target = (where.path or "/") + (f"?{where.query}" if where.query else "")
    host = where.netloc
    head = (
        f"POST {target} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "User-Agent: pgguard\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Pgguard-Signature: {signature(secret, body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


async def _ask(where: SplitResult, request: bytes) -> bytes:
    """The status line of the answer."""
    secure = where.scheme == "https"
    port = where.port or (443 if secure else 80)
    context = ssl.create_default_context() if secure else None
    reader, writer = await asyncio.open_connection(where.hostname, port, ssl=context, limit=_LINE)
    try:
        writer.write(request)
        await writer.drain()
        return await reader.readuntil(b"\n")
    finally:
        writer.transport.abort()


async def run(command: Sequence[str], body: bytes, seconds: float) -> None:
    """The event on its standard input, no shell in between; 0 means that it was taken. Raises HookFailed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            start_new_session=True,
        )
    except OSError as error:
        raise HookFailed(f"it cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(seconds):
            await process.communicate(body)
    except TimeoutError as error:
        raise HookFailed(f"it has not ended within {seconds:g} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it has started as well
            await process.wait()
    if process.returncode != 0:
        raise HookFailed(f"it ended with {process.returncode}")
