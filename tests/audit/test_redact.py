"""What the audit must not hold is not in it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgguard.audit.records import DecisionMade
from pgguard.audit.redact import Redactor
from pgguard.audit.settings import AuditSettings
from pgguard.model import secrecy
from pgguard.model.access import Access, ColumnNote, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.decision import AccessDecision, Decision, Effect, Redaction
from pgguard.model.facts import Facts
from pgguard.policy.decide import decide
from pgguard.policy.problems import RulesInvalid
from pgguard.policy.redaction import redaction_of
from pgguard.sql import literals
from pgguard.sql.shape import shape_of_text
from tests.policy.asking import ALICE, rules_of


def redactor(key=None, **settings):
    return Redactor(AuditSettings(path=Path("a"), **settings), key)


def text_of(text, literals="keep"):
    return redactor().text(text, literals)


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
        "select set_config('app.password', 'geheim', false)",
        "set app.api_key = 'geheim'",
        "set session app.secret to 'geheim'",
        "set app.api_token = 'geheim'",
        "alter role r set \"app.db_password\" to 'geheim'",
        "select * from accounts where reset_token = 'geheim'",
        "select crypt('geheim', gen_salt('bf'))",
        "select * from t where p = public.crypt(lower('geheim'), p)",
        "select pgp_sym_decrypt(x, 'geheim') from t",
        "do $$ begin create role r password 'geheim'; end $$",
        "do $a$ begin execute $b$create role r password 'geheim'$b$; end $a$",
        "do $$ begin execute 'create role r password ''geheim'''; end $$",
        "do 'begin create role r password ''geheim''; end'",
        "create function f() returns void language plpgsql as $$ begin perform crypt('geheim', s); end $$",
        "do $a$ begin execute $b$ do $c$ begin execute $d$ select 'passwd geheim' $d$; end $c$ $b$; end $a$",
        "do $$ begin x := 'password='||'geheim'; y := 'unfinished; end $$",
    ],
)
def test_secrets_are_masked_whatever_is_configured(text):
    masked = text_of(text)
    assert "geheim" not in masked
    assert "***" in masked


def test_other_text_is_left_alone():
    text = "select password from accounts where note = 'connection lost' -- é"
    assert text_of(text) == text


_URL_LOGIN = re.compile(r"://[^\s'@]*:[^\s'@]*@")
_SPEAKS_OF_SECRETS = re.compile("|".join((*secrecy.SPEAKING, _URL_LOGIN.pattern)), re.IGNORECASE)

_CASES = st.sampled_from(
    [str.lower, str.upper, str.title, lambda word: word.replace("s", "\u017f").replace("k", "\u212a")]
)
_SECRETS = st.one_of(
    st.sampled_from(sorted(literals._SECRET_WORDS | literals._KEEPERS)),
    st.from_regex(literals._CONNECTION_STRING, fullmatch=True),
    st.from_regex(_URL_LOGIN, fullmatch=True),
    st.from_regex(literals._SECRET_SETTING, fullmatch=True),
    st.from_regex(literals._SECRET_ENDING, fullmatch=True),
)
"""What makes the search take something for a secret: it does so for nothing else."""


@given(st.text(), _SECRETS, _CASES, st.text())
def test_the_quick_look_misses_nothing_that_the_search_finds(before, secret, case, after):
    """Each statement is looked at quickly, and searched only where that finds something."""
    assert secrecy.speaks_of_secrets(before + case(secret) + after)


@given(st.text() | st.text("https:/@'u "), st.sampled_from(["", *secrecy.SPEAKING]), st.text())
def test_the_quick_look_is_the_regular_expression(before, word, after):
    text = before + word.upper() + after
    assert secrecy.speaks_of_secrets(text) == bool(_SPEAKS_OF_SECRETS.search(text))


@pytest.mark.parametrize(
    "text",
    ["select '://" + ":" * 1_000_000 + "'", "select '" + "://" * 300_000 + "'", "select 'é://" + "a:" * 500_000 + "'",
     "/* token */ select '://" + "a:" * 500_000 + "'"],
    ids=["colons", "urls", "beyond ascii", "with a secret"],
)  # fmt: skip
def test_no_text_makes_the_search_for_secrets_take_long(text):
    """Each colon was tried with all that follows it: one statement of a megabyte took hours, in which no session of the
    process was served; now it takes a fraction of a second."""
    assert "://" in text_of(text)


def test_what_stands_beside_a_secret_in_a_body_stays():
    text = "do $$ begin insert into t values ('kept'); create role r password 'geheim'; end $$"
    assert text_of(text) == text.replace("'geheim'", "'***'")


def test_the_facts_carry_no_password_either():
    """A body is a part of the statement's shape, which the audit records whatever it leaves out of the text."""
    text = "do $$ begin create role r password 'geheim'; end $$"
    assert "geheim" not in shape_of_text(text)
    assert shape_of_text(text) == shape_of_text(text.replace("do", "DO  "))
    assert shape_of_text(text) != shape_of_text(text.replace("geheim", "anders"))


ORDERS = """
labels: {pii: [sales.customers.card_number, {comment: "*secret*"}]}
redact: {pii: drop}
rules:
  - {name: orders, who: everyone, allow: select, on: sales.orders, redact: keep}
  - {name: customers, who: everyone, allow: select, on: sales.customers}
  - {name: staff, who: everyone, allow: select, on: hr.staff, redact: hash}
  - {name: no-secrets, who: everyone, deny: select, on: hr.pay, redact: hash}
"""


def _read(table: str, *columns: str) -> Facts:
    schema, name = table.split(".")
    return Facts("SELECT", (Access(Privilege.SELECT, Kind.TABLE, ObjectName(name, schema), columns),))


@pytest.mark.parametrize(
    ("statements", "asked"),
    [
        ((_read("sales.orders", "id"),), "keep"),
        ((_read("sales.customers", "id"),), None),
        ((_read("sales.orders", "id"), _read("sales.customers", "id")), None),
        ((_read("sales.customers", "card_number", "id"),), "drop"),
        ((_read("sales.orders", "id"), _read("sales.customers", "card_number")), "drop"),
        ((_read("hr.staff", "id"), _read("sales.orders", "id")), "hash"),
        ((_read("hr.pay", "amount"),), "hash"),
        ((_read("elsewhere.t", "id"),), None),
        ((Facts("DO", (Access(Privilege.RUN, Kind.LANGUAGE, ObjectName("plpgsql")),)),), "drop"),
        ((), None),
    ],
)
def test_rules_and_labels_ask_for_redaction_and_the_strictest_wins(statements, asked):
    rules = rules_of(ORDERS)
    decision = decide(rules, statements, ALICE)
    assert redaction_of(rules, statements, decision) == asked


def test_what_nobody_could_look_into_is_redacted_as_strictly_as_anything():
    assert redaction_of(rules_of(ORDERS), (), None) == "drop"
    assert redaction_of(rules_of(ORDERS.replace("redact: {pii: drop}", "")), (), None) == "hash"
    plain = rules_of("rules: [{name: a, who: everyone, allow: select, on: sales.orders}]")
    assert redaction_of(plain, (), None) is None


def test_a_column_is_known_by_the_comment_and_through_a_view():
    rules = rules_of(ORDERS)
    viewed = ColumnNote("x", sources=(("sales", "customers", "card_number"),))
    for note in (viewed, ColumnNote("x", "a secret")):
        access = Access(Privilege.SELECT, Kind.TABLE, ObjectName("v", "sales"), ("x",), notes=(note,))
        facts = (Facts("SELECT", (access,)),)
        assert redaction_of(rules, facts, decide(rules, facts, ALICE)) == "drop"


@pytest.mark.parametrize(
    ("configured", "asked", "text", "value"),
    [
        ("keep", "drop", "select '?'", "?"),
        ("drop", "keep", "select 12", "v"),
        ("drop", "hash", "select '?'", "?"),
        ("keep", None, "select 12", "v"),
        ("drop", None, "select '?'", "?"),
    ],
)
def test_what_the_rules_asked_for_is_done(configured, asked, text, value):
    context = Context("alice", "alice@EXAMPLE.COM", "shop", 0.0)
    redact = None if asked is None else Redaction(asked)
    record = DecisionMade("", "s-1", "s", "bind", "select 12", Effect.ALLOW, context, values=("v",), redact=redact)
    written = redactor(literals=configured, values=configured).record(record)
    assert (written.text, written.values) == (text, (value,))


def test_a_redaction_of_an_unknown_label_does_not_load():
    labels = "labels: {pii: sales.customers.card_number}\n"
    with pytest.raises(RulesInvalid, match='unknown label "pi"; did you mean "pii"'):
        rules_of(labels + "redact: {pi: drop}")
    with pytest.raises(RulesInvalid, match='unknown redact "keep"'):
        rules_of(labels + "redact: {pii: keep}")


def test_redaction_is_part_of_the_rule_sets_identity():
    assert rules_of(ORDERS).identity != rules_of(ORDERS.replace("pii: drop", "pii: hash")).identity


def test_constants_are_hashed_or_dropped():
    text = "select 'é', 12, 1.5, x'1f' from t where a = $1"
    assert text_of(text, "drop") == "select '?', '?', '?', '?' from t where a = $1"
    hashed = text_of("select 'a' = 'a', 'b'", "hash")
    one, two, three = (part.split("'")[1] for part in hashed.removeprefix("select ").replace(" = ", ",").split(","))
    assert one == two != three


def test_bound_values():
    assert redactor().value("x", "drop") == "?"
    assert redactor().value(None, "drop") is None
    assert redactor().value("x", "hash") != redactor(b"key").value("x", "hash")


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


def test_the_error_names_nothing_that_stood_in_a_constant():
    """nextval('…') is looked up when it is judged, and its error names it."""
    unknown = '42P01: relation "geheim" does not exist'
    assert _recorded("select nextval('geheim') from orders", unknown, literals="drop") == (
        "42P01: relation '***' does not exist"
    )
    named = '42703: column "x" does not exist'
    assert _recorded("select x from orders where a = 'geheim'", named, literals="drop") == named
    assert _recorded("select 'geheim'", "KeyError: 'geheim'", literals="hash") == "KeyError"


def test_a_password_in_a_command_is_not_in_the_facts_either():
    """What COPY … PROGRAM runs is the name of what it accesses."""
    command = "psql postgresql://u:geheim@h/d"
    access = Access(Privilege.RUN_PROGRAM, Kind.SERVER, ObjectName(command))
    other = Access(Privilege.RUN_PROGRAM, Kind.SERVER, ObjectName("gzip"))
    facts = (Facts("COPY", (access, other)),)
    decision = Decision(Effect.DENY, accesses=(AccessDecision(access, Effect.DENY), AccessDecision(other, Effect.DENY)))
    context = Context("alice", "alice@EXAMPLE.COM", "shop", 0.0)
    text = f"copy t to program '{command}'"
    made = DecisionMade("", "s-1", "s", "query", text, Effect.DENY, context, facts, decision)
    record = redactor().record(made)
    assert "geheim" not in str(record)
    assert record.facts[0].accesses[1] == record.decision.accesses[1].access == other


def test_an_error_of_a_text_without_secrets_stays():
    error = """42601: syntax error at or near "'x'\""""
    assert _recorded("selct 'x'", error) == error
    assert _recorded("selct 'x'", '42601: syntax error at or near "selct"', literals="drop") == (
        '42601: syntax error at or near "selct"'
    )
