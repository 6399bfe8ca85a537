"""One look at a probe's source: a query, a file, an HTTP answer (rule-language, section 3, "Probes and labels").

Whatever goes wrong raises ProbeFailed, with a message that says what and where; the probe then has no value, and
conditions on it are unknown.
"""

import asyncio
import contextlib
import http.client
import json
import os
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from pgguard.model.context import StateValue
from pgguard.policy.probes import Probe

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
"""Opens a connection to the named database with the proxy's own login."""

_LONGEST_ANSWER = 1 << 20
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
    """The value at a dotted path of the JSON that a GET brings."""
    body = await asyncio.to_thread(_get, url, seconds)
    try:
        value: Any = json.loads(body)
    except ValueError as error:
        raise ProbeFailed(f'"{url}" answers no JSON: {error}') from error
    for step in path.split("."):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (LookupError, ValueError, TypeError) as error:
            raise ProbeFailed(f'the answer of "{url}" has no "{step}" of "{path}"') from error
    return _plain(value, f'"{path}" of "{url}"')


def _get(url: str, seconds: float) -> bytes:
    parts = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or parts.hostname is None:
        raise ProbeFailed(f'"{url}" is no http:// or https:// address')
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=seconds)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        body: bytes = answer.read(_LONGEST_ANSWER + 1)
    except (OSError, http.client.HTTPException) as error:
        raise ProbeFailed(f'"{url}" does not answer: {error or type(error).__name__}') from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ProbeFailed(f'"{url}" answers {answer.status} {answer.reason}')
    if len(body) > _LONGEST_ANSWER:
        raise ProbeFailed(f'"{url}" answers more than {_LONGEST_ANSWER} bytes')
    return body


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
