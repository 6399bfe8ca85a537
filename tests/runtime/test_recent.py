"""What was decided a moment ago serves again only where nothing that a decision depends on has changed."""

import msgspec
import pytest

from pgguard.model.context import Context, Ticket, Transport, Unknown
from pgguard.model.decision import Decision, Effect
from pgguard.model.facts import Facts
from pgguard.runtime.recent import AtLogin, Circumstances, Decisions, Held, RecentDecisions, Stamp
from pgguard.runtime.settings_question import SessionState

SETTINGS = SessionState(("public",), "alice", "alice", True, "", False, False, "public")
CIRCUMSTANCES = Circumstances(
    stamp=Stamp(1, 1, 1, 1_700_000_000),
    groups=("analysts",),
    application="psql",
    block=False,
    settings=SETTINGS,
    estimate=Unknown.NOT_ASKED,
    state=("maintenance",),
)
OTHER = {
    "groups": (),
    "application": "pgbench",
    "block": None,
    "settings": msgspec.structs.replace(SETTINGS, reason="INC-1"),
    "estimate": Unknown.SKIPPED,
    "state": (),
}


def held(statements: tuple[Facts, ...]) -> Held:
    context = Context("alice", "alice@EXAMPLE.COM", "shop", 1_700_000_000.5)
    return Held(statements, context, Decision(Effect.ALLOW), CIRCUMSTANCES)


def statements() -> tuple[Facts, ...]:
    return (Facts("SELECT"),)


def test_the_same_statement_in_the_same_circumstances_is_decided_already():
    recent, known = RecentDecisions(), held(statements())
    recent.add(known)
    assert recent.find(known.statements, msgspec.structs.replace(CIRCUMSTANCES)) is known


def test_other_statements_are_decided_anew():
    recent, known = RecentDecisions(), held(statements())
    recent.add(known)
    assert recent.find((Facts("SELECT"), Facts("DELETE")), CIRCUMSTANCES) is None


@pytest.mark.parametrize("field", Circumstances.__struct_fields__[1:])
def test_any_other_circumstance_is_decided_anew(field):
    recent, known = RecentDecisions(), held(statements())
    recent.add(known)
    assert recent.find(known.statements, msgspec.structs.replace(CIRCUMSTANCES, **{field: OTHER[field]})) is None


@pytest.mark.parametrize("field", Stamp.__struct_fields__)
def test_other_rules_groups_state_or_the_next_second_are_decided_anew(field):
    recent, known = RecentDecisions(), held(statements())
    recent.add(known)
    stamp = msgspec.structs.replace(CIRCUMSTANCES.stamp, **{field: getattr(CIRCUMSTANCES.stamp, field) + 1})
    assert recent.find(known.statements, msgspec.structs.replace(CIRCUMSTANCES, stamp=stamp)) is None


def test_all_that_a_context_is_made_of_is_fixed_at_login_or_a_circumstance():
    at_login = set(AtLogin.__struct_fields__)
    by_stamp = {"at"}
    by_settings = {"read_only", "reason"}
    named = {"groups", "application", "block", "state"}
    assert at_login | by_stamp | by_settings | named | {"estimated_rows"} == set(Context.__struct_fields__)
    assert set(Circumstances.__struct_fields__) == {"stamp", "settings", "estimate"} | named
    assert by_settings <= set(SessionState.__struct_fields__)


def test_circumstances_that_come_back_are_known_again():
    """Once the latest ones pushed all others out: each statement of a transaction, and each Parse and Bind by turns,
    was decided anew."""
    recent, known = RecentDecisions(), held(statements())
    block = msgspec.structs.replace(CIRCUMSTANCES, block=True)
    inside = msgspec.structs.replace(held(statements()), circumstances=block)
    recent.add(known)
    recent.add(inside)
    assert recent.find(known.statements, CIRCUMSTANCES) is known
    assert recent.find(inside.statements, block) is inside
    assert recent.find(known.statements, block) is None


LOGIN = AtLogin("alice", "alice@EXAMPLE.COM", "shop", "10.0.0.1", Transport.PLAIN, Ticket(1_700_036_000.0))
OTHER_LOGIN = {
    "user": "bob",
    "principal": "bob@EXAMPLE.COM",
    "database": "hr",
    "address": None,
    "transport": Transport.TLS,
    "ticket": Ticket(1_700_036_000.0, indicators=("otp",)),
}


def test_sessions_that_logged_in_alike_share_what_was_decided():
    """Each of a pool's sessions decided each statement anew, once a second: with 64 of them that was half the work."""
    decisions = Decisions()
    first = decisions.of(LOGIN)
    assert decisions.of(msgspec.structs.replace(LOGIN)) is first


@pytest.mark.parametrize("field", AtLogin.__struct_fields__)
def test_sessions_that_did_not_share_nothing(field):
    decisions = Decisions()
    first = decisions.of(LOGIN)
    assert decisions.of(msgspec.structs.replace(LOGIN, **{field: OTHER_LOGIN[field]})) is not first


def test_what_nobody_shares_any_more_is_gone():
    decisions = Decisions()
    decisions.of(LOGIN).add(known := held(statements()))
    assert decisions.of(LOGIN).find(known.statements, CIRCUMSTANCES) is None


def test_few_are_remembered():
    recent, made = RecentDecisions(), [held(statements()) for _ in range(150)]
    for one in made:
        recent.add(one)
    found = [recent.find(one.statements, CIRCUMSTANCES) for one in made]
    assert found[-1] is made[-1]
    assert sum(one is not None for one in found) <= 128
