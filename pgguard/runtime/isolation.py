"""Work that may crash or never end, done in a process of its own.

Theory of operation. Parsing a large hostile statement can overflow the C stack or take seconds; neither may touch the
other sessions (field notes, section 3). The work is done in a forked child, which sees the catalog without copying it,
and answers through a pipe; a crash or a time-out is an exception here, and the statement is refused. The answer is
decoded as typed MessagePack, not unpickled: a child that has been taken over can lie about its one statement only.
"""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

import msgspec

_T = TypeVar("_T")

_AT_ONCE = 2
"""Children at a time: the others wait, so that large statements cannot take every core."""

_MEMORY = 2 << 30
"""Bytes of address space a child may add to what it was forked with."""


_STACK = 256 << 20
_DEPTH = 100_000
"""Python frames; the parser's own limit of some 5,000 levels comes first."""


class IsolatedWorkFailed(Exception):  # noqa: N818  # it says what happened
    """The child crashed, took too long, or answered what is no answer. The message says which."""


class Isolation:
    """Runs functions in children, a few at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def run(self, work: Callable[[], _T], kind: type[_T] | object) -> _T:
        """The result of `work`, which must be of the (msgspec-decodable) type `kind`.

        Raises IsolatedWorkFailed.
        """
        async with self._places:
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reader)
                _work_and_exit(work, writer)
            os.close(writer)
            try:
                answer = await asyncio.wait_for(_read_all(reader), self._seconds)
            except TimeoutError:
                raise IsolatedWorkFailed(f"it took longer than {self._seconds:g} s") from None
            finally:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)  # noqa: ASYNC222  # it has just been killed
        if not answer:
            raise IsolatedWorkFailed("the process that worked on it crashed")
        try:
            return msgspec.msgpack.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise IsolatedWorkFailed(f"the process that worked on it gave no answer: {error}") from error


def _work_and_exit(work: Callable[[], object], writer: int) -> None:
    """The child's whole life. Leaves by _exit: nothing of the parent's may run a second time here."""
    try:
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115, PTH123
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _allow_depth()
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(msgspec.msgpack.encode(work()))
    finally:
        os._exit(0)


def _allow_depth() -> None:
    """Recursion to the end of the stack: here an overflow ends the child alone."""
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = _STACK if hard == resource.RLIM_INFINITY else min(_STACK, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
    sys.setrecursionlimit(_DEPTH)


async def _read_all(reader: int) -> bytes:
    """Everything the child writes until it closes its end."""
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reader, "rb", buffering=0)
    )
    try:
        return await stream.read()
    finally:
        transport.close()
