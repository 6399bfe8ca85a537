"""Encoding once what decisions share must give the very bytes that encoding each by itself gives."""

import msgspec

from pgguard.audit.chain import Chain
from pgguard.audit.encoding import Encoder
from pgguard.audit.records import MARK, Changed, DecisionMade, Record, read_record
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.decision import AccessDecision, Decision, Effect
from pgguard.model.facts import Facts

NOW = "2026-03-02T10:00:00+00:00"


def decided(number: int, table: str = "orders", at: float = 1.5) -> DecisionMade:
    access = Access(Privilege.SELECT, Kind.TABLE, ObjectName(table, "sales"), ("id",))
    context = Context("alice", "alice@EXAMPLE.COM", "shop", at, groups=("staff",))
    decision = Decision(Effect.ALLOW, ("r",), (AccessDecision(access, Effect.ALLOW, ("r",)),))
    return DecisionMade(
        NOW, f"s-{number}", "s", "query", "select 1", Effect.ALLOW, context, (Facts("SELECT", (access,)),), decision
    )


def again(record: DecisionMade, number: int) -> DecisionMade:
    """Another statement by the very same values."""
    return msgspec.structs.replace(record, id=f"s-{number}", values=(str(number),))


def alone(record: Record) -> bytes:
    """What encoding it by itself gives."""
    return b"{" + MARK + msgspec.json.encode(record)[1:]


def test_a_repeated_decision_reads_as_one_that_was_encoded_by_itself():
    encoder, first = Encoder(), decided(1)
    for number in range(3):
        record = again(first, number)
        assert encoder.encode(record) == alone(record)
        assert read_record(Chain(None).link(encoder.encode(record))) == record


def test_decisions_that_differ_are_never_taken_for_each_other():
    encoder = Encoder()
    for number in range(1000):  # more than are remembered; each value is freed, and its place in memory used again
        record = decided(number, f"t{number % 7}", at=float(number))
        assert encoder.encode(record) == alone(record)


def test_the_same_decision_in_another_context_tells_that_context():
    encoder, first = Encoder(), decided(1)
    encoder.encode(first)
    moved = msgspec.structs.replace(first, context=msgspec.structs.replace(first.context, application="psql"))
    assert encoder.encode(moved) == alone(moved)


def test_records_without_a_decision_are_encoded_as_they_are():
    for record in (Changed(NOW, "start"), msgspec.structs.replace(decided(1), decision=None, facts=())):
        assert Encoder().encode(record) == alone(record)
