"""The door with real clients: psql with tickets of a real KDC, over every transport, and clients that do not behave."""

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pgguard.auth.acceptor import Acceptor
from pgguard.auth.identity import IdentityMap
from pgguard.auth.layers import LayerBroken
from pgguard.auth.settings import KerberosSettings, TlsSettings
from pgguard.auth.tls import client_facing
from pgguard.lab.certificates import Certificates
from pgguard.lab.realm import Realm
from pgguard.runtime.admission import Admitted, Door, NotAdmitted
from pgguard.runtime.endpoint import Endpoint, EndpointClosed
from pgguard.session.refusing import refusal_error
from pgguard.wire import backend, startup
from pgguard.wire.constants import PROTOCOL_3_0, Authentication
from pgguard.wire.framing import ProtocolViolation
from pgguard.wire.startup import CancelRequest

SERVICE = "door/localhost"


@pytest.fixture
def kerberos(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> Realm:
    for key, value in realm.environment().items():
        monkeypatch.setenv(key, value)
    return realm


@pytest.fixture(scope="module")
def tickets(realm: Realm, servers: Path) -> Path:
    realm.add_principal("dora")
    return realm.kinit("dora", servers / "dora.ccache")


@pytest.fixture(scope="module")
def door_keytab(realm: Realm, servers: Path) -> Path:
    realm.add_principal(SERVICE)
    return realm.keytab(servers / "door.keytab", SERVICE)


class Listener:
    """Admits clients, and answers the first thing each sends by its end."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._tasks: set[asyncio.Task[None]] = set()
        self.outcomes: asyncio.Queue[object] = asyncio.Queue()
        self._endpoints: list[Endpoint] = []
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.get_running_loop().create_server(self._accept, "localhost", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def finished(self) -> None:
        """Everything that was admitted has gone again."""
        async with asyncio.timeout(10):
            await asyncio.gather(*self._tasks)
            for endpoint in self._endpoints:
                await endpoint.until_closed()

    def _accept(self) -> Endpoint:
        endpoint = Endpoint()
        self._endpoints.append(endpoint)
        task = asyncio.create_task(self._serve(endpoint))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return endpoint

    async def _serve(self, endpoint: Endpoint) -> None:
        try:
            result = await self._door.admit(endpoint)
        except NotAdmitted as error:
            endpoint.write(refusal_error(error.refusal, "FATAL"))
            endpoint.close()
            self.outcomes.put_nowait(error)
            return
        except (ProtocolViolation, LayerBroken, EndpointClosed) as error:
            endpoint.abort()
            self.outcomes.put_nowait(error)
            return
        self.outcomes.put_nowait(result)
        if isinstance(result, Admitted):
            endpoint.write(backend.authentication(Authentication.OK) + backend.ready_for_query(b"I"))
            length = struct.unpack_from("!I", await endpoint.peek(5), 1)[0]
            await endpoint.read(length + 1)
            endpoint.write(
                backend.row_description(["answer"])
                + b"".join(backend.data_row(["x" * 1000]) for _ in range(200))
                + backend.command_complete("SELECT 200")
                + backend.ready_for_query(b"I")
            )
            await endpoint.until_closed()
        endpoint.close()


@pytest.fixture
async def listener(kerberos: Realm, door_keytab: Path, certificates: Certificates) -> AsyncIterator[Listener]:
    acceptor = Acceptor(KerberosSettings(keytab=door_keytab, service="door"))
    tls = client_facing(TlsSettings(certificate=certificates.certificate, key=certificates.key))
    listener = Listener(Door(acceptor, IdentityMap((), acceptor.realms), tls))
    server = await listener.start()
    yield listener
    server.close()
    await listener.finished()


@pytest.fixture
def psql(listener: Listener, kerberos: Realm, tickets: Path, certificates: Certificates) -> Callable[..., object]:
    async def run(**parameters: str) -> tuple[str, str]:
        given = {
            "host": "localhost",
            "port": str(listener.port),
            "user": "dora",
            "krbsrvname": "door",
            "dbname": "shop",
            "sslrootcert": str(certificates.authority),
            **parameters,
        }
        process = await asyncio.create_subprocess_exec(
            "psql", "-XAtc", "select", " ".join(f"{k}='{v}'" for k, v in given.items()),
            env={**os.environ, **kerberos.environment(tickets)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(20):
            out, error = await process.communicate()
        return out.decode(), error.decode()

    return run


@pytest.mark.parametrize(
    ("parameters", "transport"),
    [
        ({"gssencmode": "require"}, "gss"),
        ({"gssencmode": "prefer"}, "gss"),
        ({"gssencmode": "disable", "sslmode": "disable"}, "plain"),
        ({"gssencmode": "disable", "sslmode": "verify-full"}, "tls"),
    ],
)
async def test_psql_comes_in_over_every_transport(listener: Listener, psql, parameters: dict[str, str], transport: str):
    out, error = await psql(**parameters)
    assert error == ""
    assert out == ("x" * 1000 + "\n") * 200
    admitted = await listener.outcomes.get()
    assert isinstance(admitted, Admitted)
    assert (admitted.user, admitted.database, admitted.transport) == ("dora", "shop", transport)
    assert str(admitted.accepted.principal) == "dora@PGGUARD.TEST"
    assert admitted.startup.application_name == "psql"


async def test_nobody_may_be_somebody_else(listener: Listener, psql):
    for parameters in ({"gssencmode": "require"}, {"gssencmode": "disable"}):
        _, error = await psql(user="postgres", **parameters)
        assert 'GSSAPI authentication failed for user "postgres"' in error
        assert 'principal "dora@PGGUARD.TEST" may not be user "postgres"' in error
        assert isinstance(await listener.outcomes.get(), NotAdmitted)


async def test_an_encoding_that_cannot_be_judged_is_refused(psql):
    _, error = await psql(client_encoding="LATIN1")
    assert 'client_encoding "LATIN1" is not supported by pgguard' in error


async def _talk(listener: Listener, data: bytes) -> bytes:
    """Send this and read until the other side closes."""
    reader, writer = await asyncio.open_connection("localhost", listener.port)
    writer.write(data)
    async with asyncio.timeout(10):
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := await reader.read(65536):
                answer += piece
    await _close(writer)
    return answer


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


GSSENC = struct.pack("!II", 8, 80877104)
HELLO = startup.startup_message(PROTOCOL_3_0, {"user": "dora"})


@pytest.mark.parametrize(
    "data",
    [
        startup.ssl_request() + HELLO,
        GSSENC + HELLO,
        b"\x16\x03\x01\x00\x05hello",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!I", 0x7FFFFFFF),
        struct.pack("!II", 8, 2 << 16),
        GSSENC[:4] + b"\0\0\0\0",
        HELLO + b"Q\0\0\0\x0dselect 1\0",
        HELLO + b"p\xff\xff\xff\xff",
    ],
)
async def test_who_does_not_speak_the_protocol_is_let_go(listener: Listener, data: bytes):
    answer = await _talk(listener, data)
    assert isinstance(await listener.outcomes.get(), ProtocolViolation | LayerBroken)
    assert answer in {b"", backend.authentication(Authentication.GSS)} or answer[:1] == b"\x15"


@pytest.mark.parametrize("junk", [b"x", b"\x60" * 300])
async def test_a_token_that_proves_nothing_is_a_fatal_error(listener: Listener, junk: bytes):
    answer = await _talk(listener, HELLO + b"p" + struct.pack("!I", len(junk) + 4) + junk)
    assert b"C28000\0" in answer
    assert b'GSSAPI authentication failed for user "dora"' in answer
    assert isinstance(await listener.outcomes.get(), NotAdmitted)


async def test_a_gss_handshake_that_fails_is_told_in_clear(psql, kerberos: Realm, tmp_path: Path, listener: Listener):
    reader, writer = await asyncio.open_connection("localhost", listener.port)
    writer.write(GSSENC)
    assert await reader.readexactly(1) == b"G"
    writer.write(struct.pack("!I", 4) + b"junk")
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"E")
    await _close(writer)
    assert isinstance(await listener.outcomes.get(), NotAdmitted)


async def test_a_cancel_request_is_recognised(listener: Listener):
    assert await _talk(listener, startup.cancel_request(7, b"12345678")) == b""
    assert await listener.outcomes.get() == CancelRequest(7, b"12345678")


async def test_a_client_may_come_byte_by_byte(listener: Listener):
    reader, writer = await asyncio.open_connection("localhost", listener.port)
    for byte in HELLO:
        writer.write(bytes((byte,)))
        await writer.drain()
    async with asyncio.timeout(10):
        assert await reader.readexactly(9) == backend.authentication(Authentication.GSS)
    await _close(writer)
    assert isinstance(await listener.outcomes.get(), EndpointClosed)
