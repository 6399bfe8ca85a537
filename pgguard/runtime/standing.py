"""Who may ask anything at all: the ticket has not ended, and the account is not disabled.

An ended ticket and a disabled account end the session. While the directory cannot tell, and accounts may be disabled in
it, nobody's is known to be in order: a statement is refused then and the session stays, since most will turn out to be.
"""

import time

from pgguard.directory.directory import Directory
from pgguard.directory.settings import DirectorySettings
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.runtime.login import Login


def barred(login: Login, directory: Directory, grace: float) -> Refusal | None:
    """Why the session may do nothing any more; None while it may. Asks neither GSSAPI nor the directory's source."""
    if time.time() >= login.ticket.ends_at + grace:
        return Refusal(
            SqlState.INVALID_AUTHORIZATION_SPECIFICATION,
            f'the Kerberos ticket of "{login.principal}" has ended',
            hint="Get a new ticket with kinit, and connect again.",
        )
    membership = directory.membership(login.user)
    if membership is None or not membership.disabled:
        return None
    return Refusal(
        SqlState.INVALID_AUTHORIZATION_SPECIFICATION, f'the account "{login.user}" is disabled in the directory'
    )


def unsure(settings: DirectorySettings, directory: Directory, user: str) -> Refusal | None:
    """Why the user may do nothing now; None where the account is known to be in order, or none can be disabled."""
    membership = directory.membership(user)
    if not settings.tells_disabled or (membership is not None and membership.groups is not None):
        return None
    return Refusal(
        SqlState.INSUFFICIENT_PRIVILEGE,
        f'the directory cannot tell whether the account "{user}" is disabled',
        hint="Try again when the directory answers; pgguard's log says why it does not.",
    )
