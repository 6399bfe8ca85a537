"""What was decided a moment ago serves again only where nothing that a decision depends on has changed."""

import msgspec
import pytest

from pgguard.model.context import Context, Unknown
from pgguard.model.decision import Decision, Effect
from pgguard.model.facts import Facts
from pgguard.runtime.holding import Held, Stamp
from pgguard.runtime.recent import Circumstances, RecentDecisions

CIRCUMSTANCES = Circumstances(
    stamp=Stamp(1, 1, 1, 1_700_000_000),
    known=True,
    application="psql",
    block=False,
    read_only=False,
    reason="",
    estimate=Unknown.NOT_ASKED,
    state=("maintenance",),
)
OTHER = {
    "known": False,
    "application": "pgbench",
    "block": None,
    "read_only": True,
    "reason": "INC-1",
    "estimate": Unknown.SKIPPED,
    "state": (),
}


def held(statements: tuple[Facts, ...]) -> Held:
    context = Context("alice", "alice@EXAMPLE.COM", "shop", 1_700_000_000.5)
    return Held(statements, context, Decision(Effect.ALLOW), CIRCUMSTANCES.stamp)


def statements() -> tuple[Facts, ...]:
    return (Facts("SELECT"),)


def test_the_same_statement_in_the_same_circumstances_is_decided_already():
    recent, known = RecentDecisions(), held(statements())
    recent.add(CIRCUMSTANCES, known)
    assert recent.find(known.statements, msgspec.structs.replace(CIRCUMSTANCES)) is known


def test_other_statements_are_decided_anew():
    recent, known = RecentDecisions(), held(statements())
    recent.add(CIRCUMSTANCES, known)
    assert recent.find((Facts("SELECT"), Facts("DELETE")), CIRCUMSTANCES) is None


@pytest.mark.parametrize("field", Circumstances.__struct_fields__[1:])
def test_any_other_circumstance_is_decided_anew(field):
    recent, known = RecentDecisions(), held(statements())
    recent.add(CIRCUMSTANCES, known)
    assert recent.find(known.statements, msgspec.structs.replace(CIRCUMSTANCES, **{field: OTHER[field]})) is None


@pytest.mark.parametrize("field", Stamp.__struct_fields__)
def test_other_rules_groups_state_or_the_next_second_are_decided_anew(field):
    recent, known = RecentDecisions(), held(statements())
    recent.add(CIRCUMSTANCES, known)
    stamp = msgspec.structs.replace(CIRCUMSTANCES.stamp, **{field: getattr(CIRCUMSTANCES.stamp, field) + 1})
    assert recent.find(known.statements, msgspec.structs.replace(CIRCUMSTANCES, stamp=stamp)) is None


def test_all_that_a_context_is_made_of_is_fixed_at_login_or_a_circumstance():
    at_login = {"user", "principal", "database", "address", "transport", "ticket"}
    by_stamp = {"at", "groups"}
    named = {"application", "block", "read_only", "reason", "state", "estimated_rows"}
    assert at_login | by_stamp | named == set(Context.__struct_fields__)
    assert set(Circumstances.__struct_fields__) == {"stamp", "known", "estimate"} | (named - {"estimated_rows"})


def test_circumstances_that_come_back_are_known_again():
    """Once the latest ones pushed all others out: each statement of a transaction, and each Parse and Bind by turns,
    was decided anew."""
    recent, known, inside = RecentDecisions(), held(statements()), held(statements())
    block = msgspec.structs.replace(CIRCUMSTANCES, block=True)
    recent.add(CIRCUMSTANCES, known)
    recent.add(block, inside)
    assert recent.find(known.statements, CIRCUMSTANCES) is known
    assert recent.find(inside.statements, block) is inside
    assert recent.find(known.statements, block) is None


def test_a_session_remembers_few():
    recent, made = RecentDecisions(), [held(statements()) for _ in range(40)]
    for one in made:
        recent.add(CIRCUMSTANCES, one)
    found = [recent.find(one.statements, CIRCUMSTANCES) for one in made]
    assert found[-1] is made[-1]
    assert sum(one is not None for one in found) <= 32
