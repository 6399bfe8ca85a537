"""What the audit must not hold is not in it."""

from pathlib import Path

import pytest

from pgguard.audit.records import DecisionMade
from pgguard.audit.redact import Redactor
from pgguard.audit.settings import AuditSettings
from pgguard.model.context import Context
from pgguard.model.decision import Effect


def redactor(key=None, **settings):
    return Redactor(AuditSettings(path=Path("a"), **settings), key)


@pytest.mark.parametrize(
    "text",
    [
        "create role r login password 'geheim'",
        "alter role r with encrypted /* x */ password E'geheim' valid until '2030-01-01'",
        "create user mapping for r server s options (user 'u', password 'geheim')",
        "create user mapping for r server s options (add \"password\" 'geheim')",
        "create subscription s connection 'host=h password=geheim' publication p",
        "select * from dblink('postgresql://u:geheim@h/d', 'select 1') as t(a int)",
        "select dblink_connect('host=h password = geheim')",
        "alter role r password $$geheim$$",
        "alter role r password 'geheim",
        "alter role ü password U&'geheim'",
    ],
)
def test_secrets_are_masked_whatever_is_configured(text):
    masked = redactor().text(text)
    assert "geheim" not in masked
    assert "***" in masked


def test_other_text_is_left_alone():
    text = "select password from accounts where note = 'connection lost' -- é"
    assert redactor().text(text) == text


def test_constants_are_hashed_or_dropped():
    text = "select 'é', 12, 1.5, x'1f' from t where a = $1"
    assert redactor(literals="drop").text(text) == "select '?', '?', '?', '?' from t where a = $1"
    hashed = redactor(literals="hash").text("select 'a' = 'a', 'b'")
    one, two, three = (part.split("'")[1] for part in hashed.removeprefix("select ").replace(" = ", ",").split(","))
    assert one == two != three


def test_bound_values():
    assert redactor(values="drop").value("x") == "?"
    assert redactor(values="drop").value(None) is None
    assert redactor(values="hash").value("x") != redactor(b"key", values="hash").value("x")


def _recorded(text: str, error: str, **settings: object) -> str | None:
    context = Context("alice", "alice@EXAMPLE.COM", "shop", 0.0)
    record = DecisionMade("", "s-1", "s", "query", text, Effect.DENY, context, error=error)
    return redactor(**settings).record(record).error


def test_the_error_shows_nothing_that_the_text_hides():
    """A syntax error quotes the text where it broke: the password stood there, masked one field further left."""
    text = "alter role r password password 'geheim'"
    assert _recorded(text, """42601: syntax error at or near "'geheim'\"""") == "42601: syntax error at or near '***'"
    assert _recorded("alter role r password 'ge\"heim", """42601: unterminated at or near "'ge"heim\"""") == (
        "42601: unterminated at or near '***'"
    )
    assert _recorded("select 12 12", '42601: syntax error at or near "12"', literals="drop") == (
        "42601: syntax error at or near '***'"
    )


def test_an_error_of_a_text_without_secrets_stays():
    error = """42601: syntax error at or near "'x'\""""
    assert _recorded("selct 'x'", error) == error
    assert _recorded("selct 'x'", '42601: syntax error at or near "selct"', literals="drop") == (
        '42601: syntax error at or near "selct"'
    )
