"""Changes that the directory tells of, against a real slapd: polls are an hour apart here, so that none can help out."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import ldap
import pytest

from pgguard.directory.directory import Directory
from pgguard.directory.errors import DirectoryError
from pgguard.directory.membership import Membership
from pgguard.directory.settings import DirectorySettings
from pgguard.directory.syncrepl import Consumer
from pgguard.lab.ports import free_port
from pgguard.lab.slapd import Slapd

_HOUR = 3600.0


class Watched:
    """A directory with one user's session, and what is told of them."""

    def __init__(self, settings: DirectorySettings) -> None:
        self.told: list[Membership] = []
        self._news = asyncio.Event()
        self.directory = Directory(settings, asyncio.get_running_loop().time, self._changed)

    def _changed(self, membership: Membership) -> None:
        self.told.append(membership)
        self._news.set()

    async def next(self, seconds: float = 20) -> Membership:
        async with asyncio.timeout(seconds):
            await self._news.wait()
        self._news.clear()
        return self.told[-1]

    async def listening(self) -> None:
        await until(lambda: self.directory.told_by is not None)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # it becomes so in servers, which tell no event of ours
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(settings: DirectorySettings, user: str) -> AsyncIterator[Watched]:
    watched = Watched(settings)
    watched.directory.start()
    assert await watched.directory.watch(user) is not None
    try:
        yield watched
    finally:
        await watched.directory.close()


def _settings(slapd: Slapd, **changes: object) -> DirectorySettings:
    bind = {"bind_dn": slapd.admin_dn, "bind_password": slapd.admin_password}
    place = {"kind": "ldap", "uri": slapd.uri, "base": slapd.base}
    return DirectorySettings(**{**place, "timeout": 2.0, "refresh": _HOUR, **bind, **changes})


@pytest.fixture
def make_slapd(servers: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Slapd]]:
    """Directories to stop and pause."""
    made: list[Slapd] = []

    def make(**options: bool) -> Slapd:
        made.append(Slapd(servers / f"push-{abs(hash(request.node.nodeid)) % 10**8}-{len(made)}", **options))
        made[-1].start()
        return made[-1]

    yield make
    for directory in made:
        directory.stop()


@pytest.mark.parametrize("groups", ["groupofnames", "memberof"])
async def test_a_group_that_is_lost_or_won_is_told_of_within_a_second(slapd: Slapd, groups: str):
    user, group = f"pushed-{groups}", f"pushers-{groups}"
    slapd.add_user(user)
    slapd.add_group(group, users=[user])
    async with watching(_settings(slapd, groups=groups), user) as watched:
        await watched.listening()
        for _ in range(3):
            await asyncio.to_thread(slapd.remove_from_group, user, group)
            assert (await watched.next(1)).groups == ()
            await asyncio.to_thread(slapd.add_to_group, user, group)
            assert (await watched.next(1)).groups == (group,)


async def test_a_change_far_up_the_nesting_is_told_of(slapd: Slapd):
    slapd.add_user("deep")
    slapd.add_group("deep-inner", users=["deep"])
    slapd.add_group("deep-middle", groups=["deep-inner"])
    slapd.add_group("deep-outer")
    async with watching(_settings(slapd), "deep") as watched:
        await watched.listening()
        await asyncio.to_thread(slapd.nest, "deep-middle", "deep-outer")
        assert (await watched.next(1)).groups == ("deep-inner", "deep-middle", "deep-outer")
        await asyncio.to_thread(slapd.delete, slapd.group_dn("deep-middle"))
        assert (await watched.next(1)).groups == ("deep-inner",)


async def test_an_account_that_is_locked_or_deleted_is_told_of(slapd: Slapd):
    slapd.add_user("doomed")
    async with watching(_settings(slapd, disabled_filter="(employeeType=locked)"), "doomed") as watched:
        await watched.listening()
        lock = [(ldap.MOD_REPLACE, "employeeType", ["locked"])]
        await asyncio.to_thread(slapd.modify, slapd.user_dn("doomed"), lock)
        assert (await watched.next(1)).disabled
        await asyncio.to_thread(slapd.delete, slapd.user_dn("doomed"))
        assert not (await watched.next(1)).found


async def test_many_changes_at_once_are_few_looks(slapd: Slapd):
    """Each look is a load on the server: a flood of changes must not become a flood of looks."""
    slapd.add_user("flooded")
    async with watching(_settings(slapd), "flooded") as watched:
        await watched.listening()
        looks: list[int] = []
        fetch = watched.directory._source.fetch
        watched.directory._source.fetch = lambda users: looks.append(1) or fetch(users)  # counts, and asks as before
        entries = [
            (slapd.group_dn(f"flood-{n}"), {"objectClass": ["groupOfNames"], "member": [slapd.user_dn("flooded")]})
            for n in range(200)
        ]
        began = asyncio.get_running_loop().time()
        await asyncio.to_thread(slapd.add_many, entries)
        await until(lambda: watched.told and len(watched.told[-1].groups) == 200)
        took = asyncio.get_running_loop().time() - began
        assert 1 <= len(looks) <= 2 + took / 0.2


@pytest.mark.slow
async def test_after_a_restart_of_the_server_it_is_listened_to_again(make_slapd: Callable[..., Slapd]):
    own = make_slapd()
    own.add_user("lasting")
    own.add_group("lasters", users=["lasting"])
    async with watching(_settings(own), "lasting") as watched:
        await watched.listening()
        await asyncio.to_thread(own.stop)
        await until(lambda: watched.directory.told_by is None)
        await asyncio.to_thread(own.start)
        await watched.listening()
        await asyncio.to_thread(own.remove_from_group, "lasting", "lasters")
        assert (await watched.next(2)).groups == ()
        assert watched.directory.error is None


async def test_what_happens_while_nobody_listens_is_found_when_listening_begins(make_slapd: Callable[..., Slapd]):
    own = make_slapd()
    own.add_user("absent")
    own.add_group("absentees", users=["absent"])
    async with watching(_settings(own), "absent") as watched:
        await watched.listening()
        await asyncio.to_thread(own.stop)
        await until(lambda: watched.directory.told_by is None)
        await asyncio.to_thread(own.start)
        await asyncio.to_thread(own.remove_from_group, "absent", "absentees")
        assert (await watched.next()).groups == ()


@pytest.mark.parametrize("missing", ["server", "setting"])
async def test_without_syncrepl_polling_finds_it(
    make_slapd: Callable[..., Slapd], missing: str, caplog: pytest.LogCaptureFixture
):
    own = make_slapd(syncrepl=missing != "server")
    own.add_user("polled")
    own.add_group("polls", users=["polled"])
    async with watching(_settings(own, refresh=0.1, syncrepl=missing != "setting"), "polled") as watched:
        if missing == "server":
            await until(lambda: "polling alone goes on" in caplog.text)
        await asyncio.to_thread(own.remove_from_group, "polled", "polls")
        assert (await watched.next(2)).groups == ()
        assert watched.directory.told_by is None


async def test_a_connection_that_has_gone_dead_leaves_polling_as_it_was(make_slapd: Callable[..., Slapd]):
    """Here the events are lost on their way, while polls get through: their pace is what counts then."""
    own = make_slapd()
    own.add_user("deaf")
    own.add_group("deafened", users=["deaf"])
    async with watching(_settings(own, refresh=0.5), "deaf") as watched:
        await watched.listening()
        watched.directory._push._changed = lambda: None
        await asyncio.to_thread(own.remove_from_group, "deaf", "deafened")
        assert (await watched.next(2)).groups == ()


async def test_it_listens_to_the_server_that_is_polled(make_slapd: Callable[..., Slapd]):
    """An event of one server would come before another one has the change, and the look would find the old state."""
    first, second = make_slapd(), make_slapd()
    for own in (first, second):
        own.add_user("moved")
        own.add_group("movers", users=["moved"])
    async with watching(_settings(first, uri=(first.uri, second.uri), refresh=0.2), "moved") as watched:
        await until(lambda: watched.directory.told_by == first.uri)
        await asyncio.to_thread(first.stop)
        await until(lambda: watched.directory.told_by == second.uri)
        await asyncio.to_thread(second.remove_from_group, "moved", "movers")
        assert (await watched.next(2)).groups == ()


def test_a_server_that_never_answers_costs_its_time_limit():
    with socket.create_server(("localhost", free_port()), family=socket.AF_INET) as silent:
        uri = f"ldap://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DirectoryError, match=uri):
            Consumer(DirectorySettings(kind="ldap", uri=uri, base="dc=test", timeout=0.3), uri)


def test_a_server_that_ends_the_search_is_told(slapd: Slapd):
    with pytest.raises(DirectoryError, match="No such object"):
        Consumer(_settings(slapd, group_base=f"ou=nowhere,{slapd.base}"), slapd.uri)


# ways to keep a group: after each the next thing told must be without it


def _rename(slapd: Slapd, dn: str, to: str, parent: str | None = None) -> None:
    connection = slapd.connect()
    connection.rename_s(dn, to, parent, 1)
    connection.unbind_s()


def _rename_the_group(slapd: Slapd, user: str, group: str) -> None:
    del user
    _rename(slapd, slapd.group_dn(group), f"cn=no-more-{group}")


def _take_the_group_away(slapd: Slapd, user: str, group: str) -> None:
    del user
    _rename(slapd, slapd.group_dn(group), f"cn={group}", f"ou=people,{slapd.base}")


def _delete_the_group(slapd: Slapd, user: str, group: str) -> None:
    del user
    slapd.delete(slapd.group_dn(group))


def _close_the_group(slapd: Slapd, user: str, group: str) -> None:
    del user
    slapd.modify(slapd.group_dn(group), [(ldap.MOD_REPLACE, "description", ["closed"])])


def _rename_the_user(slapd: Slapd, user: str, group: str) -> None:
    del group
    _rename(slapd, slapd.user_dn(user), f"uid=no-more-{user}")


def _take_the_user_away(slapd: Slapd, user: str, group: str) -> None:
    del group
    _rename(slapd, slapd.user_dn(user), f"uid={user}", f"ou=groups,{slapd.base}")


def _give_the_name_to_another(slapd: Slapd, user: str, group: str) -> None:
    """The next one of that name has another entry, which no group names."""
    del group
    _rename(slapd, slapd.user_dn(user), f"uid=no-more-{user}")
    dn, values = slapd.user(user)
    slapd.add_many([(dn.replace("uid=", "cn="), values)])


@pytest.mark.parametrize("groups", ["groupofnames", "memberof"])
@pytest.mark.parametrize(
    "change",
    [
        _rename_the_group,
        _take_the_group_away,
        _delete_the_group,
        _close_the_group,
        _rename_the_user,
        _take_the_user_away,
        _give_the_name_to_another,
    ],
    ids=lambda change: change.__name__.strip("_"),
)
async def test_no_change_of_names_or_places_keeps_a_group(
    slapd: Slapd, change: Callable[[Slapd, str, str], None], groups: str
):
    user, group = f"{change.__name__.strip('_')}-{groups}".replace("_", "-"), f"of{change.__name__}-{groups}"
    slapd.add_user(user)
    slapd.add_group(group, users=[user])
    slapd.modify(slapd.group_dn(group), [(ldap.MOD_ADD, "description", ["open"])])
    settings = _settings(
        slapd,
        groups=groups,
        user_base=f"ou=people,{slapd.base}",
        group_base=f"ou=groups,{slapd.base}",
        group_filter="(&(objectClass=groupOfNames)(description=open))",
    )
    async with watching(settings, user) as watched:
        await watched.listening()
        assert watched.directory.membership(user).groups == (group,)
        await asyncio.to_thread(change, slapd, user, group)
        began = asyncio.get_running_loop().time()
        while group in (watched.directory.membership(user).groups or ()):
            await watched.next(1)
        assert asyncio.get_running_loop().time() - began < 1
