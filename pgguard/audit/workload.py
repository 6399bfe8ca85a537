"""An audit as a workload: what its sessions ran, when, and what of it cannot be run again.

Only what was allowed is run. A Parse runs nothing, and an Execute that has a record of its own goes on with what its
Bind began: statements are taken from queries and Binds.

Where nothing may be changed, a statement is run only if it plainly reads: a SELECT or SHOW whose accesses read, and
whose functions are among the harmless ones. A read-only transaction is not enough: a function may write to another
server, to a file, or to what no transaction holds, and COPY TO may run a program. What the record says of its
statement is not enough either, since whoever wrote the log may have lied: the text is read again.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import msgspec

from pgguard.audit.records import DecisionMade, Record, StatementEnded
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.control import CopyIn
from pgguard.model.decision import Effect, Redaction
from pgguard.model.facts import Facts
from pgguard.policy.decide import decide
from pgguard.policy.rule_set import RuleSet
from pgguard.sql.plain_reads import calls_of_read
from pgguard.sql.special_functions import SPECIAL_FUNCTIONS

_READING = frozenset(
    {
        (Privilege.SELECT, Kind.TABLE),
        (Privilege.SELECT, Kind.SEQUENCE),
        (Privilege.SHOW, Kind.SETTING),
        (Privilege.USAGE, Kind.SCHEMA),
        (Privilege.USAGE, Kind.TYPE),
    }
)


_BUILT_IN = "pg_catalog"
_SHOWING = frozenset(
    name for name, special in SPECIAL_FUNCTIONS.items() if (special.privilege, special.kind) in _READING
)
"""Functions of PostgreSQL's own that are accesses which read."""


class Step(msgspec.Struct, frozen=True):
    """One statement. `at`: seconds since the workload began. `bound`: it was prepared and bound, else it came as a
    simple Query. `binary`: which of the values were bound in binary, and are written in hexadecimal. `types`: those
    declared for the values, by OID. `sqlstate`: how it failed then, None where it did not.
    """

    at: float
    id: str
    text: str
    bound: bool = False
    values: tuple[str | None, ...] = ()
    binary: tuple[int, ...] = ()
    types: tuple[int, ...] = ()
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


def workload_of(records: Iterable[Record], *, harmless: RuleSet | None) -> Workload:
    """`harmless`: only statements that plainly change nothing, and call only functions that these rules allow."""
    sessions: dict[str, list[Step]] = {}
    failed: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for record in records:
        if isinstance(record, StatementEnded) and record.sqlstate is not None:
            failed[record.id] = record.sqlstate
        if not isinstance(record, DecisionMade) or record.moment not in {"query", "bind", "function_call"}:
            continue
        reason = _left_out(record, harmless)
        if reason is None:
            sessions.setdefault(record.session, []).append(_step(record))
        else:
            left_out[reason] += 1
    began = min((step.at for steps in sessions.values() for step in steps), default=0.0)
    replace = msgspec.structs.replace
    for steps in sessions.values():
        steps[:] = [replace(step, at=step.at - began, sqlstate=failed.get(step.id)) for step in steps]
    return Workload(sessions, left_out)


def _step(record: DecisionMade) -> Step:
    """At the time of the clock, without its outcome. The context's time may be that of an earlier one like it."""
    return Step(
        at=datetime.fromisoformat(record.at).timestamp(),
        id=record.id,
        text=record.text,
        bound=record.moment == "bind",
        values=record.values,
        binary=record.binary,
        types=record.types,
    )


def _left_out(record: DecisionMade, harmless: RuleSet | None) -> str | None:
    """Why a statement is not run again."""
    if record.effect is not Effect.ALLOW:
        return "denied, or held"
    if record.moment == "function_call":
        return "function calls of the old protocol"
    if any(isinstance(facts.control, CopyIn) for facts in record.facts):
        return "COPY FROM STDIN: its data is not in the log"
    if record.hidden or record.redact in {Redaction.HASH, Redaction.DROP}:
        return "redacted: its constants, values or passwords are not in the log"
    return None if harmless is None else _changes(record, harmless)


def _changes(record: DecisionMade, harmless: RuleSet) -> str | None:
    """What a statement changes, or may change."""
    if not record.facts or not all(facts.reads_only for facts in record.facts):
        return "changes something, or may"
    if len(record.facts) > 1:
        return "several statements in one string"
    (facts,) = record.facts
    called = calls_of_read(record.text)
    if called is None:
        return "changes something, or may, by its text"
    by_name = (
        Access(Privilege.EXECUTE, Kind.FUNCTION, ObjectName(name, schema or _BUILT_IN)) for schema, name in called
    )
    for access in (*facts.accesses, *by_name):
        if (access.privilege, access.kind) not in _READING and not _is_harmless(access, harmless, record.context):
            return f"may change something: {access.privilege} on {access.kind} {access.object}"
    return None


def _is_harmless(access: Access, harmless: RuleSet, context: Context) -> bool:
    if access.privilege is not Privilege.EXECUTE:
        return False
    if access.object.schema == _BUILT_IN and access.object.name in _SHOWING:
        return True
    return decide(harmless, (Facts("SELECT", (access,)),), context).effect is Effect.ALLOW
