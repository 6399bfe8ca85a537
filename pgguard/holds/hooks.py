"""Telling others what happens to held statements: chat, pagers, tickets. Hooks only inform; nothing waits for them.

Theory of operation. Each hook has a queue and one task of its own, which delivers events in their order, each several
times with growing pauses until it is taken. A queue that is full takes no more: what is lost is counted and logged,
and no statement, vote or other hook is held up by it. What an event tells is fixed when it happens, so that each try
delivers the same bytes under the same id.
"""

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from pgguard.holds.hold import shown, wanted
from pgguard.holds.hook_ways import HookFailed, post, run
from pgguard.holds.settings import HookSettings
from pgguard.holds.store import Record

_log = logging.getLogger(__name__)

_WAITING = 1000
"""Events that may wait for one hook."""

_PAUSES = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
"""Seconds between the tries; after the last one the event is given up."""

_GOODBYE_SECONDS = 3.0


class HookEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a hook is told. `id` is the same at each try. `by` and `why`: of those who decide."""

    id: str
    at: str
    event: str
    hold: int
    node: str
    user: str
    principal: str
    database: str
    rules: tuple[str, ...]
    needs: tuple[str, ...]
    audit_id: str
    session: str
    seconds: float
    in_transaction: bool
    address: str | None = None
    reason: str = ""
    approved_by: tuple[str, ...] = ()
    by: str = ""
    why: str = ""
    statement: str = ""


class _Hook:
    """One of them. `deliver` raises HookFailed."""

    def __init__(self, settings: HookSettings, deliver: Callable[[bytes], Awaitable[None]]) -> None:
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self._deliver = deliver
        self._queue: asyncio.Queue[HookEvent] = asyncio.Queue(_WAITING)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._work())

    def tell(self, event: HookEvent) -> None:
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._lost(event, f"{_WAITING} others wait")

    async def stop(self) -> None:
        """Deliver what is left, for a moment."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), _GOODBYE_SECONDS)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        while True:
            event = await self._queue.get()
            await self._deliver_with_patience(event)
            self._queue.task_done()

    async def _deliver_with_patience(self, event: HookEvent) -> None:
        body = msgspec.json.encode(event)
        for pause in (*_PAUSES, None):
            try:
                await self._deliver(body)
            except HookFailed as error:
                if pause is None:
                    self._lost(event, str(error))
                    return
                _log.info("hook %s: %s; it is tried again", self.settings.label, error)
                await asyncio.sleep(pause)
            else:
                self.counts["delivered"] += 1
                return

    def _lost(self, event: HookEvent, why: str) -> None:
        self.counts["lost"] += 1
        _log.warning('hook %s was not told "%s" of hold #%d: %s', self.settings.label, event.event, event.hold, why)


class Hooks:
    """All that are configured, each with its secret where it has one."""

    def __init__(self, hooks: Sequence[tuple[HookSettings, bytes]]) -> None:
        self._hooks = [_Hook(settings, _way(settings, secret)) for settings, secret in hooks]

    def start(self) -> None:
        for hook in self._hooks:
            hook.start()

    def tell(self, at: str, record: Record, event: str, by: str, why: str) -> None:
        """Something has happened to a hold; returns at once."""
        told = None
        for hook in self._hooks:
            if not hook.settings.events or event in hook.settings.events:
                told = told or _event(at, record, event, by, why)
                text = shown(record.hold.text) if hook.settings.text else ""
                hook.tell(msgspec.structs.replace(told, statement=text))

    def counts(self) -> Counter[tuple[str, str]]:
        """Events by hook and outcome; hooks of one label are counted as one."""
        counts: Counter[tuple[str, str]] = Counter()
        for hook in self._hooks:
            for outcome in ("delivered", "lost"):
                counts[hook.settings.label, outcome] += hook.counts[outcome]
        return counts

    async def stop(self) -> None:
        await asyncio.gather(*(hook.stop() for hook in self._hooks))


def _way(settings: HookSettings, secret: bytes) -> Callable[[bytes], Awaitable[None]]:
    if settings.url:
        return lambda body: post(settings.url, secret, body, settings.seconds)
    return lambda body: run(settings.command, body, settings.seconds)


def _event(at: str, record: Record, event: str, by: str, why: str) -> HookEvent:
    hold = record.hold
    return HookEvent(
        id=secrets.token_hex(16),
        at=at,
        event=event,
        hold=record.number,
        node=record.node,
        user=hold.requester.user,
        principal=hold.requester.principal,
        database=hold.database,
        rules=tuple(one.rule for one in hold.requirements),
        needs=tuple(wanted(one) for one in hold.requirements),
        audit_id=hold.audit_id,
        session=hold.session,
        seconds=hold.seconds,
        in_transaction=hold.in_transaction,
        address=hold.address,
        reason=shown(hold.reason),
        approved_by=tuple(vote.person.principal for vote in record.votes),
        by=by,
        why=shown(why),
    )
