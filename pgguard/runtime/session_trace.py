"""`pgguard serve --trace`: what each client and pgguard say to each other, a line a message, in the log."""

import logging
from collections.abc import Sequence

from pgguard.wire.trace import Sender, Trace

_log = logging.getLogger("pgguard.trace")


def start_tracing() -> None:
    """Trace the sessions that begin from now on, whatever level the log has otherwise."""
    _log.setLevel(logging.DEBUG)


def session_trace(session: str) -> "SessionTrace | None":
    """The trace of a session; None where nothing is traced."""
    return SessionTrace(session) if _log.level == logging.DEBUG else None


class SessionTrace:
    """Follows one session from its welcome on."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._client = Trace(Sender.CLIENT)
        self._server = Trace(Sender.SERVER)

    def from_client(self, data: bytes) -> None:
        self._tell(self._client.feed(data))

    def to_client(self, pieces: Sequence[bytes]) -> None:
        self._tell(self._server.feed(b"".join(pieces)))

    def _tell(self, lines: Sequence[str]) -> None:
        for line in lines:
            _log.debug("%s %s", self._session, line)
