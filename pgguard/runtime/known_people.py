"""The directory as the holds' desk sees it: the groups of people whom somebody watches."""

from pgguard.directory.directory import Directory
from pgguard.holds.hold import Account, Groups


class KnownPeople:
    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def groups_of(self, user: str) -> Groups:
        membership = self._directory.membership(user)
        if membership is None:
            return None
        return Account.DISABLED if membership.disabled else membership.groups

    async def watch(self, user: str) -> None:
        await self._directory.watch(user)

    def unwatch(self, user: str) -> None:
        self._directory.unwatch(user)
