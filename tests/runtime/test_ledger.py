"""How many sessions may come in."""

from pgguard.runtime.config import LimitSettings
from pgguard.runtime.ledger import Ledger, Place

_ALICE = Place("alice", "10.0.0.1")


def test_each_limit_is_told_with_its_number_and_takes_nothing():
    ledger = Ledger(LimitSettings(sessions=3, sessions_per_user=2, sessions_per_address=2))
    assert [ledger.enter(_ALICE), ledger.enter(Place("alice", "10.0.0.2"))] == ["", ""]
    assert ledger.enter(Place("alice", "10.0.0.3")) == 'too many sessions: user "alice" has 2 of 2 allowed'
    assert not ledger.enter(Place("bob", "10.0.0.1"))
    assert ledger.enter(Place("carol", "10.0.0.9")) == "too many sessions: pgguard has 3 of 3 allowed"
    ledger.leave(_ALICE)
    ledger.leave(Place("alice", "10.0.0.2"))
    assert not ledger.enter(Place("carol", "10.0.0.1"))
    assert ledger.enter(Place("dora", "10.0.0.1")) == "too many sessions: address 10.0.0.1 has 2 of 2 allowed"


def test_zero_is_no_limit_and_sockets_count_together():
    ledger = Ledger(LimitSettings(sessions=0, sessions_per_address=5))
    assert not any(ledger.enter(Place(f"user{number}", None)) for number in range(5))
    assert ledger.enter(Place("one more", None))
