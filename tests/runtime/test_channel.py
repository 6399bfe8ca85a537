"""Orders between two processes, over a real socket pair."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from pgguard.runtime.channel import Channel, ChannelError
from pgguard.runtime.ledger import Place
from pgguard.runtime.orders import Closed, Enter, HoldChanged, Order


class End:
    """One end, with what it was ordered."""

    hang_up: Callable[[], None]

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.closed = asyncio.Event()
        self.never = asyncio.Event()
        self.channel = Channel(self._carry_out, self.closed.set)

    async def _carry_out(self, order: Order) -> object:
        self.orders.append(order)
        match order:
            case Enter(Place("nobody", _)):
                raise LookupError("who is that?")
            case Enter(Place("sleeper", _)):
                await self.never.wait()
            case Enter(Place("mute", _)):
                return object()
        return f"answer {len(self.orders)}"


@pytest.fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    here, there = End(), End()
    transports = []
    for end, own in zip((here, there), socket.socketpair(), strict=True):
        own.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda end=end: end.channel, sock=own)
        transports.append(transport)
    there.hang_up = transports[1].abort
    yield here, there
    for transport in transports:
        transport.abort()
    await asyncio.gather(here.closed.wait(), there.closed.wait())


async def test_orders_arrive_in_order_and_answers_find_their_questions(ends: tuple[End, End]):
    here, there = ends
    here.channel.tell(Closed())
    big = Enter(Place("x" * 100_000, None))
    assert await asyncio.gather(*(here.channel.ask(big, str, 10) for _ in range(50))) == [
        f"answer {number}" for number in range(2, 52)
    ]
    assert there.orders == [Closed(), *[big] * 50]
    assert await there.channel.ask(HoldChanged(7), str, 10) == "answer 1"


async def test_a_failure_is_told_to_whoever_asked(ends: tuple[End, End], caplog: pytest.LogCaptureFixture):
    with pytest.raises(ChannelError, match=r"LookupError: who is that\?"):
        await ends[0].channel.ask(Enter(Place("nobody", None)), str, 10)
    assert "order Enter failed" in caplog.text
    with pytest.raises(ChannelError, match="Encoding objects of type object is unsupported"):
        await ends[0].channel.ask(Enter(Place("mute", None)), str, 10)
    assert await ends[0].channel.ask(HoldChanged(7), str, 10) == "answer 3"


async def test_nobody_waits_for_ever(ends: tuple[End, End]):
    here, there = ends
    with pytest.raises(ChannelError, match=r"within 0.05 s"):
        await here.channel.ask(Enter(Place("sleeper", None)), str, 0.05)
    asking = asyncio.create_task(here.channel.ask(Enter(Place("sleeper", None)), str, 60))
    await there.channel.ask(HoldChanged(1), str, 10)  # by its answer the question before has arrived
    there.hang_up()
    with pytest.raises(ChannelError, match="is gone"):
        await asking
    await asyncio.wait_for(here.closed.wait(), 10)
    with pytest.raises(ChannelError, match="is gone"):
        await here.channel.ask(HoldChanged(1), str, 10)
