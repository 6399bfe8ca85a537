"""One look at a probe's source: a query, a file, an HTTP answer (rule-language, section 3, "Probes and labels").

Whatever goes wrong raises ProbeFailed, with a message that says what and where; the probe then has no value, and
conditions on it are unknown.
"""

import asyncio
import contextlib
import functools
import http.client
import io
import json
import os
import re
import ssl
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import SplitResult, urlsplit

import asyncpg

from pgguard.model.context import StateValue
from pgguard.policy.probes import Probe

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
"""Opens a connection to the named database with the proxy's own login."""

_LONGEST_ANSWER = 1 << 20
_PIECE = 1 << 16
_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile("[!-~]+")
"""What an address may be made of: nothing that could end the line of a request."""

_GOODBYE_SECONDS = 1.0


class ProbeFailed(Exception):  # noqa: N818  # it says what happened
    """The source gave no value."""


async def look_at_file(path: str) -> bool:
    """True while the file exists."""
    try:
        await asyncio.to_thread(os.stat, path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ProbeFailed(f'file "{path}" cannot be looked at: {error.strerror}') from error
    return True


async def look_at_http(url: str, path: str, seconds: float) -> StateValue:
    """The value at a dotted path of the JSON that a GET brings, whole, within this time."""
    try:
        async with asyncio.timeout(seconds):
            received = await _get(url)
    except TimeoutError as error:
        raise ProbeFailed(f'"{url}" does not answer in full within {seconds:g} s') from error
    except OSError as error:
        raise ProbeFailed(f'"{url}" does not answer: {error or type(error).__name__}') from error
    try:
        value: Any = json.loads(_body(url, received))
    except ValueError as error:
        raise ProbeFailed(f'"{url}" answers no JSON: {error}') from error
    for step in path.split("."):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (LookupError, ValueError, TypeError) as error:
            raise ProbeFailed(f'the answer of "{url}" has no "{step}" of "{path}"') from error
    return _plain(value, f'"{path}" of "{url}"')


async def _get(url: str) -> bytes:
    """All that a server sends for a GET, until it closes, as it is asked to.

    On the event loop and not in a thread: there a time limit counts for the whole and not for each piece, and whoever
    sends a byte now and then for ever cannot hold anything.
    """
    parts, port = _address(url)
    context = _tls() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.netloc.rpartition("@")[2]
        writer.write(
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n".encode()
        )
        received = bytearray()
        while len(received) <= _LONGEST_ANSWER and (piece := await reader.read(_PIECE)):
            received += piece
        return bytes(received)
    finally:
        writer.transport.abort()


def _address(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        parts, port = SplitResult("", "", "", "", ""), 0
    if parts.hostname is None or not _VISIBLE.fullmatch(url):
        raise ProbeFailed(f'"{url}" is no http:// or https:// address')
    return parts, port


@functools.cache
def _tls() -> ssl.SSLContext:
    """Made once: it reads all authorities that the system trusts."""
    return ssl.create_default_context()


def _body(url: str, received: bytes) -> bytes:
    """The body of an answer with status 200 (RFC 9112)."""
    if len(received) > _LONGEST_ANSWER:
        raise ProbeFailed(f'"{url}" answers more than {_LONGEST_ANSWER} bytes')
    answer = http.client.HTTPResponse(_Received(received), method="GET")  # type: ignore[arg-type]  # it reads a file
    try:
        answer.begin()
        body: bytes = answer.read()
    except http.client.HTTPException as error:
        raise ProbeFailed(f'"{url}" answers no HTTP: {error or type(error).__name__}') from error
    if answer.status != http.client.OK:
        raise ProbeFailed(f'"{url}" answers {answer.status} {answer.reason}')
    return body


class _Received:
    """What has been received, in the place of the socket that http.client reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._data)


class Query:
    """A query's single value, over a connection that is kept; read only, with a time limit in the database as well."""

    def __init__(self, sql: str, database: str, connect: Connect) -> None:
        self._sql = sql
        self._database = database
        self._connect = connect
        self._connection: asyncpg.Connection | None = None

    async def look(self, seconds: float) -> StateValue:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect(self._database)
            async with self._connection.transaction(readonly=True):
                await self._connection.execute(f"set local statement_timeout = {int(seconds * 1000) + 1}")
                rows = await self._connection.fetch(self._sql, timeout=seconds + 1)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            await self.close()
            raise ProbeFailed(f'the query in database "{self._database}" failed: {error}') from error
        if len(rows) != 1 or len(rows[0]) != 1:
            raise ProbeFailed(f'the query in database "{self._database}" must give one row of one column')
        return _plain(rows[0][0], f'the query in database "{self._database}"')

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=_GOODBYE_SECONDS)


async def look_once(probe: Probe, query: Query | None, seconds: float) -> StateValue:
    """The probe's value now. Raises ProbeFailed."""
    if query is not None:
        return await query.look(seconds)
    if probe.file is not None:
        return await look_at_file(probe.file)
    assert probe.http is not None, "a probe has exactly one source"
    assert probe.json is not None, "http and json go together"
    return await look_at_http(probe.http, probe.json, seconds)


def _plain(value: Any, where: str) -> StateValue:
    """Numbers, booleans and text are values; null and everything else are none."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bool | int | float | str):
        return value
    raise ProbeFailed(f"{where} gives {'null' if value is None else type(value).__name__}, which does not compare")
