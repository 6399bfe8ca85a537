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

from pgguard.auth.acceptor import Accepted, Acceptor, Handshake, KerberosError
from pgguard.auth.identity import IdentityMap
from pgguard.auth.layers import GssLayer
from pgguard.model.context import Transport
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.runtime.endpoint import Endpoint
from pgguard.session.doorway import Doorway, Next, NotAdmitted, Startup
from pgguard.wire import backend, startup
from pgguard.wire.constants import Authentication, Frontend
from pgguard.wire.framing import ProtocolViolation, first_packet_length
from pgguard.wire.startup import CancelRequest

__all__ = ["Admitted", "Door", "NotAdmitted"]

_LENGTH = struct.Struct("!I")
_MAX_TOKEN = 65535
_TLS_HANDSHAKE = 0x16


class Admitted(msgspec.Struct, frozen=True):
    """A client that has proven who it is. `users`: all that its principal may be."""

    startup: Startup
    accepted: Accepted
    transport: Transport
    users: frozenset[str]

    @property
    def user(self) -> str:
        return self.startup.user

    @property
    def database(self) -> str:
        return self.startup.database

    @property
    def version(self) -> int:
        """The protocol version that was agreed on."""
        return self.startup.version


class Door:
    """What all admissions share. `tls` may be replaced when certificates are reloaded."""

    def __init__(self, acceptor: Acceptor, identities: IdentityMap, tls: ssl.SSLContext | None) -> None:
        self._acceptor = acceptor
        self._identities = identities
        self.tls = tls

    async def admit(self, endpoint: Endpoint) -> Admitted | CancelRequest:
        """Take one client through the door.

        Raises NotAdmitted, and ProtocolViolation, LayerBroken or EndpointClosed where there is nobody to answer.
        """
        tls = self.tls
        certified = tls is not None and tls.verify_mode is ssl.CERT_REQUIRED
        doorway = Doorway(tls=tls is not None, certified=certified)
        accepted = None
        if tls is not None and (await endpoint.peek(1))[0] == _TLS_HANDSHAKE:
            await self._direct_tls(endpoint, tls)
            doorway.transport = Transport.TLS
        while True:
            packet = await self._first_packet(endpoint)
            match doorway.take(packet, endpoint.buffered):
                case CancelRequest() as cancel:
                    return cancel
                case Startup() as asked:
                    break
                case Next.ANSWER_NO:
                    endpoint.write(b"N")
                case Next.START_TLS:
                    assert tls is not None, "the doorway was told whether there is TLS"
                    endpoint.write(b"S")
                    await endpoint.start_tls(tls, server_side=True)
                case Next.START_GSS:
                    endpoint.write(b"G")
                    accepted = await self._gss_encryption(endpoint)
        if asked.negotiate:
            endpoint.write(backend.negotiate_protocol_version(asked.version, asked.refused_options))
        try:
            accepted = accepted or await self._authenticate(endpoint, asked.user)
            self._identify(accepted, asked.user)
        except NotAdmitted as refused:
            refused.user, refused.database = asked.user, asked.database
            raise
        return Admitted(asked, accepted, doorway.transport, self._identities.users(accepted.principal))

    def _identify(self, accepted: Accepted, user: str) -> None:
        """Raises NotAdmitted where this principal is not one that may be the user."""
        reason = self._identities.refusal(accepted.principal, user)
        if reason is not None:
            refusal = msgspec.structs.replace(_failed(user), detail=reason)
            raise NotAdmitted(refusal, reason, principal=str(accepted.principal))

    async def _first_packet(self, endpoint: Endpoint) -> startup.FirstPacket:
        length = first_packet_length(await endpoint.peek(_LENGTH.size))
        assert length is not None, "four bytes tell the length"
        return startup.read_first_packet(await endpoint.read(length))

    async def _direct_tls(self, endpoint: Endpoint, context: ssl.SSLContext) -> None:
        layer = await endpoint.start_tls(context, server_side=True, first=endpoint.take_buffer())
        if layer.alpn != "postgresql":
            raise ProtocolViolation("direct TLS without ALPN protocol negotiation")

    async def _gss_encryption(self, endpoint: Endpoint) -> Accepted:
        """The handshake of GSS encryption; an error is told in clear, as libpq expects it in the place of a token."""
        handshake = self._begin()
        while handshake.accepted is None:
            (length,) = _LENGTH.unpack(await endpoint.read(_LENGTH.size))
            if not 0 < length <= _MAX_TOKEN:
                raise ProtocolViolation(f"oversize GSSAPI packet sent by the client ({length} bytes)")
            answer = self._step(handshake, await endpoint.read(length))
            if answer:
                endpoint.write(_LENGTH.pack(len(answer)) + answer)
        behind = endpoint.take_buffer()
        endpoint.layer = GssLayer(handshake.accepted.context)
        endpoint.data_received(behind)  # wrapped already: the client may go on as soon as its last token is out
        return handshake.accepted

    async def _authenticate(self, endpoint: Endpoint, user: str) -> Accepted:
        """GSSAPI authentication (PostgreSQL docs, section 55.2.1, AuthenticationGSS)."""
        endpoint.write(backend.authentication(Authentication.GSS))
        handshake = self._begin()
        while handshake.accepted is None:
            answer = self._step(handshake, await _read_token(endpoint), user)
            if answer:
                endpoint.write(backend.authentication(Authentication.GSS_CONTINUE, answer))
        return handshake.accepted

    def _begin(self) -> Handshake:
        try:
            return self._acceptor.begin()
        except KerberosError as error:
            refusal = Refusal(SqlState.CANNOT_CONNECT_NOW, "pgguard cannot use its keytab now; its log says why")
            raise NotAdmitted(refusal, str(error)) from error

    def _step(self, handshake: Handshake, token: bytes, user: str | None = None) -> bytes:
        try:
            return handshake.step(token)
        except KerberosError as error:
            hint = f"pgguard takes tickets for {' and '.join(self._acceptor.principals)}; klist tells which you have."
            raise NotAdmitted(msgspec.structs.replace(_failed(user), hint=hint), str(error)) from error


async def _read_token(endpoint: Endpoint) -> bytes:
    header = await endpoint.read(5)
    (length,) = _LENGTH.unpack_from(header, 1)
    if header[0] != Frontend.PASSWORD or not 4 <= length <= _MAX_TOKEN + 4:
        raise ProtocolViolation(f"expected GSS response, got message type {header[0]}")
    return await endpoint.read(length - 4)


def _failed(user: str | None) -> Refusal:
    """What PostgreSQL says. Why it failed is told only to a client that has proven who it is."""
    whom = "" if user is None else f' for user "{user}"'
    return Refusal(SqlState.INVALID_AUTHORIZATION_SPECIFICATION, f"GSSAPI authentication failed{whom}")
