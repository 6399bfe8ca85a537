"""The server: listens, lets clients in, keeps their connections, reloads, and ends in order."""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import asyncpg
import watchfiles

from pgguard.audit.log import AuditLog, AuditUnavailable
from pgguard.audit.records import Changed, HoldEvent, LoginRefused
from pgguard.audit.upkeep import Upkeep
from pgguard.auth.acceptor import Acceptor, KerberosError
from pgguard.auth.identity import IdentityMap
from pgguard.auth.layers import LayerBroken
from pgguard.auth.tls import client_facing
from pgguard.directory.directory import Directory
from pgguard.directory.membership import Membership
from pgguard.holds.desk import Desk
from pgguard.holds.store import Record as HeldRecord
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.probes.board import Board
from pgguard.runtime.admission import Admitted, Door, NotAdmitted
from pgguard.runtime.backend import Databases
from pgguard.runtime.catalogs import Catalogs
from pgguard.runtime.config import Config
from pgguard.runtime.connection import Connection
from pgguard.runtime.console import DATABASE as CONSOLE
from pgguard.runtime.console import Console
from pgguard.runtime.endpoint import Endpoint, EndpointClosed
from pgguard.runtime.facts_cache import FactsCache
from pgguard.runtime.hold_store import hold_store, node_name
from pgguard.runtime.house import House, timestamp
from pgguard.runtime.isolation import Isolation
from pgguard.runtime.known_people import KnownPeople
from pgguard.runtime.login import Login
from pgguard.runtime.metrics import Family, Metrics, counter, exposition, gauge
from pgguard.runtime.opening import new_key, open_console, open_session, welcome
from pgguard.runtime.rulebook import Rulebook
from pgguard.runtime.service_login import connect_as_service
from pgguard.runtime.shipping import Shipping
from pgguard.runtime.watch_page import WatchPage
from pgguard.session.refusing import refusal_error
from pgguard.wire.backend import KeyData
from pgguard.wire.framing import ProtocolViolation
from pgguard.wire.startup import CancelRequest

_log = logging.getLogger(__name__)

_CACHE = 64 << 20
"""Bytes of facts that are remembered."""

_LAST_SECONDS = 5.0
"""What sessions get to end in, once what they run has been cancelled."""
_UPKEEP_SECONDS = 1.0
_PROBES_SECONDS = 5.0


class _Accepting(Endpoint):
    """An endpoint that is served as soon as it is connected."""

    def __init__(self, server: "Server") -> None:
        super().__init__()
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.take(self)


class Server:
    """One process's server. `start` raises what keeps it from starting, each with its own clear message."""

    def __init__(self, config: Config) -> None:
        self._config = config
        loop = asyncio.get_running_loop()
        audit = AuditLog(config.audit, timestamp())
        acceptor = Acceptor(config.kerberos)
        tls = None if config.tls is None else client_facing(config.tls)
        self._door = Door(acceptor, IdentityMap(config.kerberos.map, acceptor.realms), tls)
        directory = Directory(config.directory, loop.time, self._membership_changed)
        people = KnownPeople(directory)
        self._house = House(
            config=config,
            rulebook=Rulebook(config.rules.path, config.rules.baseline),
            directory=directory,
            probes=Board(self._connect, loop.time),
            audit=audit,
            people=people,
            desk=Desk(hold_store(config), node_name(config), people, self._record_hold),
            databases=Databases(config.database),
            catalogs=Catalogs(self._connect, config.database.catalog_refresh_seconds),
            cache=FactsCache(_CACHE),
            isolation=Isolation(config.limits.analysis_seconds),
            metrics=Metrics(),
        )
        self._connections: dict[KeyData, Connection] = {}
        self._consoles: set[Console] = set()
        self._ending: Refusal | None = None
        self._users: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._watch_page: WatchPage | None = None
        self._shipping = Shipping(config.audit)

    async def start(self) -> None:
        listen = self._config.listen
        host = None if listen.host == "*" else listen.host
        self._house.directory.start()
        self._house.catalogs.start()
        await self._house.desk.start()
        self._house.probes.use(self._house.rulebook.current.probes)
        await self._house.probes.ready(_PROBES_SECONDS)
        self._record(Changed(timestamp(), "start", f"rules {self._house.rulebook.current.identity}"))
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: _Accepting(self), host, listen.port, backlog=listen.backlog
        )
        if self._config.metrics is not None:
            self._watch_page = WatchPage(self._config.metrics, self._page, self._troubles)
            await self._watch_page.start()
        if self._config.rules.watch:
            self.spawn(self._watch_rules())
        self.spawn(self._keep_audit())
        self._shipping.start()
        _log.info("accepting connections on %s port %d", listen.host, listen.port)

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something in the background, and hold on to it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a background task failed", exc_info=task.exception())

    # clients

    def take(self, client: Endpoint) -> None:
        """Serve a client that has just connected."""
        task = self.spawn(self.serve(client))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def serve(self, client: Endpoint) -> None:
        """One client, from its first byte to its last."""
        address = _address(client)
        admitted: Admitted | None = None
        console: Login | None = None
        try:
            async with asyncio.timeout(self._config.limits.login_seconds):
                packet = await self._door.admit(client)
                if isinstance(packet, CancelRequest):
                    await self._cancel(packet)
                    client.close()
                    return
                admitted = packet
                self._check_limits(admitted.user, address)
                if admitted.database == CONSOLE:
                    console = await open_console(self._house, admitted, address)
                else:
                    connection = await self._open(client, admitted, address)
        except NotAdmitted as refused:
            self._turn_away(client, refused, admitted, address)
            return
        except (TimeoutError, KerberosError, ProtocolViolation, LayerBroken, EndpointClosed) as error:
            _log.info("connection from %s ended during login: %s", address or "a socket", error or "time limit")
            client.abort()
            return
        except Exception:
            client.abort()
            raise
        if console is not None:
            await self._run_console(client, console)
        else:
            await connection.ended.wait()

    async def _run_console(self, client: Endpoint, login: Login) -> None:
        """A console session, which counts like any other."""
        console = Console(self._house, login, client, self)
        self._consoles.add(console)
        self._users[login.user] += 1
        self._addresses[login.address or ""] += 1
        try:
            await console.run()
        finally:
            self._consoles.discard(console)
            self._users[login.user] -= 1
            self._addresses[login.address or ""] -= 1
            self._house.directory.unwatch(login.user)

    def _record_hold(self, held: HeldRecord, event: str, by: str, why: str) -> None:
        hold = held.hold
        if event == "approved-alone":
            _log.warning("break-glass: %s alone released hold #%d of %s: %s", by, held.number, hold.requester.user, why)
        self._house.audit.append(HoldEvent(timestamp(), hold.audit_id, hold.session, str(held.number), event, by, why))

    async def _open(self, client: Endpoint, admitted: Admitted, address: str | None) -> Connection:
        login, database = await open_session(self._house, admitted, address)
        connection = Connection(self._house, login, client, database)
        key = new_key(admitted.version)
        self._connections[key] = connection
        self._users[login.user] += 1
        self._addresses[address or ""] += 1
        self.spawn(self._forget(key, connection))
        welcome(client, database, key)
        connection.start()
        if self._ending is not None:
            connection.end_at_rest(self._ending)
        return connection

    async def _forget(self, key: KeyData, connection: Connection) -> None:
        await connection.ended.wait()
        login = connection.login
        del self._connections[key]
        self._users[login.user] -= 1
        self._addresses[login.address or ""] -= 1
        self._house.directory.unwatch(login.user)

    def _membership_changed(self, membership: Membership) -> None:
        """The directory tells another thing of a user with open sessions."""
        what = "disabled" if membership.disabled else f"groups {', '.join(membership.groups or ()) or 'none'}"
        self._record(Changed(timestamp(), "directory", f"{membership.user}: {what}"))
        for connection in list(self._connections.values()):
            if connection.login.user == membership.user:
                connection.membership_changed()

    def _check_limits(self, user: str, address: str | None) -> None:
        limits = self._config.limits
        checks = (
            (len(self._connections) + len(self._consoles), limits.sessions, "pgguard has"),
            (self._users[user], limits.sessions_per_user, f'user "{user}" has'),
            (self._addresses[address or ""], limits.sessions_per_address, f"address {address} has"),
        )
        for used, limit, who in checks:
            if limit and used >= limit:
                raise NotAdmitted(
                    Refusal(SqlState.TOO_MANY_CONNECTIONS, f"too many sessions: {who} {used} of {limit} allowed")
                )

    def _turn_away(
        self, client: Endpoint, refused: NotAdmitted, admitted: Admitted | None, address: str | None
    ) -> None:
        _log.info("login refused from %s: %s", address or "a socket", refused)
        record = LoginRefused(timestamp(), str(refused), address=address)
        if admitted is not None:
            record = LoginRefused(
                timestamp(), str(refused), admitted.user, str(admitted.accepted.principal), admitted.database, address
            )
        self._house.metrics.logins_refused += 1
        self._record(record)
        client.write(refusal_error(refused.refusal, "FATAL"))
        client.close()

    async def _cancel(self, packet: CancelRequest) -> None:
        connection = self._connections.get(KeyData(packet.process, packet.secret))
        if connection is not None:
            await connection.cancel()

    # the house

    async def _connect(self, database: str) -> asyncpg.Connection:
        """Pgguard's own login, for the catalog and probes."""
        return await connect_as_service(self._config.database, self._house.databases.tls, database)

    # those who watch

    def _page(self) -> str:
        return exposition(self.families())

    def families(self) -> Iterator[Family]:
        """All that is counted and measured."""
        yield from self._house.metrics.families()
        yield from self._gauges()

    def connections(self) -> list[Connection]:
        """The sessions that are open now."""
        return list(self._connections.values())

    def _gauges(self) -> Iterator[Family]:
        house = self._house
        yield gauge("sessions", "Open sessions.", len(self._connections))
        yield gauge("console_sessions", "Open sessions of the console.", len(self._consoles))
        yield gauge("holds_waiting", "Statements of this node that wait for people now.", house.desk.waiting)
        yield counter("facts_cache_hits_total", "Statements whose facts were known.", house.cache.hits)
        yield counter("facts_cache_misses_total", "Statements that had to be analysed.", house.cache.misses)
        yield gauge("directory_up", "Whether the directory answered last.", int(house.directory.error is None))
        yield gauge(
            "directory_push", "Whether the directory tells of changes.", int(house.directory.told_by is not None)
        )
        health = house.directory.health()
        yield gauge("directory_breaker_open", "Whether logins leave the directory alone.", int(health.breaker_open))
        yield gauge("directory_silent_seconds", "Since the directory answered; 0 while it does.", health.silent)
        yield gauge("directory_stale", "Whether nobody's groups are known any more.", int(not health.serves))
        yield gauge("directory_age_seconds", "Age of the oldest membership in use.", health.oldest)
        ages = tuple(("", {"database": name}, age) for name, age in sorted(house.catalogs.ages().items()))
        yield Family("catalog_age_seconds", "gauge", "Since a catalog was last confirmed.", ages)
        yield gauge("probes_failing", "Probes whose last look failed.", len(house.probes.errors))
        rules = (("", {"identity": house.rulebook.current.identity}, 1),)
        yield Family("rules_info", "gauge", "The identity of the rules in force.", rules)
        yield from self._shipping.families()
        yield counter("rules_reload_failures_total", "Reloads that left the old rules.", house.rulebook.failures)

    def _troubles(self) -> list[str]:
        """What keeps a session that comes now from working."""
        directory = self._house.directory
        troubles = []
        if self._listener is None or not self._listener.is_serving():
            troubles.append("no new connections are accepted: pgguard is starting or shutting down")
        if directory.error is not None:
            troubles.append(f"the directory does not answer: {directory.error}")
        return troubles

    async def _all_ended(self) -> None:
        while self._serving:
            await asyncio.wait(self._serving)

    def _record(self, record: Changed | LoginRefused) -> None:
        try:
            self._house.audit.append(record)
        except AuditUnavailable as error:
            self._house.metrics.unrecorded += 1
            _log.error("the audit cannot be written: %s", error)  # told in full

    async def _watch_rules(self) -> None:
        async for _ in watchfiles.awatch(self._house.rulebook.folder, debounce=100, step=20):
            self.reload()

    async def _keep_audit(self) -> None:
        """Flush, rotate, compress and remove, as configured; trouble is told, and does not end it."""
        upkeep = Upkeep(self._house.audit, self._config.audit, datetime.now(UTC))
        while True:
            await asyncio.sleep(_UPKEEP_SECONDS)
            try:
                await asyncio.to_thread(upkeep.tick, datetime.now(UTC))
            except (AuditUnavailable, OSError) as error:
                _log.error("the audit log's upkeep failed: %s", error)  # told in full

    def reload(self) -> None:
        """Read the rules anew; reopen the audit log, which logrotate may have moved."""
        if self._house.rulebook.reload():
            self._house.probes.use(self._house.rulebook.current.probes)
            self._record(Changed(timestamp(), "rules", self._house.rulebook.current.identity))
            for connection in self.connections():
                connection.rules_changed()

    async def hang_up(self) -> None:
        """SIGHUP: reload, and go on in a fresh audit file."""
        self._house.audit.reopen()
        self.reload()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Accept nobody any more; let sessions end at rest, for the configured time; then close everything."""
        if self._listener is not None:
            self._listener.close()
        self._ending = Refusal(SqlState.ADMIN_SHUTDOWN, "terminating connection because pgguard is shutting down")
        for console in list(self._consoles):
            console.end(self._ending)
        for connection in self.connections():
            connection.end_at_rest(self._ending)
        await _first(self._all_ended(), hurry.wait(), seconds=self._config.limits.drain_seconds)
        for connection in self.connections():
            connection.terminate(self._ending)
        await _first(self._all_ended(), seconds=_LAST_SECONDS)
        for task in list(self._tasks):
            task.cancel()
        if self._watch_page is not None:
            self._watch_page.close()
        await self._house.desk.stop()
        await self._house.probes.close()
        await self._house.catalogs.close()
        await self._house.directory.close()
        self._record(Changed(timestamp(), "stop"))
        self._house.audit.close()
        await self._shipping.stop()


async def _first(*events: Coroutine[Any, Any, object], seconds: float) -> None:
    """Until one of them happens, but not longer."""
    tasks = [asyncio.create_task(event) for event in events]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _address(client: Endpoint) -> str | None:
    """The client's address, IPv4-mapped ones as IPv4; None for a Unix socket."""
    peer = client.transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return None
    address = ip_address(str(peer[0]).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
