"""Orders between two processes of one pgguard, over a socket pair: told, or asked and answered.

A frame is a length, what it is, a number that joins an answer to its question, and MessagePack. Frames arrive in the
order in which they were sent, and each is begun to be handled before the next.
"""

import asyncio
import itertools
import logging
import struct
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import TypeVar, cast

import msgspec

from pgguard.runtime.orders import Order

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_HEAD = struct.Struct("!IBI")


class _Frame(IntEnum):
    TOLD = 0
    ASKED = 1
    ANSWER = 2
    FAILURE = 3


class ChannelError(Exception):
    """The other process could not answer, did not, or is gone; the message says which."""


class ChannelSilent(ChannelError):  # noqa: N818  # it says what is the case
    """The other process did not answer in time."""


class Channel(asyncio.Protocol):
    """`handle` carries out the other's orders and returns the answers; `closed` is called when the other is gone."""

    def __init__(self, handle: Callable[[Order], Awaitable[object]], closed: Callable[[], None]) -> None:
        self._handle = handle
        self._when_closed = closed
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._numbers = itertools.count(1)
        self._questions: dict[int, asyncio.Future[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._encoder = msgspec.msgpack.Encoder()
        self._orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)

    def tell(self, order: Order) -> None:
        """Nothing is answered; nobody hears it where the other is gone."""
        self._send(_Frame.TOLD, 0, order)

    async def ask(self, order: Order, kind: type[_T], seconds: float) -> _T:
        """The answer. Raises ChannelError."""
        if self._transport is None:
            raise ChannelError("the other process is gone")
        number = next(self._numbers)
        question = self._questions[number] = asyncio.get_running_loop().create_future()
        self._send(_Frame.ASKED, number, order)
        try:
            async with asyncio.timeout(seconds):
                answer = await question
        except TimeoutError as error:
            raise ChannelSilent(f"the other process did not answer within {seconds:g} s") from error
        finally:
            del self._questions[number]
        return msgspec.msgpack.decode(answer, type=kind)

    def _send(self, frame: _Frame, number: int, content: object) -> None:
        if self._transport is not None:
            body = self._encoder.encode(content)
            self._transport.write(_HEAD.pack(len(body), frame, number) + body)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        for question in self._questions.values():
            if not question.done():
                question.set_exception(ChannelError("the other process is gone"))
        self._when_closed()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= _HEAD.size:
            length, frame, number = _HEAD.unpack_from(self._received)
            if len(self._received) < _HEAD.size + length:
                return
            body = bytes(self._received[_HEAD.size : _HEAD.size + length])
            del self._received[: _HEAD.size + length]
            self._take(_Frame(frame), number, body)

    def _take(self, frame: _Frame, number: int, body: bytes) -> None:
        if frame in {_Frame.TOLD, _Frame.ASKED}:
            task = asyncio.create_task(self._carry_out(self._orders.decode(body), number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        question = self._questions.get(number)
        if question is None or question.done():
            return  # whoever asked waits no more
        if frame is _Frame.ANSWER:
            question.set_result(body)
        else:
            question.set_exception(ChannelError(msgspec.msgpack.decode(body, type=str)))

    async def _carry_out(self, order: Order, number: int) -> None:
        """`number`: of the question; 0 where nobody waits for an answer."""
        try:
            answer = await self._handle(order)
            if number:
                self._send(_Frame.ANSWER, number, answer)
        except Exception as error:  # noqa: BLE001  # the other process learns of it, and orders go on
            _log.exception("order %s failed", type(order).__name__)
            if number:
                self._send(_Frame.FAILURE, number, f"{type(error).__name__}: {error}")
