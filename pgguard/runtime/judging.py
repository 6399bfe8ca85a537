"""How a judgement that needs several steps is written: as a generator; and what drives it.

Theory of operation. `Approval.approve` (approval.py) is a generator: it reads from top to bottom like a decision that
needs nobody, yields an `Ask` where the session's database must answer first, and a `Wait` where something else must
happen (a catalog refresh, a person's approval); it returns `Allow` or `Refuse`. A statement that is known, and was
decided in the same circumstances, takes no generator: `Approval.at_once` is asked first. Only one request of a session
waits at a time: what follows waits behind it.

# INVARIANT: whatever goes wrong in a judgement ends in a Refuse (design, section 2: it fails closed).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Protocol

import msgspec

from pgguard.session.judgement import (
    Allow,
    Answer,
    Ask,
    Later,
    Names,
    Precedent,
    Refuse,
    Repeated,
    Request,
    Verdict,
)

_log = logging.getLogger(__name__)


class Wait(msgspec.Struct, frozen=True):
    """The judgement goes on with the result of this, or with its exception."""

    until: Awaitable[Any]


Flow = Generator[Ask | Wait, Any, Allow | Refuse]


class Approver(Protocol):
    def at_once(self, request: Request) -> Allow | Refuse | None:
        """The verdict on what is known, in circumstances that are known; None where `approve` must find it."""
        ...

    def approve(self, request: Request, names: Names) -> Flow: ...

    def precedent(self, number: int) -> Precedent | None: ...

    def follows(self, precedents: tuple[Precedent, ...], repeated: Repeated) -> bool: ...

    def may_show(self, number: int, error: Mapping[str, str]) -> bool: ...

    def may_hear(self, channel: str) -> bool: ...

    def failed(self, request: Request, error: Exception) -> Refuse:
        """The refusal of a statement whose judgement raised."""
        ...


class SessionJudge:
    """Drives the flows of one session: the `Judge` that the session calls."""

    def __init__(self, approver: Approver, resolve: Callable[[int, Verdict], None]) -> None:
        self._approver = approver
        self._resolve = resolve
        self._flow: Flow | None = None
        self._waiting: asyncio.Future[Any] | None = None

    def judge(self, request: Request, names: Names) -> Verdict:
        try:
            verdict = self._approver.at_once(request)
        except Exception as error:  # noqa: BLE001  # INVARIANT: whatever was raised, the statement is refused
            return self._failed(request, error)
        if verdict is not None:
            return verdict
        self._flow = self._approver.approve(request, names)
        return self._advance(request, None)

    def answered(self, request: Request, names: Names, answers: tuple[Answer, ...]) -> Verdict:
        del names  # the flow holds them
        return self._advance(request, answers)

    def precedent(self, number: int) -> Precedent | None:
        return self._approver.precedent(number)

    def follows(self, precedents: tuple[Precedent, ...], repeated: Repeated) -> bool:
        return self._approver.follows(precedents, repeated)

    def may_show(self, number: int, error: Mapping[str, str]) -> bool:
        return self._approver.may_show(number, error)

    def may_hear(self, channel: str) -> bool:
        return self._approver.may_hear(channel)

    def abandon(self) -> None:
        """The session is over: end what its waiting judgement waits for."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._flow is not None:
            self._flow.close()
            self._flow = None

    def _advance(self, request: Request, value: object) -> Verdict:
        return self._step(request, lambda flow: flow.send(value))

    def _step(self, request: Request, go: Callable[[Flow], Ask | Wait]) -> Verdict:
        assert self._flow is not None, "a step of a judgement that has ended"
        try:
            step = go(self._flow)
        except StopIteration as end:
            self._flow = None
            verdict: Allow | Refuse = end.value
            return verdict
        except Exception as error:  # noqa: BLE001  # INVARIANT: whatever was raised, the statement is refused
            self._flow = None
            return self._failed(request, error)
        if isinstance(step, Ask):
            return step
        self._waiting = asyncio.ensure_future(step.until)
        self._waiting.add_done_callback(lambda done: self._continue(request, done))
        return Later()

    def _failed(self, request: Request, error: Exception) -> Refuse:
        _log.error("judgement of statement %d failed; it is refused", request.number, exc_info=error)
        return self._approver.failed(request, error)

    def _continue(self, request: Request, done: asyncio.Future[Any]) -> None:
        if done is not self._waiting:
            return  # it was given up in the moment in which it ended: what is judged now waits for something else
        self._waiting = None
        if done.cancelled() or self._flow is None:
            return
        error = done.exception()
        if error is None:
            verdict = self._advance(request, done.result())
        else:
            verdict = self._step(request, lambda flow: flow.throw(error))
        if not isinstance(verdict, Later):
            self._resolve(request.number, verdict)
