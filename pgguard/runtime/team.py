"""A worker's side: its colleagues, reached through the supervisor, and its life.

Theory of operation. The supervisor starts a worker as `pgguard serve --worker NUMBER:ORDERS:PASSING` with two socket
pairs: one for orders (channel.py), one through which connections are handed in (entrance.py). The first thing on the
former is the configuration, so that all workers have the same, whatever the file says by now. SIGTERM drains a worker;
the end of its supervisor does so too: nobody would count its sessions any more.
"""

import asyncio
import logging
import os
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from typing import assert_never

import msgspec

from pgguard.runtime.channel import Channel, ChannelError
from pgguard.runtime.config import Config, decode_config
from pgguard.runtime.entrance import HandedIn
from pgguard.runtime.ledger import Place
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
from pgguard.runtime.server import Server

_log = logging.getLogger(__name__)

_PATIENCE = 10.0
"""Seconds that an answer of the supervisor's may take."""

_LENGTH = struct.Struct("!I")


class Seat(msgspec.Struct, frozen=True):
    """What a worker is started with. `config`: as the supervisor read it."""

    number: int
    orders: socket.socket
    passing: socket.socket
    config: Config


def take_seat(words: str) -> Seat:
    """The seat that the option `--worker` names. Blocks until the supervisor has sent the configuration."""
    number, orders, passing = map(int, words.split(":"))
    channel = socket.socket(fileno=orders)
    (length,) = _LENGTH.unpack(channel.recv(_LENGTH.size, socket.MSG_WAITALL))
    config = decode_config(channel.recv(length, socket.MSG_WAITALL))
    channel.setblocking(False)
    return Seat(number, channel, socket.socket(fileno=passing), config)


def framed(config: bytes) -> bytes:
    """The configuration as `take_seat` reads it."""
    return _LENGTH.pack(len(config)) + config


class Team:
    """The other workers (colleagues.py)."""

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._heard: Callable[[int], None] | None = None

    @property
    def channel(self) -> Channel:
        assert self._channel is not None, "used before it was connected"
        return self._channel

    @channel.setter
    def channel(self, channel: Channel) -> None:
        self._channel = channel

    async def enter(self, place: Place) -> str:
        asking = asyncio.ensure_future(self.channel.ask(Enter(place), str, _PATIENCE))
        try:
            return await asyncio.shield(asking)
        except ChannelError as error:
            return f"pgguard cannot count its sessions: {error}"
        except asyncio.CancelledError:
            asking.add_done_callback(lambda asked: self._give_back(asked, place))
            raise

    def _give_back(self, asked: "asyncio.Future[str]", place: Place) -> None:
        """The login was given up while the supervisor was asked."""
        if not asked.cancelled() and asked.exception() is None and not asked.result():
            self.leave(place)

    def leave(self, place: Place) -> None:
        self.channel.tell(Leave(place))

    def closed(self) -> None:
        self.channel.tell(Closed())

    def cancel(self, process: int, secret: bytes) -> None:
        self.channel.tell(Cancel(process, secret))

    async def sessions(self) -> Sequence[SessionLine]:
        try:
            return await self.channel.ask(Sessions(), list[SessionLine], _PATIENCE)
        except ChannelError as error:
            _log.warning("the sessions of other workers are not known: %s", error)
            return ()

    async def terminate(self, session: str, owner: str | None, why: str) -> bool:
        try:
            return await self.channel.ask(Terminate(session, owner, why), bool, _PATIENCE)
        except ChannelError as error:
            _log.warning("other workers cannot be asked to end a session: %s", error)
            return False

    async def report(self, own: Report) -> Report:
        try:
            return await self.channel.ask(Tell(), Report, _PATIENCE)
        except ChannelError as error:
            _log.warning("what other workers have counted is not known: %s", error)
            return own

    async def reload(self) -> str:
        try:
            return await self.channel.ask(Reload(), str, _PATIENCE)
        except ChannelError as error:
            return f"other workers cannot be told to reload: {error}"

    def hold_changed(self, number: int) -> None:
        self.channel.tell(HoldChanged(number))

    def hear_of_holds(self, heard: Callable[[int], None]) -> None:
        self._heard = heard

    def hear(self, number: int) -> None:
        """Another worker has changed a hold."""
        if self._heard is not None:
            self._heard(number)


class Worker:
    """One worker's life (lifetime.py)."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._team = Team()
        self._server = Server(seat.config, self._team, HandedIn(seat.passing, self._team.closed))

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._team.channel = Channel(self._carry_out, _drain)
        await loop.create_unix_connection(lambda: self._team.channel, sock=self._seat.orders)
        await self._server.start()
        self._team.channel.tell(Ready())

    async def hang_up(self) -> None:
        await self._server.hang_up()

    async def stop(self, hurry: asyncio.Event) -> None:
        self._team.channel.tell(Draining())
        await self._server.stop(hurry)
        self._team.channel.tell(Farewell(self._server.report()))

    async def _carry_out(self, order: Order) -> object:
        server = self._server
        match order:
            case Cancel():
                return await server.cancel(order.process, order.secret)
            case Sessions():
                return server.session_lines()
            case Terminate():
                return server.terminate_own(order.session, order.owner, order.why)
            case Tell():
                return server.report()
            case Reload():
                await server.hang_up()
                return server.reload_trouble
            case HoldChanged():
                self._team.hear(order.number)
                return None
            case Ready() | Draining() | Farewell() | Closed() | Enter() | Leave():
                raise ValueError(f"{type(order).__name__} is not for a worker")
            case _:
                assert_never(order)


def _drain() -> None:
    """The supervisor is gone."""
    os.kill(os.getpid(), signal.SIGTERM)
