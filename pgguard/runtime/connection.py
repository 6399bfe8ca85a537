"""One client and its database connection: carries bytes between two sockets and a Session, and its events out.

Theory of operation. Each socket hands its bytes to the session as a plain call; `_pump` then writes what the session
has for either side. Back-pressure: while one side does not take what is written, the other is not read; while a message
waits for a verdict and too much lies behind it, the client is not read. The reasons are kept apart, in `_throttle`: the
end of one does not end the other.

A long pipeline is taken in turns, between which the event loop serves the other sessions. How its client leaves counts
only behind its last message: that may be a goodbye.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from pgguard.audit.log import AuditUnavailable
from pgguard.audit.records import SessionEnded, StatementEnded
from pgguard.model.context import Replication
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.runtime.approval import Approval
from pgguard.runtime.backend import BackendConnection
from pgguard.runtime.endpoint import Endpoint
from pgguard.runtime.house import House, timestamp
from pgguard.runtime.judging import SessionJudge
from pgguard.runtime.login import Login
from pgguard.runtime.running import Running
from pgguard.runtime.session_trace import session_trace
from pgguard.runtime.understanding import Understanding
from pgguard.session.events import CancelWanted, Ended, Event, Outcome, ParameterChanged, WaitsInVain
from pgguard.session.judgement import Refuse, TransactionStatus, Verdict
from pgguard.session.session import Session
from pgguard.wire import frontend

_log = logging.getLogger(__name__)

_CANCELED = Refusal(SqlState.QUERY_CANCELED, "canceling statement due to user request")
_SKIPPED = Refusal(SqlState.QUERY_CANCELED, "the statements before it failed")

_BACKLOG = 1 << 20
"""Bytes of the client's that may wait behind a message, before the client is not read any more."""


_IDLE = {
    TransactionStatus.IDLE: "idle",
    TransactionStatus.BLOCK: "idle in transaction",
    TransactionStatus.FAILED: "idle in transaction (aborted)",
}

_JUST_IN_SECONDS = 1.0
"""So long after its login a session is not ended for a shutdown: drivers begin with statements of their own."""

_PUT_DOWN_SECONDS = (0.0, 0.2, 1.0, 5.0)
"""Pauses before the cancels of what a vanished client has left."""

_SHORTEST_LOOK, _LONGEST_LOOK = 0.05, 3600.0
"""Seconds between looks at the ticket's end: the clock may be set meanwhile."""


class Connection:
    """See the module. `ended` is set when both sockets are closed. `process`: the session's number for its client."""

    def __init__(  # what a session is made of
        self, house: House, login: Login, client: Endpoint, database: BackendConnection, process: int
    ) -> None:
        self._house = house
        self.login = login
        self._client = client
        self._database = database
        limits = house.config.limits
        self._catalog = house.catalogs.keeper(login.database)
        understanding = Understanding(
            self._catalog,
            house.cache,
            house.isolation,
            limits.statement_bytes,
            login.replication,
        )
        self._approval = Approval(house, login, understanding, database, self._tell)
        self._judge = SessionJudge(self._approval, self._resolve)
        self.session = Session(
            self._judge,
            limit=max(limits.statement_bytes, 1 << 26),
            parameters=database.parameters,
            walsender=login.replication is not Replication.NONE,
            processes=(database.key.process, process),
        )
        self._statements = 0
        self._since = time.monotonic()
        self._ticket_watch: asyncio.TimerHandle | None = None
        self._drain_watch: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None
        """The session's next one."""
        self._left: Callable[[], object] | None = None
        """What is to be done about the client's having left, when the session has taken all that it sent."""
        self._trace = session_trace(login.session)
        self._client_takes = True
        self._database_takes = True
        self._throttled = False
        """One of them is not read."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.ended = asyncio.Event()

    def start(self) -> None:
        """Take over both sockets."""
        self._catalog.enter()
        self._look_at_ticket()
        self._database.endpoint.hand_over(_DatabaseSide(self))
        self._client.hand_over(_ClientSide(self))

    # bytes

    def from_client(self, data: bytes) -> None:
        if self._trace is not None:
            self._trace.from_client(data)
        self.session.client_data(data)
        self._pump()

    def from_database(self, data: bytes) -> None:
        self.session.server_data(data)
        self._pump()
        self._approval.answered(self.session.answered)

    def _tell(self, notice: str) -> None:
        self.session.notice(notice)
        self._pump()

    def _resolve(self, number: int, verdict: Verdict) -> None:
        self.session.resolve(number, verdict)
        self._pump()

    def _pump(self) -> None:
        session = self.session
        output = session.take_client()
        if output:
            if self._trace is not None:
                self._trace.to_client(output)
            self._client.write_all(output)
        output = session.take_server()
        if output:
            self._database.endpoint.write_all(output)
        events = session.take_events()
        if events:
            self._heed(events)
        if session.unfinished:
            self._plan_turn()
        elif self._left is not None:
            left, self._left = self._left, None
            left()
        if self._throttled or session.backlog:
            self._throttle()

    def _heed(self, events: Sequence[Event]) -> None:
        outcomes: list[Outcome] = []
        others: list[CancelWanted | WaitsInVain | ParameterChanged | Ended] = []
        for event in events:
            outcomes.append(event) if isinstance(event, Outcome) else others.append(event)
        if outcomes:
            self._record_outcomes(outcomes)
        for event in others:
            match event:
                case CancelWanted():
                    self._spawn(self._cancel_backend())
                case WaitsInVain():
                    self._give_up(_SKIPPED)
                case ParameterChanged():
                    self._database.parameters[event.name] = event.value
                case Ended():
                    self._close()

    def _plan_turn(self) -> None:
        """The session's next turn comes when the others have had theirs."""
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._turn = None
        self.session.go_on()
        self._pump()

    def _throttle(self) -> None:
        """Read each side only while nothing speaks against it.

        A client that hangs up while it is not read is noticed, unless its messages only wait for their turns. The
        database is not watched for that: what it has sent before its end is still the client's.
        """
        reads_client = self._database_takes and self.session.backlog <= _BACKLOG
        if reads_client:
            self._client.resume()
        else:
            self._client.pause(watch=not self.session.unfinished)
        if self._client_takes:
            self._database.endpoint.resume()
        else:
            self._database.endpoint.pause(watch=False)
        self._throttled = not (reads_client and self._client_takes)

    def client_writable(self, *, now: bool) -> None:
        self._client_takes = now
        self._throttle()

    def database_writable(self, *, now: bool) -> None:
        self._database_takes = now
        self._throttle()

    # outcomes

    def _record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        records, changed = [], False
        for outcome in outcomes:
            running = self._approval.running.of(outcome.number)
            if running is not None:
                records.append(self._record_of(outcome, running))
                changed = changed or running.changes_catalog
        if not records:
            return
        self._statements += len(records)
        try:
            self._house.audit.follow_up(records)
        except AuditUnavailable as error:
            _log.error("%d outcomes were not recorded: %s", len(records), error)  # told in full
        if changed:
            self._spawn(self._refresh_catalog())

    def _record_of(self, outcome: Outcome, running: Running) -> StatementEnded:
        return StatementEnded(
            at=timestamp(),
            id=running.audit_id,
            session=self.login.session,
            index=outcome.index,
            tag=outcome.tag,
            rows=outcome.rows,
            copied=outcome.copied,
            sqlstate=outcome.sqlstate,
            seconds=round(time.monotonic() - running.since, 6),
        )

    async def _refresh_catalog(self) -> None:
        try:
            await self._catalog.refresh()
        except Exception as error:  # noqa: BLE001  # the next statement that needs it tries again
            _log.warning("could not refresh the catalog after DDL: %s", error)

    # cancel and end

    async def cancel(self) -> None:
        """The client has asked to cancel what it waits for."""
        if self.session.waiting is not None:
            self._give_up(_CANCELED)
        elif self.session.running:
            await self._cancel_backend()

    def _give_up(self, refusal: Refusal) -> None:
        """What waits for its judgement gets none."""
        waiting = self.session.waiting
        if waiting is not None:
            self._judge.abandon()
            self._resolve(waiting.number, Refuse(refusal, self._approval.audit_id(waiting)))

    async def _cancel_backend(self) -> None:
        """# INVARIANT: no further statement is released until the cancel has been delivered: it would hit that one."""
        self.session.hold_input()
        await self._house.databases.cancel(self._database)
        self.session.cancelled()
        self._pump()

    def _look_at_ticket(self) -> None:
        """End the session when its ticket does, also while nothing is asked of it."""
        barred = self._approval.barred()
        if barred is not None:
            self.end(barred)
            return
        left = self.login.ticket.ends_at + self._house.config.kerberos.grace - time.time()
        pause = min(max(left, _SHORTEST_LOOK), _LONGEST_LOOK)
        self._ticket_watch = asyncio.get_running_loop().call_later(pause, self._look_at_ticket)

    def rules_changed(self) -> None:
        """Other rules are in force: a stream that they do not allow ends. Other statements run to their end."""
        if self.session.streaming and self._approval.lost(self.session.runs):
            self._spawn(self._cancel_backend())

    def membership_changed(self) -> None:
        """The user has lost or won groups, or the account: what is configured happens to what runs.

        A replication stream has no next statement that could be refused: it ends in any case.
        """
        barred = self._approval.barred()
        on_revoke = self._house.config.directory.on_revoke
        ends = on_revoke != "refuse" or self.session.streaming
        lost = ends and self.session.running and self._approval.lost(self.session.runs)
        if barred is None and not lost:
            return
        self._cancel_what_runs()
        if barred is not None:
            self.end(barred)
        elif on_revoke == "terminate":
            who = self.login.user
            self.end(Refusal(SqlState.ADMIN_SHUTDOWN, f'"{who}" has lost the right to the statement that was running'))

    def end(self, refusal: Refusal) -> None:
        """End the session with a FATAL error, after the statement that runs."""
        self.session.end(refusal)
        self._pump()

    def end_at_rest(self, refusal: Refusal) -> None:
        """End the session outside a transaction; one that has just come in gets to say what it came for."""
        left = self._since + _JUST_IN_SECONDS - time.monotonic()
        if left > 0:
            self._drain_watch = asyncio.get_running_loop().call_later(left, self.end_at_rest, refusal)
            return
        self.session.end_at_rest(refusal)
        self._pump()

    def terminate(self, refusal: Refusal) -> None:
        """End the session now: what runs is cancelled."""
        self._cancel_what_runs()
        self.end(refusal)

    def _cancel_what_runs(self) -> None:
        if self.session.running and not self.session.only_prepares:
            self._spawn(self._cancel_backend())

    @property
    def statements(self) -> int:
        """How many have ended."""
        return self._statements

    @property
    def doing(self) -> str:
        """What the session does, in pg_stat_activity's words, and `waiting` for one that is held or looked into."""
        if self.session.waiting is not None:
            return "waiting"
        if self.session.running:
            return "active"
        return _IDLE[self.session.status]

    def client_hung_up(self) -> bool:
        """A client that sends no more has vanished, unless it has said goodbye and waits for its last answers."""
        if self.session.unfinished:
            self._left = self.client_hung_up
            return True
        if self.session.leaving:
            return True
        self.client_lost()
        self._client.abort()
        return False

    def client_lost(self) -> None:
        """A client that has vanished leaves nothing running behind; one that has said goodbye lets it end."""
        if self.ended.is_set():
            return
        if self.session.unfinished:
            self._left = self.client_lost
            return
        if self.session.leaving:
            self.client_writable(now=True)  # nobody reads any more: what still comes is thrown away
            return
        if self.session.running:
            self._spawn(self._put_down())
        self._database.endpoint.write(frontend.terminate())
        self._close()

    async def _put_down(self) -> None:
        """Cancel what the database has in hand, more than once: a cancel that falls between two statements is lost.

        Behind its end the key opens nothing, and does no harm.
        """
        for pause in _PUT_DOWN_SECONDS:
            await asyncio.sleep(pause)
            await self._house.databases.cancel(self._database)

    def database_lost(self) -> None:
        self._close()

    def _close(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        for planned in (self._ticket_watch, self._drain_watch, self._turn):
            if planned is not None:
                planned.cancel()
        self.session.finish()
        self._judge.abandon()
        self._approval.close()
        self._catalog.leave()
        self._client.close()
        self._database.endpoint.close()
        try:
            self._house.audit.follow_up([SessionEnded(timestamp(), self.login.session, self._statements)])
        except AuditUnavailable as error:
            _log.error("a session's end was not recorded: %s", error)  # told in full

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _ClientSide:
    def __init__(self, connection: Connection) -> None:
        self.received = connection.from_client
        self.hung_up = connection.client_hung_up
        self.lost = connection.client_lost
        self.writable = connection.client_writable


class _DatabaseSide:
    def __init__(self, connection: Connection) -> None:
        self.received = connection.from_database
        self.lost = connection.database_lost
        self.writable = connection.database_writable

    @staticmethod
    def hung_up() -> bool:
        return False
