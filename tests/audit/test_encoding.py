"""Encoding once what decisions share must give the very bytes that encoding each by itself gives."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pgguard.audit.chain import Chain
from pgguard.audit.encoding import Encoder
from pgguard.audit.records import MARK, Changed, DecisionMade, Record, read_record
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.decision import AccessDecision, Decision, Effect, Redaction
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


def filled(encoder: Encoder, record: DecisionMade) -> bytes:
    """The record by the form that another of its kind has made."""
    form = encoder.form(msgspec.structs.replace(record, at="", id="s-0", values=(), refers=()))
    refers = msgspec.json.encode(record.refers) if record.refers else b""
    number = int(record.id.rpartition("-")[2])
    return form.filled(record.at, msgspec.json.encode(record.session), number, record.values, refers)


@given(
    st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=3).map(tuple),
    st.sampled_from([(), ("s-1",), ("s-1", "s-2")]),
    st.sampled_from([{}, {"binary": (0,)}, {"types": (23, 0)}, {"redact": Redaction.KEEP}, {"hidden": ("text",)}]),
    st.sampled_from(["s", 'a"b', "ä"]),
)
def test_a_form_that_is_filled_in_reads_as_its_record(values, refers, others, session):
    record = msgspec.structs.replace(
        decided(7), id=f"{session}-7", session=session, values=values, refers=refers, **others
    )
    assert filled(Encoder(), record) == alone(record)


def test_forms_of_records_that_differ_are_never_taken_for_each_other():
    encoder, first = Encoder(), decided(1)
    for changed in (
        {"text": "select 2"}, {"moment": "bind"}, {"types": (23,)}, {"binary": (0,)}, {"redact": Redaction.DROP},
        {"hidden": ("text",)}, {"rules": "ab"}, {"effect": Effect.HOLD}, {"error": "42501: no"}, {"context": msgspec.structs.replace(first.context, application="psql")}, {},
    ):  # fmt: skip
        record = msgspec.structs.replace(first, **changed)
        assert filled(encoder, record) == alone(record)
    for number in range(1000):  # more than are remembered
        record = decided(number, f"t{number % 7}", at=float(number))
        assert filled(encoder, record) == alone(record)
