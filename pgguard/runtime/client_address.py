"""Where a client comes from: its socket's other end, or what a listed balancer tells in a PROXY header.

Rules, limits, logs and the audit speak of the client's address, so that who may tell it is a matter of trust: a header
is demanded from the networks in `[listen] proxy_from`, and from anywhere else it ends the connection. A cancel request
is taken from them without one, since it has no use for an address: that is how nodes forward them to each other.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from pgguard.runtime.endpoint import Endpoint
from pgguard.wire.constants import RequestCode
from pgguard.wire.framing import ProtocolViolation
from pgguard.wire.proxy_protocol import PREFIX, begins_header, header_length, read_header

_START = 4
_CODE = 8
_CANCEL = RequestCode.CANCEL.to_bytes(4, "big")


def peer_address(client: Endpoint) -> str | None:
    """The address at the socket's other end, IPv4-mapped ones as IPv4; None for a Unix socket."""
    address = _peer(client)
    return None if address is None else str(address)


class ClientAddresses:
    """Tells clients' addresses; `networks` are those of balancers."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._balancers = tuple(ip_network(network) for network in networks)

    async def of(self, client: Endpoint) -> str | None:
        """The client's address, before anything else of the connection is read.

        Raises ProtocolViolation where a header is missing, broken, or not for this peer to send; and EndpointClosed.
        """
        if not self._balancers:
            return peer_address(client)
        peer = _peer(client)
        headed = begins_header(await client.peek(_START))
        if peer is None or not any(peer in network for network in self._balancers):
            if headed:
                raise ProtocolViolation(
                    f"{peer or 'a socket'} sent a PROXY header; [listen] proxy_from does not list it"
                )
            return peer_address(client)
        if not headed:
            if (await client.peek(_CODE))[_START:] == _CANCEL:
                return str(peer)
            raise ProtocolViolation(
                f"no PROXY header from {peer}, which [listen] proxy_from lists: send-proxy-v2 is missing"
            )
        header = await client.read(header_length(await client.peek(PREFIX)))
        return str(read_header(header) or peer)  # a health check is the balancer's own


def _peer(client: Endpoint) -> IPv4Address | IPv6Address | None:
    peer = client.transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return None
    address = ip_address(str(peer[0]).partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
