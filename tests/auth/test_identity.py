"""The map from principals to database users."""

import pytest

from pgguard.auth.identity import IdentityMap, MapError
from pgguard.model.context import Principal

REALMS = frozenset({"A.TEST"})


@pytest.mark.parametrize(
    ("lines", "principal", "user", "expected"),
    [
        ((), Principal("alice", "A.TEST"), "alice", True),
        ((), Principal("alice", "A.TEST"), "Alice", False),
        ((), Principal("alice", "A.TEST"), "bob", False),
        ((), Principal("alice", "B.TEST"), "alice", False),
        ((), Principal("alice/admin", "A.TEST"), "alice", False),
        ((), Principal("alice/admin", "A.TEST"), "alice/admin", False),
        (("alice@A.TEST app",), Principal("alice", "A.TEST"), "app", True),
        (("alice@A.TEST app",), Principal("alice", "A.TEST"), "alice", False),
        (("alice@B.TEST app",), Principal("alice", "B.TEST"), "app", False),
        ((r"/(.*)/admin@A\.TEST \1_admin",), Principal("alice/admin", "A.TEST"), "alice_admin", True),
        ((r"/(.*)/admin@A\.TEST \1_admin",), Principal("alice", "A.TEST"), "alice_admin", False),
        ((r"/a@A\.TEST boss",), Principal("eva", "A.TEST"), "boss", False),
        ((r"/(x)?alice@A\.TEST \1",), Principal("alice", "A.TEST"), "", True),
    ],
)
def test_who_may_be_whom(lines: tuple[str, ...], principal: Principal, user: str, expected: bool):
    assert (IdentityMap(lines, REALMS).refusal(principal, user) is None) is expected


def test_a_realm_that_is_not_accepted_is_told():
    told = IdentityMap((), REALMS).refusal(Principal("alice", "B.TEST"), "alice")
    assert told == 'realm "B.TEST" of principal "alice@B.TEST" is not accepted, only A.TEST'


def test_several_realms_need_lines_that_keep_them_apart():
    """Without any, alice of each realm was the user alice, with all her groups."""
    both = frozenset({"A.TEST", "B.TEST"})
    with pytest.raises(MapError, match=r"alice@A\.TEST and alice@B\.TEST would be the same user"):
        IdentityMap((), both)
    lines = (r"/([^/@]+)@A\.TEST \1", r"/([^/@]+)@B\.TEST b_\1")
    people = IdentityMap(lines, both)
    may_be = {
        (realm, user) for realm in ("A.TEST", "B.TEST") for user in ("alice", "b_alice")
        if people.refusal(Principal("alice", realm), user) is None
    }  # fmt: skip
    assert may_be == {("A.TEST", "alice"), ("B.TEST", "b_alice")}
    assert people.refusal(Principal("b_alice", "A.TEST"), "b_alice") is None  # whoever gives names keeps them apart


@pytest.mark.parametrize(
    "line", ["alice", "alice app", "a@B c d", "/( app", r"/alice@A \1", r"/(a)(b)@C \2", r"alice@A \1"]
)
def test_a_line_that_means_nothing_is_an_error(line: str):
    with pytest.raises(MapError, match="line 1"):
        IdentityMap((line,), REALMS)
