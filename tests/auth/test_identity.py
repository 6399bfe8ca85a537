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
    assert IdentityMap(lines, REALMS).may_be(principal, user) is expected


@pytest.mark.parametrize("line", ["alice", "alice app", "a@B c d", "/( app", r"/alice@A \1"])
def test_a_line_that_means_nothing_is_an_error(line: str):
    with pytest.raises(MapError, match="line 1"):
        IdentityMap((line,), REALMS)
