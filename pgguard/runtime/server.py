"""The server: listens, lets clients in, keeps their connections, reloads, and ends in order."""

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import asyncpg
import msgspec
import watchfiles

from pgguard import __version__
from pgguard.audit.log import AuditLog, AuditUnavailable
from pgguard.audit.records import Changed, HoldEvent, LoginRefused
from pgguard.audit.upkeep import keep_up
from pgguard.auth.acceptor import Acceptor, KerberosError
from pgguard.auth.identity import IdentityMap
from pgguard.auth.layers import LayerBroken
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
from pgguard.runtime.client_address import ClientAddresses, peer_address
from pgguard.runtime.colleagues import Colleagues
from pgguard.runtime.config import Config
from pgguard.runtime.connection import Connection
from pgguard.runtime.console import DATABASE as CONSOLE
from pgguard.runtime.console import Console
from pgguard.runtime.endpoint import Endpoint, EndpointClosed
from pgguard.runtime.entrance import Entrance
from pgguard.runtime.facts_cache import FactsCache
from pgguard.runtime.hold_store import hold_store, make_hooks, node_name
from pgguard.runtime.house import House, timestamp
from pgguard.runtime.isolation import Isolation
from pgguard.runtime.known_people import KnownPeople
from pgguard.runtime.ledger import Place
from pgguard.runtime.login import Login
from pgguard.runtime.metrics import Family, Metrics, counter, exposition, gauge, labelled
from pgguard.runtime.opening import new_key, open_console, open_session, welcome
from pgguard.runtime.orders import Report, SessionLine
from pgguard.runtime.peers import Peers
from pgguard.runtime.rulebook import Rulebook
from pgguard.runtime.service_login import connect_as_service
from pgguard.runtime.shipping import Shipping
from pgguard.runtime.tls_files import TlsFiles
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
_PROBES_SECONDS = 5.0


class _Accepting(Endpoint):
    """An endpoint that is served as soon as it is connected."""

    def __init__(self, server: "Server") -> None:
        super().__init__()
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.take(self)


class _Visit:
    """A client on its way: what it has by now, and has to give back."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self.admitted: Admitted | None = None
        self.place: Place | None = None
        self.login: Login | None = None
        self.console: Console | None = None
        self.key: KeyData | None = None


class Server:
    """One process's server. `start` raises what keeps it from starting, each with its own clear message."""

    def __init__(self, config: Config, colleagues: Colleagues, entrance: Entrance) -> None:
        self._config = config
        self._colleagues = colleagues
        self._entrance = entrance
        loop = asyncio.get_running_loop()
        audit = AuditLog(config.audit, timestamp())
        acceptor = Acceptor(config.kerberos)
        self._door = Door(acceptor, IdentityMap(config.kerberos.map, acceptor.realms), None)
        self._peers = Peers(config.peers)
        self._client_addresses = ClientAddresses(config.listen.proxy_from)
        directory = Directory(config.directory, loop.time, self._membership_changed)
        people = KnownPeople(directory)
        self._house = House(
            config=config,
            rulebook=Rulebook(config.rules.path, config.rules.baseline),
            directory=directory,
            probes=Board(self._connect, loop.time),
            audit=audit,
            people=people,
            desk=Desk(hold_store(config, colleagues), node_name(config), people, self._record_hold),
            databases=Databases(config.database),
            catalogs=Catalogs(self._connect, config.database.catalog_refresh_seconds),
            cache=FactsCache(_CACHE),
            isolation=Isolation(config.limits.analysis_seconds),
            metrics=Metrics(),
        )
        self._tls_files = TlsFiles(config, self._door, self._house.databases)
        self._hooks = make_hooks(config)
        self._connections: dict[KeyData, Connection] = {}
        self._consoles: set[Console] = set()
        self._ending: Refusal | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._arriving: set[Endpoint] = set()
        """Clients that have not logged in yet."""
        self._watch_page: WatchPage | None = None
        self._shipping = Shipping(config.audit)

    async def start(self) -> None:
        self._house.directory.start()
        self._house.catalogs.start()
        self._hooks.start()
        await self._house.desk.start()
        self._house.probes.use(self._house.rulebook.current.probes)
        await self._house.probes.ready(_PROBES_SECONDS)
        self._record(Changed(timestamp(), "start", f"rules {self._house.rulebook.current.identity}"))
        await self._entrance.open(lambda: _Accepting(self))
        if self._config.metrics is not None:
            self._watch_page = WatchPage(self._config.metrics, self._page, self._troubles)
            await self._watch_page.start()
        if self._config.rules.watch:
            self.spawn(self._watch_rules())
        self.spawn(self._tls_files.watch())
        self.spawn(keep_up(self._house.audit, self._config.audit))
        self._shipping.start()
        _log.info("accepting connections on %s port %d", self._config.listen.host, self._config.listen.port)

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
        """Serve a client that has just connected, unless too many have who say nothing: each takes a descriptor."""
        limit = self._config.limits.logins
        if limit and len(self._arriving) >= limit:
            self._house.metrics.logins_refused += 1
            client.abort()
            self._colleagues.closed()
            return
        self._arriving.add(client)
        task = self.spawn(self.serve(client))
        self._serving.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: "asyncio.Task[None]") -> None:
        self._serving.discard(task)
        self._colleagues.closed()

    async def serve(self, client: Endpoint) -> None:
        """One client, from its first byte to its last."""
        visit = _Visit(peer_address(client))
        try:
            session = await self._log_in(client, visit)
            self._arriving.discard(client)
            if isinstance(session, Connection):
                await session.ended.wait()
            elif session is not None:
                await session.run()
        finally:
            self._arriving.discard(client)
            self._forget(visit)

    async def _log_in(self, client: Endpoint, visit: "_Visit") -> Connection | Console | None:
        """What the client has come for; None where it was a cancel request, or is turned away."""
        try:
            async with asyncio.timeout(self._config.limits.login_seconds):
                visit.address = await self._client_addresses.of(client)
                packet = await self._door.admit(client)
                if not isinstance(packet, CancelRequest):
                    visit.admitted = packet
                    return await self._let_in(client, packet, visit)
                own = await self._peers.take(packet)
                if own is not None and not await self.cancel(own.process, own.secret):
                    self._colleagues.cancel(own.process, own.secret)
                client.close()
        except NotAdmitted as refused:
            self._turn_away(client, refused, visit)
        except (TimeoutError, KerberosError, ProtocolViolation, LayerBroken, EndpointClosed) as error:
            whence = visit.address or "a socket"
            _log.info("connection from %s ended during login: %s", whence, error or "time limit")
            client.abort()
        except Exception:
            client.abort()
            raise
        return None

    def _record_hold(self, held: HeldRecord, event: str, by: str, why: str) -> None:
        hold = held.hold
        if event == "approved-alone":
            _log.warning("break-glass: %s alone released hold #%d of %s: %s", by, held.number, hold.requester.user, why)
        at = timestamp()
        self._house.audit.append(HoldEvent(at, hold.audit_id, hold.session, str(held.number), event, by, why))
        self._hooks.tell(at, held, event, by, why)

    async def _let_in(self, client: Endpoint, admitted: Admitted, visit: "_Visit") -> Connection | Console:
        """Raises NotAdmitted."""
        place = Place(admitted.user, visit.address)
        refused = await self._colleagues.enter(place)
        if refused:
            raise NotAdmitted(Refusal(SqlState.TOO_MANY_CONNECTIONS, refused))
        visit.place = place
        if admitted.database == CONSOLE:
            login = await open_console(self._house, admitted, visit.address)
            visit.login = login
            visit.console = Console(self._house, login, client, self)
            self._consoles.add(visit.console)
            return visit.console
        login, database = await open_session(self._house, admitted, visit.address)
        visit.login = login
        key = self._peers.mark(new_key(admitted.version, database.key.process))
        connection = Connection(self._house, login, client, database, key.process)
        self._connections[key] = connection
        visit.key = key
        welcome(client, database, key)
        connection.start()
        if self._ending is not None:
            connection.end_at_rest(self._ending)
        return connection

    def _forget(self, visit: "_Visit") -> None:
        if visit.place is not None:
            self._colleagues.leave(visit.place)
        if visit.login is not None:
            self._house.directory.unwatch(visit.login.user)
        if visit.console is not None:
            self._consoles.discard(visit.console)
        if visit.key is not None:
            del self._connections[visit.key]

    def _membership_changed(self, membership: Membership) -> None:
        """The directory tells another thing of a user with open sessions."""
        what = "disabled" if membership.disabled else f"groups {', '.join(membership.groups or ()) or 'none'}"
        self._record(Changed(timestamp(), "directory", f"{membership.user}: {what}"))
        for connection in list(self._connections.values()):
            if connection.login.user == membership.user:
                connection.membership_changed()

    def _turn_away(self, client: Endpoint, refused: NotAdmitted, visit: "_Visit") -> None:
        _log.info("login refused from %s: %s", visit.address or "a socket", refused)
        record = LoginRefused(
            timestamp(), str(refused), refused.user, refused.principal, refused.database, visit.address
        )
        admitted = visit.admitted
        if admitted is not None:
            principal = str(admitted.accepted.principal)
            record = msgspec.structs.replace(
                record, user=admitted.user, principal=principal, database=admitted.database
            )
        self._house.metrics.logins_refused += 1
        self._record(record)
        client.write(refusal_error(refused.refusal, "FATAL"))
        client.close()

    async def cancel(self, process: int, secret: bytes) -> bool:
        """Cancel what the session with this key runs; whether there is one."""
        connection = self._connections.get(KeyData(process, secret))
        if connection is None:
            return False
        await connection.cancel()
        return True

    # the house

    async def _connect(self, database: str) -> asyncpg.Connection:
        """Pgguard's own login, for the catalog and probes."""
        return await connect_as_service(self._config.database, self._house.databases.tls, database)

    # those who watch

    async def _page(self) -> str:
        return exposition(self.report().families)

    def report(self) -> Report:
        """All that this process has counted and measures."""
        return Report((*self._house.metrics.families(), *self._gauges()), tuple(self._troubles()))

    async def families(self) -> Sequence[Family]:
        """All that is counted and measured, over all workers."""
        return (await self._colleagues.report(self.report())).families

    # the console's view of all workers

    async def sessions(self) -> Sequence[SessionLine]:
        """All that are open now."""
        return (*self.session_lines(), *await self._colleagues.sessions())

    async def terminate(self, session: str, owner: str | None, why: str) -> bool:
        """End a session, if it is one of `owner`'s (None: whose-ever); whether there was one."""
        return self.terminate_own(session, owner, why) or await self._colleagues.terminate(session, owner, why)

    def session_lines(self) -> list[SessionLine]:
        """Those of this process."""
        return [
            SessionLine(
                login.session,
                login.user,
                str(login.principal),
                login.database,
                login.address,
                login.transport.value,
                connection.doing,
                connection.statements,
            )
            for connection in self._connections.values()
            for login in (connection.login,)
        ]

    def terminate_own(self, session: str, owner: str | None, why: str) -> bool:
        """`terminate` in this process."""
        for connection in list(self._connections.values()):
            login = connection.login
            if login.session == session and owner in {None, login.user}:
                connection.terminate(Refusal(SqlState.ADMIN_SHUTDOWN, why))
                return True
        return False

    def _gauges(self) -> Iterator[Family]:
        house = self._house
        yield gauge("sessions", "Open sessions.", len(self._connections))
        yield gauge("console_sessions", "Open sessions of the console.", len(self._consoles))
        yield gauge("holds_waiting", "Statements of this node that wait for people now.", house.desk.waiting)
        hooks = tuple(("", labelled(hook=hook, outcome=how), n) for (hook, how), n in self._hooks.counts().items())
        yield Family("hook_events_total", "counter", "Events of holds by what became of telling a hook.", hooks)
        yield counter("facts_cache_hits_total", "Statements whose facts were known.", house.cache.hits)
        yield counter("facts_cache_misses_total", "Statements that had to be analysed.", house.cache.misses)
        up, told = int(house.directory.error is None), int(house.directory.told_by is not None)
        yield gauge("directory_up", "Whether the directory answered last.", up, "min")
        yield gauge("directory_push", "Whether the directory tells of changes.", told, "min")
        health = house.directory.health()
        shut, stale = int(health.breaker_open), int(not health.serves)
        yield gauge("directory_breaker_open", "Whether logins leave the directory alone.", shut, "max")
        yield gauge("directory_silent_seconds", "Since the directory answered; 0 while it does.", health.silent, "max")
        yield gauge("directory_stale", "Whether nobody's groups are known any more.", stale, "max")
        yield gauge("directory_age_seconds", "Age of the oldest membership in use.", health.oldest, "max")
        ages = tuple(("", labelled(database=name), age) for name, age in sorted(house.catalogs.ages().items()))
        yield Family("catalog_age_seconds", "gauge", "Since a catalog was last confirmed.", ages, "max")
        yield gauge("probes_failing", "Probes whose last look failed.", len(house.probes.errors), "max")
        ages = tuple(("", labelled(probe=name), age) for name, age in sorted(house.probes.ages().items()))
        yield Family("probe_age_seconds", "gauge", "Since a probe's value was asked for.", ages, "max")
        version = (("", labelled(version=__version__), 1),)
        yield Family("build_info", "gauge", "The version that serves.", version, "max")
        rules = (("", labelled(identity=house.rulebook.current.identity), 1),)
        yield Family("rules_info", "gauge", "The identity of the rules in force.", rules, "max")
        yield from self._shipping.families()
        yield from self._tls_files.families()
        yield counter("rules_reload_failures_total", "Reloads that left the old rules.", house.rulebook.failures)

    def _troubles(self) -> list[str]:
        """What keeps a session that comes now from working."""
        directory = self._house.directory
        troubles = []
        if not self._entrance.is_open:
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
            await self._reload_rules()

    async def _reload_rules(self) -> None:
        if await self._house.rulebook.reload():
            self._house.probes.use(self._house.rulebook.current.probes)
            self._record(Changed(timestamp(), "rules", self._house.rulebook.current.identity))
            for connection in list(self._connections.values()):
                connection.rules_changed()

    async def reload(self) -> str:
        """Have all workers read the rules anew; why those in force stay, where they do."""
        await self._reload_rules()
        return self.reload_trouble or await self._colleagues.reload()

    @property
    def reload_trouble(self) -> str:
        """Why the last reload of the rules left those in force; empty after one that did not."""
        return self._house.rulebook.error or ""

    async def hang_up(self) -> None:
        """SIGHUP: reload, and go on in a fresh audit file."""
        try:
            self._house.audit.reopen()
        except AuditUnavailable as error:
            _log.error("the audit log was not reopened: %s", error)  # told in full
        self._tls_files.reload()
        await self._reload_rules()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Accept nobody any more; let sessions end at rest, for the configured time; then close everything."""
        self._entrance.close()
        self._ending = Refusal(SqlState.ADMIN_SHUTDOWN, "terminating connection because pgguard is shutting down")
        for console in list(self._consoles):
            console.end(self._ending)
        for connection in list(self._connections.values()):
            connection.end_at_rest(self._ending)
        await _first(self._all_ended(), hurry.wait(), seconds=self._config.limits.drain_seconds)
        for connection in list(self._connections.values()):
            connection.terminate(self._ending)
        await _first(self._all_ended(), seconds=_LAST_SECONDS)
        for task in list(self._tasks):
            task.cancel()
        if self._watch_page is not None:
            self._watch_page.close()
        await self._house.desk.stop()
        await self._hooks.stop()
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
