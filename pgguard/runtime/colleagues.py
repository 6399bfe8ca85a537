"""The other processes that serve the same port, as one of them sees them.

What all sessions share beyond one process goes through here: the limits on their number, cancel requests that arrive at
the wrong worker, the console's view of all sessions, reloads, holds, and what is counted.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from pgguard.runtime.config import LimitSettings
from pgguard.runtime.ledger import Ledger, Place
from pgguard.runtime.orders import Report, SessionLine


class Colleagues(Protocol):
    async def enter(self, place: Place) -> str:
        """Take a place for a session; why not, where there is none."""
        ...

    def leave(self, place: Place) -> None: ...

    def closed(self) -> None:
        """A connection has been served to its end."""
        ...

    def cancel(self, process: int, secret: bytes) -> None:
        """Pass a cancel request on to whoever has the session."""
        ...

    async def sessions(self) -> Sequence[SessionLine]:
        """The others'."""
        ...

    async def terminate(self, session: str, owner: str | None, why: str) -> bool:
        """End a session of another process, if it is one of `owner`'s; whether there was one."""
        ...

    async def report(self, own: Report) -> Report:
        """What all have counted together."""
        ...

    async def reload(self) -> str:
        """Have the others reload; why one of them could not."""
        ...

    def hold_changed(self, number: int) -> None:
        """Tell the others of a hold in the file that all share."""
        ...

    def hear_of_holds(self, heard: Callable[[int], None]) -> None:
        """Be told when another has changed one."""
        ...


class Alone:
    """There are no others."""

    def __init__(self, limits: LimitSettings) -> None:
        self._ledger = Ledger(limits)

    async def enter(self, place: Place) -> str:
        return self._ledger.enter(place)

    def leave(self, place: Place) -> None:
        self._ledger.leave(place)

    def closed(self) -> None:
        pass

    def cancel(self, process: int, secret: bytes) -> None:
        pass  # nobody's: the session has ended, or the key was guessed

    async def sessions(self) -> Sequence[SessionLine]:
        return ()

    async def terminate(self, session: str, owner: str | None, why: str) -> bool:
        del session, owner, why
        return False

    async def report(self, own: Report) -> Report:
        return own

    async def reload(self) -> str:
        return ""

    def hold_changed(self, number: int) -> None:
        pass

    def hear_of_holds(self, heard: Callable[[int], None]) -> None:
        pass
