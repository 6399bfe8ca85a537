"""Who may look after pgguard itself in the console."""

import msgspec


class ConsoleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`admin_groups`: whose members may see all sessions, the rules and statistics, end sessions, and reload.

    Empty: nobody may. Approving takes no such right: the hold rules name the approvers.
    """

    admin_groups: tuple[str, ...] = ()
