"""The account of whoever asks, as the directory knows it: disabled, or perhaps disabled.

A disabled account ends its sessions. While the directory cannot tell, and accounts may be disabled in it, nobody's is
known to be in order: a statement is refused then and the session stays, since most will turn out to be.
"""

from pgguard.directory.directory import Directory
from pgguard.directory.settings import DirectorySettings
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState


def disabled(directory: Directory, user: str) -> Refusal | None:
    """Why the user may do nothing at all any more; None where the account is not known to be disabled."""
    membership = directory.membership(user)
    if membership is None or not membership.disabled:
        return None
    return Refusal(SqlState.INVALID_AUTHORIZATION_SPECIFICATION, f'the account "{user}" is disabled in the directory')


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
