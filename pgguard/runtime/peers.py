"""The other nodes behind the same balancer: cancel requests find the node that owns the session.

Theory of operation. A cancel request comes over a connection of its own, which the balancer gives to any node. So each
node writes its number into the cancel keys that it gives out, above the low bits of the backend's, and passes on
what belongs to another. A request that was passed on is one byte longer than any key: it goes no further, whatever the
nodes' configurations say of each other. It carries no more than the client's own request did, in clear as that was.
"""

import asyncio
import logging

import msgspec

from pgguard.wire.backend import KeyData
from pgguard.wire.startup import CancelRequest, cancel_request

_log = logging.getLogger(__name__)

_SHIFT = 21
"""The number of a key has 31 bits; the upper ten are the node's."""

_MOST = (1 << (31 - _SHIFT)) - 1
_PASSED_ON_LENGTHS = frozenset({4 + 1, 32 + 1})
_PASSED_ON = b"\1"
_SECONDS = 10.0


class PeersSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`node`: this node's number among `addresses`, which name each node's host and port, alike on all of them."""

    node: int
    addresses: dict[str, str]

    def __post_init__(self) -> None:
        """Raises ValueError, which msgspec tells with the section."""
        for number, address in self.addresses.items():
            if not (number.isdecimal() and 1 <= int(number) <= _MOST):
                raise ValueError(f'"{number}" in addresses is no node\'s number: these go from 1 to {_MOST}')
            _split(address)
        if str(self.node) not in self.addresses:
            raise ValueError(f"node is {self.node}, which addresses do not name")


class Peers:
    """What one node knows of the others; without settings it is alone."""

    def __init__(self, settings: PeersSettings | None) -> None:
        self._node = 0 if settings is None else settings.node
        addresses = {} if settings is None else settings.addresses
        self._others = {int(number): _split(text) for number, text in addresses.items() if int(number) != self._node}

    def mark(self, key: KeyData) -> KeyData:
        """The key with this node's number in it; of one that is alone, as it is."""
        if not self._node:
            return key
        return KeyData(self._node << _SHIFT | key.process & ((1 << _SHIFT) - 1), key.secret)

    async def take(self, request: CancelRequest) -> CancelRequest | None:
        """The request for a session of this node; None where it is another's, who has got it by then."""
        if len(request.secret) in _PASSED_ON_LENGTHS:
            return CancelRequest(request.process, request.secret[:-1])
        owner = self._others.get(request.process >> _SHIFT)
        if owner is None:
            return request
        try:
            async with asyncio.timeout(_SECONDS):
                await _pass_on(owner, request)
        except (OSError, TimeoutError) as error:
            _log.warning("could not pass a cancel request on to %s port %d: %s", *owner, error or "time limit")
        return None


async def _pass_on(owner: tuple[str, int], request: CancelRequest) -> None:
    """Send it, and wait until the other closes: then it has been carried out."""
    reader, writer = await asyncio.open_connection(*owner)
    try:
        writer.write(cancel_request(request.process, request.secret + _PASSED_ON))
        await reader.read()
    finally:
        writer.close()


def _split(address: str) -> tuple[str, int]:
    """Host and port, the host of an IPv6 address in brackets. Raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f'"{address}" is no address; write it as host:port')
    return host.removeprefix("[").removesuffix("]"), int(port)
