"""Who a session is: what was proven and agreed at login, and stays."""

import msgspec

from pgguard.holds.hold import Person
from pgguard.model.context import Principal, Replication, Ticket, Transport


class Login(msgspec.Struct, frozen=True):
    """`session` names the session in the audit, unique over workers and restarts. `address`: None for a socket.

    `users`: all that the principal may log in as.
    """

    session: str
    user: str
    principal: Principal
    ticket: Ticket
    database: str
    address: str | None
    transport: Transport
    replication: Replication = Replication.NONE
    users: frozenset[str] = frozenset()

    @property
    def person(self) -> Person:
        return Person(self.user, str(self.principal), tuple(sorted(self.users)))
