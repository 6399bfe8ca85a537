"""The directory over time: what serves while the source does not answer, for how long, and how it comes back."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgguard.directory.directory import Directory, Health
from pgguard.directory.membership import Membership
from pgguard.directory.settings import DirectorySettings
from pgguard.lab.slapd import Slapd

MakeSettings = Callable[..., DirectorySettings]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def own_slapd(servers: Path, request: pytest.FixtureRequest) -> Iterator[Slapd]:
    """A directory to stop and pause."""
    with Slapd(servers / f"slapd-{abs(hash(request.node.nodeid)) % 10**8}") as directory:
        yield directory


def _settings(slapd: Slapd, **changes: object) -> DirectorySettings:
    bind = {"bind_dn": slapd.admin_dn, "bind_password": slapd.admin_password}
    return DirectorySettings(
        kind="ldap", uri=slapd.uri, base=slapd.base, **{"timeout": 0.5, "refresh": 0.05, "max_stale": 60.0, **bind, **changes}
    )  # fmt: skip


async def _until(condition: Callable[[], object], changed: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await changed.wait()
            changed.clear()


async def test_a_change_in_ldap_is_told_of(own_slapd: Slapd):
    own_slapd.add_user("mover")
    own_slapd.add_group("movers", users=["mover"])
    told: list[Membership] = []
    news = asyncio.Event()

    def changed(membership: Membership) -> None:
        told.append(membership)
        news.set()

    directory = Directory(_settings(own_slapd), Clock(), changed)
    directory.start()
    found = await directory.watch("mover")
    assert found is not None
    assert found.groups == ("movers",)
    generation = directory.generation
    await asyncio.to_thread(own_slapd.remove_from_group, "mover", "movers")
    await _until(lambda: told, news)
    assert told[0].groups == ()
    assert directory.generation > generation
    await directory.close()


async def test_the_last_known_groups_serve_as_long_as_is_allowed_and_no_longer(own_slapd: Slapd):
    own_slapd.add_user("stale")
    own_slapd.add_group("known", users=["stale"])
    clock = Clock()
    directory = Directory(_settings(own_slapd), clock)
    await directory.watch("stale")
    own_slapd.stop()
    clock.now = 59.0
    assert (await directory.watch("stale")).groups == ("known",)  # asked, without an answer
    assert directory.error is not None
    assert own_slapd.uri in directory.error
    clock.now = 61.0
    assert directory.membership("stale") is None
    own_slapd.start()
    assert (await directory.watch("stale")).groups == ("known",)
    assert directory.error is None


async def test_a_directory_that_hangs_costs_its_time_limit_and_recovers(own_slapd: Slapd):
    own_slapd.add_user("patient")
    own_slapd.add_user("newcomer")
    directory = Directory(_settings(own_slapd), Clock())
    await directory.watch("patient")
    own_slapd.pause()
    try:
        async with asyncio.timeout(10):
            assert await directory.watch("patient") is not None
        assert directory.error is not None
        async with asyncio.timeout(0.4):  # who is known does not wait for it once more
            assert await directory.watch("patient") is not None
    finally:
        own_slapd.resume()
    assert (await directory.watch("newcomer")).found
    assert directory.error is None


async def test_logins_leave_a_sick_server_alone_after_some_failures(own_slapd: Slapd):
    own_slapd.add_user("eager")
    directory = Directory(_settings(own_slapd, timeout=0.2), Clock())
    own_slapd.pause()
    try:
        for _ in range(3):
            assert await directory.watch("eager") is None
        asked: list[object] = []
        directory._source.fetch = asked.append  # whoever asked now would be seen here
        assert await directory.watch("eager") is None
        assert asked == []
    finally:
        own_slapd.resume()


async def test_each_state_of_an_outage_is_told_once_and_shown(own_slapd: Slapd, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "pgguard")
    own_slapd.add_user("shown")
    clock = Clock()
    directory = Directory(_settings(own_slapd), clock)
    clock.now = 7000.0  # nobody asked for hours: that is no silence
    await directory.watch("shown")
    assert directory.health() == Health(0, breaker_open=False, silent=0, serves=60, next_try=0, oldest=0)
    own_slapd.stop()
    clock.now = 7010.0
    for user in ("a", "b", "c"):
        assert not directory.health().breaker_open
        await directory.watch(user)
    assert directory.health() == Health(3, breaker_open=True, silent=10, serves=50, next_try=0, oldest=10)
    clock.now = 7061.0
    assert directory.health().serves == 0
    for _ in range(2):
        await directory._try(["shown"])  # as the background does
    own_slapd.start()
    await directory._try(["shown"])
    assert directory.health() == Health(0, breaker_open=False, silent=0, serves=60, next_try=0, oldest=0)
    told = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    assert [line.partition(":")[0] for line in told] == [
        "directory does not answer",
        "the circuit breaker of the directory is open",
        "the directory has not answered for 61 s",
        "directory answers again, after 61 s and 5 failures",
    ]


async def test_a_directory_that_never_answered_is_silent_since_it_was_asked(own_slapd: Slapd):
    clock = Clock()
    directory = Directory(_settings(own_slapd), clock)
    own_slapd.stop()
    clock.now = 7000.0
    assert await directory.watch("first") is None
    assert directory.health().silent == 0
    clock.now = 7003.0
    assert directory.health().silent == 3


async def test_logins_at_the_same_time_share_a_question(own_slapd: Slapd):
    users = [f"rush-{number}" for number in range(40)]
    for user in users:
        own_slapd.add_user(user)
    directory = Directory(_settings(own_slapd), Clock())
    asked: list[int] = []
    fetch = directory._source.fetch
    directory._source.fetch = lambda names: asked.append(len(names)) or fetch(names)  # counts, and asks as before
    found = await asyncio.gather(*(directory.watch(user) for user in users))
    assert all(membership is not None and membership.found for membership in found)
    assert sum(asked) == 40
    assert len(asked) <= 3


async def test_who_has_no_session_is_forgotten(own_slapd: Slapd):
    own_slapd.add_user("brief")
    directory = Directory(_settings(own_slapd), Clock())
    await directory.watch("brief")
    await directory.watch("brief")
    directory.unwatch("brief")
    assert directory.membership("brief") is not None
    directory.unwatch("brief")
    assert directory.membership("brief") is None


async def test_a_static_file_is_read_anew_when_it_changes(people_file: Path):
    directory = Directory(DirectorySettings(kind="static", path=people_file), Clock())
    found = await directory.watch("alice")
    assert found.groups == ("analysts", "staff")
    assert found.paths["staff"] == ("analysts", "staff")
    people_file.write_text("users: {alice: {groups: [], disabled: true}}\n")
    found = await directory.watch("alice")
    assert (found.groups, found.disabled) == ((), True)


async def test_a_static_file_that_changes_reaches_those_who_are_watched(people_file: Path):
    """By rename, as editors and configuration management write: whole, and here of the very size and time."""
    told: asyncio.Queue[Membership] = asyncio.Queue()
    settings = DirectorySettings(kind="static", path=people_file, refresh=0.05)
    directory = Directory(settings, asyncio.get_running_loop().time, told.put_nowait)
    directory.start()
    await directory.watch("alice")
    other, before = people_file.with_name("other"), people_file.stat()
    other.write_text(people_file.read_text().replace("[staff]", "[crew!]"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert other.stat().st_size == before.st_size
    other.replace(people_file)
    async with asyncio.timeout(10):
        assert (await told.get()).groups == ("analysts", "crew!")
    people_file.write_text("users: {alice: {disabled: true}}\n")
    async with asyncio.timeout(10):
        assert (await told.get()).disabled
    await directory.close()


async def test_a_server_asked_without_protection_is_warned_of(caplog: pytest.LogCaptureFixture):
    directory = Directory(DirectorySettings(kind="ldap", uri="ldap://192.0.2.1", base="dc=test"), Clock())
    directory.start()
    assert "ldap://192.0.2.1 is asked without TLS" in caplog.text
    await directory.close()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("users: [alice]\n", '"users" must map each name to a map'),
        ("users: {alice: {groups: analysts}}\n", '"users" must map each name to a map'),
        ("users: {alice: {groups: [1]}}\n", '"users" must map each name to a map'),
        ("users: {alice\n", "is not valid YAML"),
    ],
)
async def test_a_static_file_that_does_not_fit_gives_nobody_groups(people_file: Path, text: str, complaint: str):
    people_file.write_text(text)
    directory = Directory(DirectorySettings(kind="static", path=people_file), Clock())
    assert await directory.watch("alice") is None
    assert complaint in (directory.error or "")


async def test_a_look_that_breaks_is_a_failure_and_the_next_one_is_made(own_slapd: Slapd):
    """A name that cannot be encoded raised something else than a source should, and ended the background task."""
    own_slapd.add_user("whole")
    directory = Directory(_settings(own_slapd), Clock())
    assert await directory.watch("half\udc80") is None
    assert "UnicodeEncodeError" in (directory.error or "")
    assert (await directory.watch("whole")).found
    assert directory.error is None


async def test_looks_come_with_jitter_and_less_often_while_they_fail(people_file: Path):
    """The looks of many proxies do not fall together, and a sick server is left alone, but not for long."""
    directory = Directory(DirectorySettings(kind="static", path=people_file, refresh=2.0), lambda: 0.0)

    def pauses(failures: int) -> list[float]:
        directory._failures = failures
        return sorted(directory._pause() for _ in range(200))

    assert 1.8 <= pauses(0)[0] < 1.95
    assert 2.05 < pauses(0)[-1] <= 2.2
    assert 7.2 <= pauses(2)[0] < pauses(2)[-1] <= 8.8
    assert 13.5 <= pauses(50)[0] < pauses(50)[-1] <= 16.5
