"""Records as syslog messages: RFC 5424 over TLS (RFC 5425), TCP (RFC 6587, counted octets) or UDP (RFC 5426).

Syslog has no acknowledgement. Over TCP a batch counts as delivered when the collector's kernel has all of it; what the
collector itself had not read when it died is told by nobody, and so is sent again: `unsure` is the most that a
receive buffer holds by Linux's defaults. UDP is sent and forgotten.
"""

import array
import fcntl
import re
import socket
import ssl
import termios
import time
from collections.abc import Sequence

from pgguard.audit.settings import SyslogTarget
from pgguard.audit.shipping.sink import effect_of, time_of, type_of, verifying

_SECONDS = 30.0
"""Without any progress for so long, a connection counts as broken."""

_RECEIVE_BUFFER = 6 << 20  # net.ipv4.tcp_rmem, the largest by default (tcp(7))
_DATAGRAM = 65_000
_SEVERITIES = {"deny": 4, "hold": 5, "": 6}  # warning, notice, informational (RFC 5424, table 2)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")


class SyslogSink:
    def __init__(self, target: SyslogTarget) -> None:
        self._target = target
        self._socket: socket.socket | None = None
        self._host = re.sub(r"[^!-~]", "-", socket.gethostname())[:255] or "-"
        self.unsure = 0 if target.transport == "udp" else _RECEIVE_BUFFER

    def open(self) -> None:
        if self._socket is None:
            self._socket = self._connected()

    def _connected(self) -> socket.socket:
        target = self._target
        if target.transport == "udp":
            family, kind, proto, _, address = socket.getaddrinfo(*target.address, type=socket.SOCK_DGRAM)[0]
            datagrams = socket.socket(family, kind, proto)
            datagrams.connect(address)
            return datagrams
        plain = socket.create_connection(target.address, timeout=_SECONDS)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(_SECONDS))
        if target.transport == "tcp":
            return plain
        try:
            context = verifying(target.ca, target.certificate, target.key)
            return context.wrap_socket(plain, server_hostname=target.host)
        except BaseException:
            plain.close()
            raise

    def check(self) -> None:
        """A collector says nothing; what can be read is its end.

        An orderly one leaves nothing unread: a kernel that has to drop what its process had not read resets the
        connection instead (tcp(7)), and that is an error.
        """
        connection = self._socket
        if connection is None or self._target.transport == "udp":
            return
        connection.settimeout(0)
        try:
            ended = not connection.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            ended = False
        connection.settimeout(_SECONDS)
        if ended:
            self.close()

    def deliver(self, lines: Sequence[bytes]) -> Sequence[str]:
        self.check()
        self.open()
        connection = self._socket
        assert connection is not None, "it was opened"
        messages = [self.message(line) for line in lines]
        if self._target.transport == "udp":
            for message in messages:
                connection.send(message[:_DATAGRAM])
            return ()
        data = memoryview(b"".join(b"%d %b" % (len(message), message) for message in messages))
        while data:
            data = data[connection.send(data) :]
        _await_acknowledgement(connection)
        return ()

    def message(self, line: bytes) -> bytes:
        """The record as one message: its type is the MSGID, and the line as it is in the file the MSG."""
        priority = self._target.facility * 8 + _SEVERITIES[effect_of(line)]
        at = time_of(line)
        stamp = at if _RFC3339.fullmatch(at) else "-"
        return f"<{priority}>1 {stamp} {self._host} pgguard - {type_of(line) or '-'} - ".encode() + line

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None


def _await_acknowledgement(connection: socket.socket) -> None:
    """Until the other side's kernel has acknowledged all that was sent. Raises TimeoutError without progress."""
    left, deadline = _unacknowledged(connection), time.monotonic() + _SECONDS
    while left:
        if time.monotonic() > deadline:
            raise TimeoutError("the collector does not read")
        time.sleep(0.002)
        now = _unacknowledged(connection)
        if now < left:
            deadline = time.monotonic() + _SECONDS
        left = now


def _unacknowledged(connection: socket.socket) -> int:
    """Bytes in the send queue (SIOCOUTQ, tcp(7))."""
    count = array.array("i", [0])
    fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, count)
    error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, "the connection broke")
    return count[0]
