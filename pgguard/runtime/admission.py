"""The door: from a client's first byte to a proven principal and a startup packet.

Theory of operation (PostgreSQL docs, section 55.2.1, 55.2.10, 55.2.13). A client may ask for TLS or GSS encryption, in
either order while the answer is 'N', and neither after a success; or begin TLS at once with ALPN. Then it sends its
startup packet and proves itself by GSSAPI, where the encryption has not already proven it. Bytes that lie behind a
request for encryption were not protected by it: the connection ends (CVE-2021-23214). Each step reads no more than its
protocol allows, and the whole has a time limit (set by the caller).
"""

import ssl
import struct

import msgspec

from pgguard.auth.acceptor import Accepted, Acceptor, KerberosError
from pgguard.auth.identity import IdentityMap
from pgguard.auth.layers import GssLayer
from pgguard.model.context import Transport
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.runtime.endpoint import Endpoint
from pgguard.wire import backend, startup
from pgguard.wire.constants import PROTOCOL_3_0, PROTOCOL_3_2, Authentication, Frontend
from pgguard.wire.framing import ProtocolViolation, first_packet_length
from pgguard.wire.startup import CancelRequest, GssEncRequest, SslRequest, StartupMessage

_LENGTH = struct.Struct("!I")
_MAX_TOKEN = 65536
_TLS_HANDSHAKE = 0x16


class NotAdmitted(Exception):  # noqa: N818  # it says what happened
    """The client is turned away with this FATAL error."""

    def __init__(self, refusal: Refusal, log: str = "") -> None:
        super().__init__(log or refusal.message)
        self.refusal = refusal


class Admitted(msgspec.Struct, frozen=True):
    """A client that has proven who it is. `version`: the protocol version that was agreed on."""

    user: str
    database: str
    parameters: dict[str, str]
    accepted: Accepted
    transport: Transport
    version: int


class Door:
    """What all admissions share."""

    def __init__(self, acceptor: Acceptor, identities: IdentityMap, tls: ssl.SSLContext | None) -> None:
        self._acceptor = acceptor
        self._identities = identities
        self._tls = tls

    async def admit(self, endpoint: Endpoint) -> Admitted | CancelRequest:
        """Take one client through the door.

        Raises NotAdmitted, and ProtocolViolation, LayerBroken or EndpointClosed where there is nobody to answer.
        """
        transport, accepted = Transport.PLAIN, None
        if self._tls is not None and (await endpoint.peek(1))[0] == _TLS_HANDSHAKE:
            await self._direct_tls(endpoint, self._tls)
            transport = Transport.TLS
        while True:
            packet = await self._first_packet(endpoint)
            match packet:
                case CancelRequest():
                    return packet
                case StartupMessage():
                    break
                case SslRequest():
                    if transport is not Transport.PLAIN:
                        raise ProtocolViolation("SSLRequest inside an encrypted connection")
                    if self._tls is None:
                        endpoint.write(b"N")
                        continue
                    _nothing_behind(endpoint)
                    endpoint.write(b"S")
                    await endpoint.start_tls(self._tls, server_side=True)
                    transport = Transport.TLS
                case GssEncRequest():
                    if transport is not Transport.PLAIN:
                        raise ProtocolViolation("GSSENCRequest inside an encrypted connection")
                    _nothing_behind(endpoint)
                    endpoint.write(b"G")
                    accepted = await self._gss_encryption(endpoint)
                    transport = Transport.GSS
        version = _negotiate(endpoint, packet)
        user = packet.parameters.get("user", "")
        if not user:
            raise NotAdmitted(
                Refusal(
                    SqlState.INVALID_AUTHORIZATION_SPECIFICATION, "no PostgreSQL user name specified in startup packet"
                )
            )
        accepted = accepted or await self._authenticate(endpoint, user)
        if not self._identities.may_be(accepted.principal, user):
            raise NotAdmitted(_failed(user), f'principal "{accepted.principal}" may not be user "{user}"')
        database = packet.parameters.get("database") or user
        return Admitted(user, database, packet.parameters, accepted, transport, version)

    async def _first_packet(self, endpoint: Endpoint) -> startup.FirstPacket:
        length = first_packet_length(await endpoint.peek(_LENGTH.size))
        assert length is not None, "four bytes tell the length"
        return startup.read_first_packet(await endpoint.read(length))

    async def _direct_tls(self, endpoint: Endpoint, context: ssl.SSLContext) -> None:
        layer = await endpoint.start_tls(context, server_side=True, first=endpoint.take_buffer())
        if layer.alpn != "postgresql":
            raise ProtocolViolation("direct TLS without ALPN protocol negotiation")

    async def _gss_encryption(self, endpoint: Endpoint) -> Accepted:
        handshake = self._acceptor.begin()
        while handshake.accepted is None:
            (length,) = _LENGTH.unpack(await endpoint.read(_LENGTH.size))
            if not 0 < length <= _MAX_TOKEN:
                raise ProtocolViolation(f"oversize GSSAPI packet sent by the client ({length} bytes)")
            answer = handshake.step(await endpoint.read(length))
            if answer:
                endpoint.write(_LENGTH.pack(len(answer)) + answer)
        _nothing_behind(endpoint)
        endpoint.layer = GssLayer(handshake.accepted.context)
        return handshake.accepted

    async def _authenticate(self, endpoint: Endpoint, user: str) -> Accepted:
        """GSSAPI authentication (PostgreSQL docs, section 55.2.1, AuthenticationGSS)."""
        endpoint.write(backend.authentication(Authentication.GSS))
        handshake = self._acceptor.begin()
        try:
            while handshake.accepted is None:
                answer = handshake.step(await _read_token(endpoint))
                if answer:
                    endpoint.write(backend.authentication(Authentication.GSS_CONTINUE, answer))
        except KerberosError as error:
            raise NotAdmitted(_failed(user), str(error)) from error
        return handshake.accepted


async def _read_token(endpoint: Endpoint) -> bytes:
    header = await endpoint.read(5)
    (length,) = _LENGTH.unpack_from(header, 1)
    if header[0] != Frontend.PASSWORD or not 4 <= length <= _MAX_TOKEN + 4:
        raise ProtocolViolation(f"expected GSS response, got message type {header[0]}")
    return await endpoint.read(length - 4)


def _nothing_behind(endpoint: Endpoint) -> None:
    if endpoint.buffered:
        raise ProtocolViolation("received unencrypted data after a request for encryption")


def _negotiate(endpoint: Endpoint, packet: StartupMessage) -> int:
    """Agree on the protocol version (PostgreSQL docs, section 55.2.1, NegotiateProtocolVersion).

    3.0 and 3.2 are spoken; 3.1 was never given out; what is newer is answered with 3.2.
    """
    version = PROTOCOL_3_2 if packet.version >= PROTOCOL_3_2 else PROTOCOL_3_0
    options = [name for name in packet.parameters if name.startswith("_pq_.")]
    if packet.version != version or options:
        endpoint.write(backend.negotiate_protocol_version(version, options))
    return version


def _failed(user: str) -> Refusal:
    return Refusal(
        SqlState.INVALID_AUTHORIZATION_SPECIFICATION,
        f'GSSAPI authentication failed for user "{user}"',
    )
