"""Names longer than PostgreSQL keeps them: it tells them apart by 63 bytes, and so must whoever judges what they mean."""

import pytest
from judges import AllowAll
from raw import Direct, Through
from test_goodbye import ready

from pgguard.lab.postgres import Postgres
from pgguard.session.judgement import Moment, Names, Request, Verdict
from pgguard.wire import backend, frontend
from pgguard.wire.constants import Backend

FIRST, SECOND = b"n" * 63 + b"1", b"n" * 63 + b"2"


class Noting(AllowAll):
    """Allows all, and notes the text that each Execute was judged by."""

    def __init__(self) -> None:
        super().__init__()
        self.judged: list[bytes] = []

    def judge(self, request: Request, names: Names) -> Verdict:
        if request.moment is Moment.EXECUTE:
            self.judged.append(request.text)
        return super().judge(request, names)


STATEMENTS = {
    "closed under another name": (
        frontend.parse(FIRST, b"select 1")
        + frontend.close_statement(SECOND)
        + frontend.parse(SECOND, b"select 2")
        + frontend.bind(b"", FIRST)
        + frontend.execute(b"")
    ),
    "bound under another name": frontend.parse(FIRST, b"select 3") + frontend.bind(b"", SECOND) + frontend.execute(b""),
    "a portal": (
        frontend.parse(b"a", b"select 4")
        + frontend.parse(b"b", b"select 5")
        + frontend.bind(FIRST, b"a")
        + frontend.close_portal(SECOND)
        + frontend.bind(SECOND, b"b")
        + frontend.execute(FIRST)
    ),
}


@pytest.mark.parametrize("way", STATEMENTS)
def test_what_runs_is_what_was_judged(way: str, postgres: Postgres):
    """Under names that differ beyond the 63rd byte, one statement could be judged and another one run."""
    script, judge = STATEMENTS[way] + frontend.sync(), Noting()
    direct, through = Direct(postgres.port, "postgres"), Through(postgres.port, "postgres", judge)
    direct.send(script)
    through.send(script)
    (real,) = [backend.read_data_row(m.raw) for m in direct.until(ready) if m.type == Backend.DATA_ROW]
    (seen,) = [backend.read_data_row(m.raw) for m in through.until(ready) if m.type == Backend.DATA_ROW]
    assert seen == real
    assert judge.judged == [b"select " + real[0]]
    direct.close()
    through.close()
