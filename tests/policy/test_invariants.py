"""What holds for every rule set and every access: found by looking for what breaks it."""

from hypothesis import given
from hypothesis import strategies as st

from pgguard.model.access import Access, Where
from pgguard.model.context import Unknown
from pgguard.model.decision import Decision

from .asking import access, decision, one_of, rule, rules_of

_STRICTNESS = {"allow": 0, "hold": 1, "deny": 2}

_TABLES = ("sales.a", "sales.b", "hr.a", "pg_catalog.a")
_COLUMNS = ("id", "card", "xmin")
_CONDITIONS = (
    "",
    "when: {transaction: {block: true}}",
    "unless: {transaction: {block: true}}",
    'when: {estimated_rows: "> 10"}',
    "when: {state: {p: true}}",
    "when: {state: {p: 1}}",
    "when: {statement: {where: present}}",
    "when: {from: 10.0.0.0/8}",
)
_TOP = "probes: {p: {file: /f, every: 1s}}"


@st.composite
def rule_texts(draw: st.DrawFn, effects: tuple[str, ...] = ("allow", "deny", "hold")) -> tuple[str, ...]:
    """The parts of a rule without its name."""
    effect = draw(st.sampled_from(effects))
    privileges = draw(st.sampled_from(("select", "insert", "[select, update]", "read", "all")))
    parts = [
        f"{effect}: {privileges}",
        draw(st.sampled_from(("sales.a", "sales.*", "'*.a'", "'*.*'", "'pg_*.*'"))),
    ]
    if privileges != "all" and draw(st.booleans()):
        parts.append(f"columns: {draw(st.sampled_from(('[id]', '[card, xmin]', '{except: [id]}')))}")
    if effect == "hold":
        parts.append("approvers: {group: dba}")
    if effect == "allow" and draw(st.booleans()):
        parts.append(f"max_rows: {draw(st.integers(1, 9))}")
    if condition := draw(st.sampled_from(_CONDITIONS)):
        parts.append(condition)
    return (draw(st.sampled_from(("everyone", "{group: analysts}", "{not: {group: dba}}"))), *parts)


@st.composite
def accesses(draw: st.DrawFn) -> Access:
    columns = tuple(sorted(draw(st.sets(st.sampled_from(_COLUMNS)))))
    return access(
        draw(st.sampled_from(("select", "insert", "update", "drop"))),
        draw(st.sampled_from(_TABLES)),
        columns,
        candidates=() if columns else draw(st.sampled_from((("id", "card"), ()))),
        ancestors=draw(st.sampled_from(((), ("sales.a",)))),
        temporary=draw(st.booleans()),
    )


contexts = st.fixed_dictionaries(
    {
        "groups": st.sampled_from((None, (), ("analysts",), ("dba",))),
        "block": st.sampled_from((None, True, False)),
        "state": st.sampled_from(({}, {"p": True}, {"p": 1})),
        "address": st.sampled_from((None, "10.1.1.1", "::1")),
        "estimated_rows": st.sampled_from((5.0, 50.0, Unknown.UNKNOWN)),
    }
)
many_rules = st.lists(rule_texts(), max_size=6)
statement = st.lists(accesses(), max_size=3)


def _named(texts: list[tuple[str, ...]]) -> list[str]:
    return [rule(*parts, name=f"r{number}", who=who) for number, (who, *parts) in enumerate(texts)]


def _decide(rules: list[str], reads: list[Access], context: dict[str, object]) -> Decision:
    return decision(one_of(*rules, top=_TOP), *reads, **context)


@given(many_rules, statement, contexts, st.randoms(use_true_random=False))
def test_the_order_of_rules_and_of_files_never_matters(texts, reads, context, random):
    rules = _named(texts)
    shuffled = random.sample(rules, len(rules))
    assert _decide(rules, reads, context) == _decide(shuffled, reads, context)
    files = [f"rules: [{text}]" for text in shuffled]
    assert decision(rules_of(_TOP, *files), *reads, **context) == _decide(rules, reads, context)


@given(many_rules, rule_texts(effects=("deny", "hold")), statement, contexts)
def test_a_further_deny_or_hold_never_allows_more(texts, further, reads, context):
    before = _decide(_named(texts), reads, context)
    after = _decide(_named([*texts, further]), reads, context)
    assert _STRICTNESS[after.effect] >= _STRICTNESS[before.effect]


@given(many_rules, rule_texts(effects=("allow",)), statement, contexts)
def test_a_further_allow_never_refuses_what_was_allowed(texts, further, reads, context):
    before = _decide(_named(texts), reads, context)
    after = _decide(_named([*texts, further]), reads, context)
    assert _STRICTNESS[after.effect] <= _STRICTNESS[before.effect]


@given(many_rules, statement, contexts)
def test_a_statement_is_as_strict_as_its_strictest_access(texts, reads, context):
    rules = _named(texts)
    whole = _decide(rules, reads, context)
    each = [_decide(rules, [read], context).effect for read in reads]
    assert whole.effect == max(each, key=_STRICTNESS.__getitem__, default="allow")


@given(st.lists(rule_texts(), min_size=1, max_size=6), st.lists(accesses(), min_size=1, max_size=3), st.data())
def test_what_was_decided_before_changes_nothing(texts, reads, data):
    """A rule set remembers which rules accesses meet, and a decision what conditions told: by all that it hangs on."""
    rules = _named(texts)
    asked_before = one_of(*rules, top=_TOP)
    for context in data.draw(st.lists(contexts, min_size=2, max_size=5)):
        assert decision(asked_before, *reads, **context) == _decide(rules, reads, context)


def test_a_rule_set_that_was_asked_by_one_answers_another_anew():
    """What is remembered of the rules that an access meets is of that user, these groups, this principal and database."""
    rules = one_of(
        rule("allow: select", "sales.orders", "database: shop", name="a", who="{group: analysts, not: {user: eve}}"),
        rule("deny: select", "sales.orders", name="b", who='{principal: "*@EVIL.COM"}'),
    )
    asked = ({}, {"groups": ()}, {"groups": None}, {"user": "eve"}, {"principal": "alice@EVIL.COM"}, {"database": "x"})
    for _ in range(2):
        found = [str(decision(rules, access(), **{"groups": ("analysts",), **one}).effect) for one in asked]
        assert found == ["allow", "deny", "deny", "deny", "deny", "deny"]


def test_a_condition_that_looks_at_the_statement_is_asked_for_each_of_its_accesses():
    """Rules that say the same share a condition; what it told of one access is not what it tells of the next."""
    absent, present = (
        access("delete", name, where=Where(present=p)) for name, p in (("sales.a", False), ("sales.b", True))
    )
    when = "when: {statement: {where: absent}}"
    rules = one_of(
        rule("allow: delete", "'sales.*'", name="a"),
        rule("deny: delete", "sales.a", when, name="b"),
        rule("deny: delete", "sales.b", when, name="c"),
    )
    for order in ((absent, present), (present, absent)):
        assert decision(rules, *order).rules == ("b",)
