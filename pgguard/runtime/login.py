"""Who a session is: what was proven and agreed at login, and stays."""

import msgspec

from pgguard.model.context import Principal, Replication, Ticket, Transport


class Login(msgspec.Struct, frozen=True):
    """`session` names the session in the audit, unique over workers and restarts. `address`: None for a socket."""

    session: str
    user: str
    principal: Principal
    ticket: Ticket
    database: str
    address: str | None
    transport: Transport
    replication: Replication = Replication.NONE
