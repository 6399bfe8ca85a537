"""What a statement costs pgguard itself: one process, no sockets, no other program to wait for.

    python -m bench.known [seconds] [--profile]

A session of pgbench's prepared select (Bind, Execute, Sync as one piece; the answer as one piece), one that prepares it
each time, one of the same text as a simple query, and one of texts that no cache knows, against a hundred rules, half
of which are about the table that is read, with the audit written to a file. `--profile` prints where the time goes, by
samples: a tracing profiler would multiply the cost of small calls. What the sockets and the scheduler add on top is
`./dev bench`'s business.
"""

import asyncio
import itertools
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast

from bench.targets import write_rules
from pgguard.audit.log import AuditLog
from pgguard.audit.settings import AuditSettings
from pgguard.auth.settings import DatabaseSettings, KerberosSettings
from pgguard.cli._common import read_catalog
from pgguard.directory.directory import Directory
from pgguard.directory.settings import DirectorySettings
from pgguard.holds.desk import Desk
from pgguard.holds.sqlite_store import SqliteStore
from pgguard.model.context import Principal, Ticket, Transport
from pgguard.probes.board import Board
from pgguard.runtime.backend import BackendConnection, Databases
from pgguard.runtime.catalogs import Catalogs
from pgguard.runtime.config import Config, RulesSettings
from pgguard.runtime.connection import Connection
from pgguard.runtime.endpoint import Endpoint
from pgguard.runtime.facts_cache import FactsCache
from pgguard.runtime.house import House, timestamp
from pgguard.runtime.isolation import Isolation
from pgguard.runtime.known_people import KnownPeople
from pgguard.runtime.login import Login
from pgguard.runtime.metrics import Metrics
from pgguard.runtime.rulebook import Rulebook
from pgguard.session.server_login import ServerLogin
from pgguard.wire import backend, frontend

TEXT = b"select name from sales.customers where id = $1"
_ROW = ('["pg_catalog","public"]', "alice", "alice", "on", "UTF8", None, "off", "0", "public")
READY = backend.ready_for_query(b"I")
STATE = (
    b"1\0\0\0\x042\0\0\0\4" + backend.data_row(_ROW) + backend.command_complete("SELECT 1") + b"3\0\0\0\4" * 2 + READY
)
ANSWER = b"2\0\0\0\4" + backend.data_row(("Ann",)) + backend.command_complete("SELECT 1") + READY
PIECE = frontend.bind(b"", b"p", (b"7",)) + frontend.execute(b"") + frontend.sync()
EXTENDED = frontend.parse(b"", TEXT) + frontend.bind(b"", b"", (b"7",)) + frontend.execute(b"") + frontend.sync()
EXTENDED_ANSWER = b"1\0\0\0\4" + ANSWER
QUERY = frontend.query(b"select name from sales.customers where id = 7")
QUERY_ANSWER = (
    backend.row_description(["name"]) + backend.data_row(("Ann",)) + backend.command_complete("SELECT 1") + READY
)

_SLICE = 20


class Sink:
    """In the place of a transport: takes everything."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def make_house(folder: Path) -> House:
    """As a server makes it, but for what a known statement never asks."""
    write_rules(folder / "rules", "sales.customers", ["id", "name"])
    people = folder / "people.yaml"
    people.write_text("users:\n  alice: {groups: [analysts, staff]}\n", encoding="utf-8")
    config = Config(
        kerberos=KerberosSettings(folder / "keytab"),
        directory=DirectorySettings("static", people),
        database=DatabaseSettings(),
        rules=RulesSettings(folder / "rules"),
        audit=AuditSettings(folder / "audit.jsonl"),
    )
    clock = time.monotonic
    directory = Directory(config.directory, clock)
    people = KnownPeople(directory)
    house = House(
        config=config,
        rulebook=Rulebook(config.rules.path, None),
        directory=directory,
        probes=Board(_connect, clock),
        audit=AuditLog(config.audit, timestamp()),
        people=people,
        desk=Desk(SqliteStore(folder / "holds.sqlite"), "bench", people, lambda *_: None),
        databases=Databases(config.database),
        catalogs=Catalogs(_connect, 60.0),
        cache=FactsCache(1 << 24),
        isolation=Isolation(10.0),
        metrics=Metrics(),
    )
    keeper = house.catalogs.keeper("shop")
    keeper._current, keeper.generation = read_catalog(Path("rules/shop.catalog.json")), 1  # noqa: SLF001
    return house


async def _connect(database: str) -> Any:
    raise AssertionError(f"a known statement asked database {database}")


def unseen() -> Iterator[bytes]:
    """Simple queries, each of a shape of its own: by the name of its column."""
    for number in itertools.count():
        yield frontend.query(b"select name as c%d from sales.customers where id = 7" % number)


def _transactions(
    connection: Connection, pieces: Iterator[bytes], answer: bytes, seconds: float
) -> tuple[float, float]:
    """One after the other, for so long: microseconds of processor for one, in the best and the middle slice."""
    end, slices = time.perf_counter() + seconds, []
    while time.perf_counter() < end:
        began = time.process_time()
        for _ in range(_SLICE):
            run(connection, next(pieces), answer)
        slices.append((time.process_time() - began) / _SLICE * 1e6)
    return min(slices), statistics.median(slices)


async def prepared(house: House) -> tuple[Connection, Sink]:
    """Alice's session with the statement prepared and run once, and what her client has got."""
    await house.directory.watch("alice")
    login = Login(
        "s1", "alice", Principal("alice", "EXAMPLE.COM"), Ticket(time.time() + 36000), "shop", "127.0.0.1",
        Transport.PLAIN,
    )  # fmt: skip
    client, server = Endpoint(), Endpoint()
    to_client = Sink()
    client.connection_made(cast("asyncio.Transport", to_client))
    server.connection_made(cast("asyncio.Transport", Sink()))
    database = BackendConnection("localhost", server, ServerLogin("alice", "", encrypted=False, gss=None))
    connection = Connection(house, login, client, database, 1)
    connection.from_client(frontend.parse(b"p", TEXT) + frontend.sync())
    connection.from_database(STATE)
    connection.from_database(b"1\0\0\0\4" + READY)
    run(connection)
    if to_client.pieces[-1] != ANSWER:
        raise SystemExit(f"the first transaction went wrong: {to_client.pieces}")
    return connection, to_client


def run(connection: Connection, piece: bytes = PIECE, answer: bytes = ANSWER) -> None:
    """The statement once more."""
    connection.from_client(piece)
    connection.from_database(answer)


Samples = Counter[tuple[str, str]]


@contextmanager
def sampled() -> Iterator[Samples]:
    """Where the processor is, every few milliseconds of it: the file of pgguard's, and the function."""
    found: Samples = Counter()

    def take(_: int, frame: FrameType | None) -> None:
        while frame is not None and "/pgguard/" not in frame.f_code.co_filename:
            frame = frame.f_back  # what a library does is done for whoever called it
        if frame is not None:
            found[frame.f_code.co_filename.rpartition("/pgguard/")[2], frame.f_code.co_qualname] += 1

    signal.signal(signal.SIGPROF, take)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    try:
        yield found
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _shares(samples: Samples, statement: float) -> str:
    """By room and by function: of the microseconds of one statement, how many."""
    whole, rooms = sum(samples.values()), Counter[str]()
    for (file, _), count in samples.items():
        rooms[file.partition("/")[0]] += count
    lines = [f"  {room:12}{count / whole * statement:8.1f} us" for room, count in rooms.most_common()]
    lines += [
        f"    {file + ' ' + function:64}{count / whole * statement:6.1f} us"
        for (file, function), count in samples.most_common(40)
    ]
    return "\n".join(lines)


async def main(seconds: float, *, profile: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        connection, _ = await prepared(make_house(Path(name)))
        for what, pieces, answer in (
            ("prepared", itertools.repeat(PIECE), ANSWER),
            ("extended", itertools.repeat(EXTENDED), EXTENDED_ANSWER),
            ("simple", itertools.repeat(QUERY), QUERY_ANSWER),
            ("unseen", unseen(), QUERY_ANSWER),
        ):
            best, middle = _transactions(connection, pieces, answer, seconds)
            print(f"{what}: {best:.1f} us of processor a statement at best, {middle:.1f} in the middle")
            if profile:
                with sampled() as samples:
                    _transactions(connection, pieces, answer, seconds)
                print(_shares(samples, best))


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--profile"]
    asyncio.run(main(float(words[0]) if words else 5.0, profile="--profile" in sys.argv))
