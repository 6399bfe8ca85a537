"""Looking for records: what is found quickly is what is found by looking at everything."""

from hypothesis import given
from hypothesis import strategies as st

from pgguard.audit.chain import Chain
from pgguard.audit.encoding import Encoder
from pgguard.audit.reading import Wanted
from pgguard.audit.records import DecisionMade, SessionStarted, read_record
from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.decision import Decision, Effect
from pgguard.model.facts import Facts

NAMES = st.text(st.sampled_from('ab."\\ é\u2028\n'), min_size=1, max_size=3)
WANTED = st.builds(
    Wanted,
    user=st.just("") | NAMES,
    table=st.just("") | st.builds("{}.{}".format, NAMES, NAMES),
    rule=st.just("") | NAMES,
    effect=st.sampled_from(["", *Effect]),
    session=st.just("") | NAMES,
)


def _decision(  # noqa: PLR0917  # the parts of one record
    user: str, principal: str, schema: str, table: str, rule: str, effect: Effect, session: str
):
    access = Access(Privilege.SELECT, Kind.TABLE, ObjectName(table, schema), ("id",))
    context = Context(user, principal, "shop", 0.0)
    decision = Decision(effect, (rule,))
    return DecisionMade(
        "then", "s-1", session, "query", "select", effect, context, (Facts("SELECT", (access,)),), decision
    )


RECORDS = st.one_of(
    st.builds(_decision, NAMES, NAMES, NAMES, NAMES, NAMES, st.sampled_from(Effect), NAMES),
    st.builds(SessionStarted, st.just("then"), NAMES, NAMES, NAMES, st.just("shop"), st.just("gss")),
)


@given(WANTED, RECORDS)
def test_no_record_that_is_looked_for_is_passed_over(wanted, record):
    line = Chain(None).link(Encoder().encode(record))
    assert read_record(line) == record
    if wanted.has(record):
        assert all(piece in line for piece in wanted.pieces())


@given(RECORDS)
def test_each_record_is_found_by_what_it_holds(record):
    line = Chain(None).link(Encoder().encode(record))
    wanted = Wanted(session=record.session)
    if isinstance(record, DecisionMade):
        (table,) = (access.object for access in record.facts[0].accesses)
        wanted = Wanted(
            record.context.principal, str(table), record.decision.rules[0], str(record.effect), record.session
        )
    assert wanted.has(record)
    assert all(piece in line for piece in wanted.pieces())
