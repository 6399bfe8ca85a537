"""What the workers of one supervisor share: the ledger of sessions, orders to one another, and what is counted."""

import asyncio
import logging
from collections.abc import Iterable
from typing import TypeVar, assert_never

from pgguard.runtime.channel import ChannelError, ChannelSilent
from pgguard.runtime.config import LimitSettings
from pgguard.runtime.ledger import Ledger, Place
from pgguard.runtime.member import Member
from pgguard.runtime.metrics import counter, gauge
from pgguard.runtime.orders import (
    Cancel,
    Closed,
    Draining,
    Enter,
    Farewell,
    HoldChanged,
    Leave,
    Order,
    Ready,
    Reload,
    Report,
    SessionLine,
    Sessions,
    Tell,
    Terminate,
)
from pgguard.runtime.totals import lasting, together

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_PATIENCE = 5.0
"""Seconds that a worker's answer may take."""

_GLANCE = 2.0
"""The same for a page that must not wait for one that is stuck: what it has told last is taken then."""


class Switchboard:
    def __init__(self, limits: LimitSettings) -> None:
        self.ledger = Ledger(limits)
        self.members: dict[int, Member] = {}
        """By number; those that start and those that drain among them."""
        self.restarts = 0
        """Workers that died and were replaced."""
        self._departed = Report()
        """What those that have ended have counted."""

    def serving(self) -> list[Member]:
        return [member for member in self.members.values() if member.serves]

    def leave(self, member: Member) -> None:
        """A worker has ended, and its sessions with it."""
        del self.members[member.number]
        for place in member.places.elements():
            self.ledger.leave(place)
        self._departed = together([self._departed, lasting(member.report)])

    async def carry_out(self, member: Member, order: Order) -> object:
        """What a worker has said; the answer, where it has asked."""
        match order:
            case Ready():
                member.ready.set()
            case Draining():
                member.draining = True
            case Farewell():
                member.report = order.report
            case Closed():
                member.connections -= 1
            case Leave():
                member.places[order.place] -= 1
                self.ledger.leave(order.place)
            case HoldChanged() | Cancel():
                for other in self._others(member):
                    other.channel.tell(order)
            case Enter() | Sessions() | Terminate() | Tell() | Reload():
                return await self._answer(member, order)
            case _:
                assert_never(order)
        return None

    async def _answer(self, member: Member, order: Enter | Sessions | Terminate | Tell | Reload) -> object:
        match order:
            case Enter():
                return self._enter(member, order.place)
            case Sessions():
                return [line for answer in await self.ask(order, list[SessionLine], member) for line in answer]
            case Terminate():
                return any(await self.ask(order, bool, member))
            case Tell():
                return await self.total()
            case Reload():
                return next(filter(None, await self.ask(order, str, member)), "")

    def _enter(self, member: Member, place: Place) -> str:
        refused = self.ledger.enter(place)
        if not refused:
            member.places[place] += 1
        return refused

    def _others(self, member: Member | None) -> Iterable[Member]:
        return [one for one in self.members.values() if one is not member and one.ready.is_set()]

    async def ask(self, order: Order, kind: type[_T], but: Member | None = None) -> list[_T]:
        """The answers of all workers but one. One that gives none is told of in the log, and left out."""

        async def ask(member: Member) -> list[_T]:
            try:
                return [await member.channel.ask(order, kind, _PATIENCE)]
            except ChannelError as error:
                _log.warning("worker %d: %s", member.number, error)
                return []

        return [one for answer in await asyncio.gather(*map(ask, self._others(but))) for one in answer]

    # what is counted

    async def total(self) -> Report:
        """What all have counted, by what each says now."""
        await asyncio.gather(*(self.look(member, _GLANCE) for member in self._others(None)))
        own = Report(
            (
                gauge("workers", "Workers that take connections.", len(self.serving())),
                counter("worker_restarts_total", "Workers that died and were replaced.", self.restarts),
            )
        )
        return together([*(one.report for one in self.members.values()), self._departed, own])

    async def look(self, member: Member, seconds: float) -> bool:
        """Have a worker say what it has counted; False where it does not answer."""
        try:
            member.report = await member.channel.ask(Tell(), Report, seconds)
        except ChannelError as error:
            _log.warning("worker %d: %s", member.number, error)
            return not isinstance(error, ChannelSilent)
        return True

    def troubles(self) -> tuple[str, ...]:
        """What keeps sessions that come now from working, as the workers told last."""
        return together(member.report for member in self.serving()).troubles
