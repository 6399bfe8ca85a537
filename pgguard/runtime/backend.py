"""A session's connection to the database: opened, logged in, and cancelled when asked."""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path

from pgguard.auth.acceptor import KerberosError
from pgguard.auth.initiator import Initiator
from pgguard.auth.layers import LayerBroken
from pgguard.auth.settings import DatabaseSettings
from pgguard.auth.tls import database_facing
from pgguard.runtime.endpoint import Endpoint, EndpointClosed
from pgguard.session.server_login import LoginFailed, ServerLogin
from pgguard.wire import startup
from pgguard.wire.constants import PROTOCOL_3_0, Backend
from pgguard.wire.framing import Message, ProtocolViolation

_log = logging.getLogger(__name__)

_HEADER = 5
_KNOWN = frozenset(map(int, Backend))
_READ_ONLY = {("in_hot_standby", "on"), ("default_transaction_read_only", "on")}
"""What a database that takes no writes reports at login (PostgreSQL docs, section 55.2.7; from 14 on)."""


class Unreachable(Exception):  # noqa: N818  # it says what happened
    """No database host took the connection; the message says why for each."""


class BackendConnection:
    """A logged-in connection: its endpoint, and what the database told at login."""

    def __init__(self, host: str, endpoint: Endpoint, login: ServerLogin) -> None:
        self.host = host
        self.endpoint = endpoint
        self.parameters = login.parameters
        self.key = login.key


class Databases:
    """Opens connections to the configured database."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self.tls = database_facing(settings)

    async def connect(self, user: str, database: str, parameters: Mapping[str, str]) -> BackendConnection:
        """Log in at the first host that takes it, with these startup parameters and no others.

        Raises LoginFailed with the database's own error, or Unreachable. A host
        that refuses the login itself ends the search, as with libpq: the next would do no other.
        """
        reasons = []
        for host in self._settings.hosts:
            try:
                async with asyncio.timeout(self._settings.connect_seconds):
                    return await self._login(host, user, database, parameters)
            except LoginFailed as error:
                if not error.try_elsewhere or host == self._settings.hosts[-1]:
                    raise
                reasons.append(f"{host}:{self._settings.port}: {error}")
            except TimeoutError:
                reasons.append(f"{host}:{self._settings.port}: no answer within {self._settings.connect_seconds:g} s")
            except EndpointClosed:
                reasons.append(f"{host}:{self._settings.port}: the connection was closed during login")
            except (OSError, LayerBroken, ProtocolViolation, KerberosError) as error:
                reasons.append(f"{host}:{self._settings.port}: {error}")
        raise Unreachable("; ".join(reasons))

    async def _login(self, host: str, user: str, database: str, parameters: Mapping[str, str]) -> BackendConnection:
        endpoint = await self._open(host)
        try:
            packet = {"user": user, "database": database, **parameters}
            endpoint.write(startup.startup_message(PROTOCOL_3_0, packet))
            gss = None if self._settings.keytab is None else Initiator(self._settings, host)
            login = ServerLogin(user, self._password(), encrypted=self.tls is not None, gss=gss)
            while not login.ready:
                message = await _read_message(endpoint)
                if message.type == Backend.AUTHENTICATION:
                    # off the event loop: SCRAM computes for milliseconds, and GSSAPI may ask the KDC
                    answer = await asyncio.to_thread(login.receive, message)
                else:
                    answer = login.receive(message)
                if answer:
                    endpoint.write(answer)
            if self._settings.session == "read-write" and _READ_ONLY & login.parameters.items():
                raise OSError("it takes no writes")  # noqa: TRY301  # handled as any host that does not serve
        except BaseException:
            endpoint.abort()
            raise
        return BackendConnection(host, endpoint, login)

    async def _open(self, host: str) -> Endpoint:
        loop = asyncio.get_running_loop()
        if host.startswith("/"):
            _, endpoint = await loop.create_unix_connection(Endpoint, f"{host}/.s.PGSQL.{self._settings.port}")
        else:
            _, endpoint = await loop.create_connection(Endpoint, host, self._settings.port)
        try:
            if self.tls is not None:
                await _encrypt(endpoint, self.tls, host)
        except BaseException:
            endpoint.abort()
            raise
        return endpoint

    def _password(self) -> str | None:
        return read_secret(self._settings.password_file)

    async def cancel(self, connection: BackendConnection) -> None:
        """Send a CancelRequest, and wait until the database has closed that connection: then it has been delivered."""
        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                endpoint = await self._open(connection.host)
                try:
                    endpoint.write(startup.cancel_request(connection.key.process, connection.key.secret))
                    await endpoint.until_closed()
                finally:
                    endpoint.abort()
        except (OSError, TimeoutError, LayerBroken, EndpointClosed) as error:
            _log.warning("could not cancel a statement of backend %d: %s", connection.key.process, error)


def read_secret(path: Path | None) -> str | None:
    """The first line of a secret's file."""
    if path is None:
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[0] if lines else ""


async def _encrypt(endpoint: Endpoint, tls: ssl.SSLContext, host: str) -> None:
    endpoint.write(startup.ssl_request())
    if await endpoint.read(1) != b"S":
        raise LayerBroken("the database does not speak TLS")
    if endpoint.buffered:  # stuffed behind the answer: CVE-2021-23222
        raise LayerBroken("the database sent bytes behind its answer to SSLRequest")
    await endpoint.start_tls(tls, server_side=False, hostname=host)


async def _read_message(endpoint: Endpoint) -> Message:
    header = await endpoint.peek(_HEADER)
    if header[0] not in _KNOWN:
        raise ProtocolViolation("the server does not speak PostgreSQL's protocol")
    length = int.from_bytes(header[1:], "big")
    if not 4 <= length <= 1 << 20:
        raise ProtocolViolation("invalid message length during login to the database")
    return Message(header[0], await endpoint.read(1 + length))
