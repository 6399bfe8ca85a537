"""Loopback ports: free ones, and whether somebody listens on one.

Free ones are taken from below the kernel's ephemeral range (32768 and up, ip(7)): a port from inside it can be lost to
any outgoing connection between the moment it is found free and the moment a server binds it.
"""

import random
import socket

_FIRST, _LAST = 20000, 32000


def free_port() -> int:
    """A port that is free on every loopback address, for TCP and UDP (a KDC uses both)."""
    choice = random.SystemRandom()
    for _ in range(1000):
        port = choice.randrange(_FIRST, _LAST)
        if all(_is_free(family, kind, port) for family in _families() for kind in _KINDS):
            return port
    raise OSError(f"no free port between {_FIRST} and {_LAST} on loopback")


def accepts(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


_KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def _families() -> list[socket.AddressFamily]:
    """IPv4, and IPv6 where this machine has a loopback for it."""
    families = [socket.AF_INET]
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((_LOOPBACK[socket.AF_INET6], 0))
        families.append(socket.AF_INET6)
    except OSError:
        pass
    return families


def _is_free(family: socket.AddressFamily, kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(family, kind) as probe:
        try:
            probe.bind((_LOOPBACK[family], port))
        except OSError:
            return False
        return True
