"""Judgements that wait: what has been given up tells nothing to what is judged next."""

import asyncio
from collections.abc import Mapping

from pgguard.runtime.judging import Flow, SessionJudge, Wait
from pgguard.session.judgement import (
    Allow,
    Later,
    Moment,
    Names,
    Precedent,
    Refuse,
    Repeated,
    Request,
    TransactionStatus,
    Verdict,
)
from pgguard.session.names import NameMap


def _request(number: int) -> Request:
    return Request(number, Moment.QUERY, b"select 1", TransactionStatus.IDLE, quiet=True, segment=False)


class Waits:
    """Each judgement waits for a future of its own, and has its answer in `heard`."""

    def __init__(self) -> None:
        self.futures: dict[int, asyncio.Future[str]] = {}
        self.heard: dict[int, str] = {}

    def at_once(self, request: Request) -> None:
        return None

    def approve(self, request: Request, names: Names) -> Flow:
        self.futures[request.number] = asyncio.get_running_loop().create_future()
        self.heard[request.number] = yield Wait(self.futures[request.number])
        return Allow()

    def precedent(self, number: int) -> None:
        return None

    def follows(self, precedents: tuple[Precedent, ...], repeated: Repeated) -> bool:
        return False

    def may_show(self, number: int, error: Mapping[str, str]) -> bool:
        return False

    def may_hear(self, channel: str) -> bool:
        return True

    def failed(self, request: Request, error: Exception) -> Refuse:
        raise AssertionError from error


async def test_an_answer_that_comes_as_it_is_given_up_is_not_the_next_ones():
    """A cancel in the very moment in which a wait ended: the next statement went on with the answer of the one before,
    its verdict was lost under the other's number, and the session waited for good."""
    approver, resolved = Waits(), dict[int, Verdict]()
    judge = SessionJudge(approver, resolved.__setitem__)
    assert isinstance(judge.judge(_request(1), NameMap()), Later)
    approver.futures[1].set_result("for the first")
    judge.abandon()
    assert isinstance(judge.judge(_request(2), NameMap()), Later)
    await asyncio.sleep(0)
    assert (approver.heard, resolved) == ({}, {})
    approver.futures[2].set_result("for the second")
    await asyncio.sleep(0)
    assert (approver.heard, resolved) == ({2: "for the second"}, {2: Allow()})
