"""A directory of 10,000 users and 2,000 groups, nested five deep in cycles: what a login and a refresh cost there."""

import asyncio
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgguard.directory.directory import Directory
from pgguard.directory.ldap_source import LdapSource
from pgguard.directory.settings import DirectorySettings
from pgguard.lab.entries import Record
from pgguard.lab.slapd import Slapd

pytestmark = pytest.mark.slow

_USERS, _CHAINS, _DEEP, _DIRECT, _OPEN = 10_000, 400, 5, 5, 1_000
_USER_SEARCHES = _OPEN // 100
_GROUP_PAGES = _CHAINS * _DEEP // 500


class Large:
    """`chains`: of each user, those whose first group they are in."""

    def __init__(self, slapd: Slapd) -> None:
        self.slapd = slapd
        choice = random.Random(6)
        self.chains = [sorted(choice.sample(range(_CHAINS), _DIRECT)) for _ in range(_USERS)]

    @staticmethod
    def user(number: int) -> str:
        return f"user-{number}"

    def entries(self) -> Iterator[Record]:
        """Chain c is the groups c-0 to c-4, each a member of the next, and the last one of the first."""
        members: dict[int, list[str]] = {chain: [] for chain in range(_CHAINS)}
        for number, chains in enumerate(self.chains):
            yield self.slapd.user(self.user(number))
            for chain in chains:
                members[chain].append(self.user(number))
        for chain in range(_CHAINS):
            for depth in range(_DEEP):
                users = members[chain] if depth == 0 else []
                yield self.slapd.group(f"{chain}-{depth}", users, [f"{chain}-{(depth - 1) % _DEEP}"])

    def groups_of(self, number: int) -> tuple[str, ...]:
        return tuple(sorted(f"{chain}-{depth}" for chain in self.chains[number] for depth in range(_DEEP)))

    def settings(self, **changes: object) -> DirectorySettings:
        bind = {"bind_dn": self.slapd.admin_dn, "bind_password": self.slapd.admin_password}
        return DirectorySettings(
            kind="ldap", uri=self.slapd.uri, base=self.slapd.base, **{**bind, "timeout": 20.0, **changes}
        )


@pytest.fixture(scope="module")
def large(servers: Path) -> Iterator[Large]:
    slapd = Slapd(servers / "slapd-large")
    made = Large(slapd)
    began = time.monotonic()
    slapd.load(made.entries())
    print(f"\nloaded in {time.monotonic() - began:.1f} s")
    with slapd:
        yield made


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_a_login_costs_a_question_for_the_user_and_a_few_pages_of_groups(large: Large):
    source = LdapSource(large.settings())
    source.fetch(["nobody"])  # the connection is there
    for number in (0, 4711, 9999):
        before, began = large.slapd.searches(), time.perf_counter()
        found = source.fetch([large.user(number)])[large.user(number)]
        took, searches = time.perf_counter() - began, large.slapd.searches() - before - 1
        assert found.groups == large.groups_of(number)
        chain = large.chains[number][0]
        assert found.paths[f"{chain}-4"] == tuple(f"{chain}-{depth}" for depth in range(_DEEP))
        assert searches == 1 + _GROUP_PAGES
        print(f"login: {searches} searches, {took * 1000:.0f} ms")
    source.close()


def test_a_refresh_of_a_thousand_open_users_is_few_searches_and_bounded_memory(large: Large):
    source = LdapSource(large.settings())
    users = [large.user(number) for number in range(0, _USERS, _USERS // _OPEN)]
    source.fetch(users)
    first = _peak_memory()
    before = large.slapd.searches()
    times, processor = [], time.process_time()
    for _ in range(10):
        began = time.perf_counter()
        found = source.fetch(users)
        times.append(time.perf_counter() - began)
    processor = (time.process_time() - processor) / 10
    searches = (large.slapd.searches() - before - 1) / 10
    assert [found[large.user(number)].groups for number in (0, 5000)] == [large.groups_of(0), large.groups_of(5000)]
    assert sum(len(membership.groups or ()) for membership in found.values()) == _OPEN * _DIRECT * _DEEP
    grown = _peak_memory() - first
    print(
        f"refresh of {len(users)} users: {searches:.0f} searches, {sorted(times)[5] * 1000:.0f} ms in the middle,"
        f" {max(times) * 1000:.0f} ms at most, {processor * 1000:.0f} of the processor; memory {first:.0f} MiB, {grown:.0f} more after ten"
    )
    assert searches == _USER_SEARCHES + _GROUP_PAGES
    assert grown < 32
    source.close()


async def test_a_thousand_logins_at_once_and_a_change_among_them(large: Large):
    """As the proxy has it: all of them share few questions, and one change reaches the one whom it concerns."""
    changed: asyncio.Queue[str] = asyncio.Queue()
    settings = large.settings(refresh=3600.0)
    directory = Directory(settings, time.monotonic, lambda membership: changed.put_nowait(membership.user))
    directory.start()
    users = [large.user(number) for number in range(1, _USERS, _USERS // _OPEN)]
    before, began = large.slapd.searches(), time.perf_counter()
    found = await asyncio.gather(*map(directory.watch, users))
    took = time.perf_counter() - began
    searches = large.slapd.searches() - before - 1
    assert all(membership is not None and len(membership.groups or ()) == _DIRECT * _DEEP for membership in found)
    print(f"{len(users)} logins at once: {searches} searches, {took * 1000:.0f} ms")
    assert searches < 10 * (_USER_SEARCHES + _GROUP_PAGES)
    user, group = large.user(1), f"{large.chains[1][0]}-0"
    times = []
    async with asyncio.timeout(120):
        while directory.told_by is None:  # noqa: ASYNC110  # it becomes so in slapd, which tells no event of ours
            await asyncio.sleep(0.05)
        for change in (large.slapd.remove_from_group, large.slapd.add_to_group) * 3 + (large.slapd.remove_from_group,):
            began = time.perf_counter()
            await asyncio.to_thread(change, user, group)
            assert await changed.get() == user
            times.append(time.perf_counter() - began)
            await asyncio.sleep(random.uniform(1, 2))  # anywhere between two looks
    print(
        f"a group lost or won by one of {len(users)} users is known after {sorted(times)[3] * 1000:.0f} ms in the middle,"
        f" {max(times) * 1000:.0f} ms at most"
    )
    assert directory.membership(large.user(1)).groups == tuple(
        group for group in large.groups_of(1) if not group.startswith(f"{large.chains[1][0]}-")
    )
    assert directory.membership(large.user(11)).groups == large.groups_of(11)
    await directory.close()
