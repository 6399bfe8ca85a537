"""The directory as the holds' desk sees it: the groups of people whom somebody watches."""

from pgguard.directory.directory import Directory
from pgguard.holds.hold import Groups


class KnownPeople:
    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def groups_of(self, user: str) -> Groups:
        """None where the directory cannot tell, and of an account that is disabled: it approves nothing."""
        membership = self._directory.membership(user)
        return None if membership is None or membership.disabled else membership.groups

    async def watch(self, user: str) -> None:
        await self._directory.watch(user)

    def unwatch(self, user: str) -> None:
        self._directory.unwatch(user)
