"""How many sessions there are, in all, by user and by address; and whether one more may come in."""

from collections import Counter

import msgspec

from pgguard.runtime.config import LimitSettings


class Place(msgspec.Struct, frozen=True):
    """One session's. `address`: None for a socket."""

    user: str
    address: str | None


class Ledger:
    def __init__(self, limits: LimitSettings) -> None:
        self.limits = limits
        self._users: Counter[str] = Counter()
        self._addresses: Counter[str | None] = Counter()

    def enter(self, place: Place) -> str:
        """Take a place; where there is none, why (and nothing is taken)."""
        checks = (
            (self._users.total(), self.limits.sessions, "pgguard has"),
            (self._users[place.user], self.limits.sessions_per_user, f'user "{place.user}" has'),
            (self._addresses[place.address], self.limits.sessions_per_address, f"address {place.address} has"),
        )
        for used, limit, who in checks:
            if limit and used >= limit:
                return f"too many sessions: {who} {used} of {limit} allowed"
        self._users[place.user] += 1
        self._addresses[place.address] += 1
        return ""

    def leave(self, place: Place) -> None:
        """Give a place back that was taken."""
        self._users[place.user] -= 1
        self._addresses[place.address] -= 1
        self._users += Counter()  # drops what is zero
        self._addresses += Counter()
