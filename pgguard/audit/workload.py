"""An audit as a workload: what its sessions ran, when, and what of it cannot be run again.

Only what was allowed is run. A Parse runs nothing, and an Execute that has a record of its own goes on with what its
Bind began: statements are taken from queries and Binds.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from pgguard.audit.records import DecisionMade, Record, StatementEnded
from pgguard.model.control import CopyIn
from pgguard.model.decision import Effect, Redaction


class Step(msgspec.Struct, frozen=True):
    """One statement. `at`: seconds since the workload began. `binary`: which of the values were bound in binary, and
    are written in hexadecimal. `sqlstate`: how it failed then, None where it did not.
    """

    at: float
    id: str
    text: str
    values: tuple[str | None, ...] = ()
    binary: tuple[int, ...] = ()
    sqlstate: str | None = None


class Workload(msgspec.Struct):
    """`left_out`: how many statements cannot or shall not be run, by reason."""

    sessions: dict[str, list[Step]]
    left_out: Counter[str]

    @property
    def statements(self) -> int:
        return sum(len(steps) for steps in self.sessions.values())

    @property
    def at_once(self) -> int:
        """How many sessions ran side by side, at most."""
        moments = [(steps[0].at, 0, 1) for steps in self.sessions.values()]
        moments += [(steps[-1].at, 1, -1) for steps in self.sessions.values()]
        running = most = 0
        for _, _, change in sorted(moments):
            running += change
            most = max(most, running)
        return most


def workload_of(records: Iterable[Record], *, read_only: bool) -> Workload:
    """`read_only`: only statements that plainly change nothing."""
    made: list[DecisionMade] = []
    failed: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for record in records:
        if isinstance(record, StatementEnded) and record.sqlstate is not None:
            failed[record.id] = record.sqlstate
        if not isinstance(record, DecisionMade) or record.moment not in {"query", "bind", "function_call"}:
            continue
        reason = _left_out(record, read_only=read_only)
        if reason is None:
            made.append(record)
        else:
            left_out[reason] += 1
    began = min((record.context.at for record in made), default=0.0)
    sessions: dict[str, list[Step]] = {}
    for record in made:
        step = Step(
            record.context.at - began, record.id, record.text, record.values, record.binary, failed.get(record.id)
        )
        sessions.setdefault(record.session, []).append(step)
    return Workload(sessions, left_out)


def _left_out(record: DecisionMade, *, read_only: bool) -> str | None:
    """Why a statement is not run again."""
    if record.effect is not Effect.ALLOW:
        return "denied, or held"
    if record.moment == "function_call":
        return "function calls of the old protocol"
    if any(isinstance(facts.control, CopyIn) for facts in record.facts):
        return "COPY FROM STDIN: its data is not in the log"
    if record.redact in {Redaction.HASH, Redaction.DROP}:
        return "redacted: its constants and values are not in the log"
    if read_only and not all(facts.reads_only for facts in record.facts):
        return "changes something, or may"
    return None
