"""Judges for sessions whose tests are about something else than judgement."""

from collections.abc import Mapping

from pgguard.session.judgement import Allow, Answer, Names, Precedent, Repeated, Request, Verdict


class AllowAll:
    """Allows everything, of results `max_rows` rows, and asks nothing. Others judge differently, and share the rest."""

    def __init__(self, max_rows: int | None = None) -> None:
        self._max_rows = max_rows

    def judge(self, request: Request, names: Names) -> Verdict:
        del request, names
        return Allow((None,), self._max_rows)

    def answered(self, request: Request, names: Names, answers: tuple[Answer, ...]) -> Verdict:
        del request, names, answers
        raise AssertionError("nothing was asked")

    def precedent(self, number: int) -> Precedent | None:
        del number
        return None

    def follows(self, precedents: tuple[Precedent, ...], repeated: Repeated) -> bool:
        del precedents, repeated
        raise AssertionError("there is no precedent")

    def may_show(self, number: int, error: Mapping[str, str]) -> bool:
        del number, error
        return True

    def may_hear(self, channel: str) -> bool:
        del channel
        return True
