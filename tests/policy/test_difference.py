"""What changes between two rule sets: never nothing where a decision changes, and in words that say what."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgguard.model.access import Access, Where
from pgguard.model.context import Unknown
from pgguard.model.decision import Effect
from pgguard.model.facts import Facts
from pgguard.policy import difference as differences
from pgguard.policy import meeting, parts
from pgguard.policy.covering import who_covers
from pgguard.policy.difference import difference
from pgguard.policy.in_words import rule_in_words
from pgguard.policy.parts import Side
from pgguard.policy.patterns import NamePattern
from pgguard.policy.rule_set import RuleSet

from .asking import access, decision, one_of, rule, rules_of


def _told(old: str | list[str], new: str | list[str], top: str = "") -> list[str]:
    """Each change in a line, with what stays of it behind an arrow."""
    before, after = (one_of(*([rules] if isinstance(rules, str) else rules), top=top) for rules in (old, new))
    found = difference(before, after)
    return [
        f"{change.sort}: {rule_in_words(change.part)}" + "".join(f" -> {rule_in_words(s)}" for s in change.still)
        for change in found.changes
    ]


ORDERS = rule("allow: select")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ([], ORDERS, ["gained: everyone: select on sales.orders"]),
        (ORDERS, [], ["lost: everyone: select on sales.orders"]),
        (ORDERS, rule("allow: SELECT", "[sales.orders]", name="other"), []),
        (
            rule("allow: [select, insert, delete]", "[sales.orders, sales.items]"),
            rule("allow: [select, delete]", "[sales.orders, sales.items]"),
            ["lost: everyone: insert on sales.orders, sales.items"],
        ),
        (
            rule("allow: select", "sales.orders", "columns: [id, total, card]"),
            [rule("allow: select", "sales.orders", "columns: [id]"), rule("allow: select", "sales.*", "columns: ['t*']", name="t")],
            [
                "lost: everyone: select on sales.orders (column card)",
                "gained: everyone: select on sales.* (column t*) -> everyone: select on sales.orders (column total)",
            ],
        ),
        (
            ORDERS,
            rule("allow: select", "sales.orders", "when: {days: mon-fri}"),
            ["lost: everyone: select on sales.orders -> everyone: select on sales.orders, mon-fri UTC"],
        ),
        (
            rule("allow: select", "sales.*", who="{group: [analysts, dba, support]}"),
            rule("allow: select", "sales.*", who="{group: [dba, a*]}"),
            [
                "lost: group support: select on sales.*",
                "gained: group a*: select on sales.* -> group analysts: select on sales.*",
            ],
        ),
        (
            rule("deny: write", "'*.*'", "when: [{days: sat}, {from: 10.0.0.0/8}]"),
            rule("deny: write", "'*.*'", "when: {from: 10.0.0.0/9}"),
            [
                ("no longer denied: everyone: insert, update, delete, truncate on *.*, sat UTC or from 10.0.0.0/8"
                " -> everyone: insert, update, delete, truncate on *.*, from 10.0.0.0/9")
            ],
        ),
        (
            rule("hold: delete", "sales.*", "approvers: {group: dba}"),
            rule("hold: delete", "sales.*", "approvers: {group: dba, count: 2}", "timeout: 1h"),
            [
                ("held: everyone: delete on sales.*, until 2 of group dba approve it, within 1h"
                " -> everyone: delete on sales.*, until 1 of group dba approve it, within 15m"),
                ("no longer held: everyone: delete on sales.*, until 1 of group dba approve it, within 15m"
                " -> everyone: delete on sales.*, until 2 of group dba approve it, within 1h"),
            ],
        ),
        (
            rule("allow: select", "sales.*", "max_rows: 10"),
            rule("allow: select", "sales.*", "max_rows: 20"),
            ["gained: everyone: select on sales.*, at most 20 rows -> everyone: select on sales.*, at most 10 rows"],
        ),
        (
            rule("deny: select", "sales.*", "mode: observe"),
            rule("deny: select", "sales.*"),
            ["denied: everyone: select on sales.* -> everyone: select on sales.*, only observed"],
        ),
        (
            rule("deny: all", "{any: '*'}"),
            [rule("deny: all", "{any: '*'}", who="{not: {group: dba}}")],
            ["no longer denied: everyone: all on anything -> not group dba: all on anything"],
        ),
        (
            rule("allow: execute", "{function: app.f}"),
            rule("allow: execute", "{function: 'app.f(integer)'}"),
            ["lost: everyone: execute on function app.f -> everyone: execute on function app.f(integer)"],
        ),
        (
            [ORDERS, rule("deny: select", "sales.*", name="no")],
            [rule("deny: select", "sales.*", name="no")],
            [],  # the deny took it back
        ),
    ],
)  # fmt: skip
def test_what_changes_is_told_with_what_stays_of_it(old: str | list[str], new: str | list[str], told: list[str]):
    assert _told(old, new) == told


def test_a_label_that_means_other_columns_changes_the_rules_that_name_it():
    pii = rule("deny: select", "'*.*'", "columns: {label: pii}")
    wide = one_of(pii, top="labels: {pii: [a.b.card, a.b.ssn]}")
    found = difference(wide, one_of(pii, top="labels: {pii: [a.b.card]}"))
    assert [change.sort for change in found.changes] == ["no longer denied"]
    assert found.others == ('label "pii" drops a.b.ssn',)


def test_a_named_condition_that_means_something_else_changes_the_rules_that_use_it():
    office = rule("allow: select", "sales.*", "when: {is: office}")
    top = 'conditions: {{office: {{days: mon-fri, hours: "{}"}}}}'
    before, after = (one_of(office, top=top.format(hours)) for hours in ("08:00-18:00", "09:00-18:00"))
    assert [change.sort for change in difference(before, after).changes] == ["lost", "gained"]


def test_true_and_one_are_two_values():
    """Python takes one for the other, and a probe does not."""
    top = "probes: {p: {file: /f, every: 1s}}"
    yes, one = (rule("allow: select", "sales.*", f"when: {{state: {{p: {value}}}}}") for value in ("true", "1"))
    assert len(_told(yes, one, top)) == 2


def test_the_same_decision_with_another_message_probe_or_name_is_told_apart():
    deny = rule("deny: select", "sales.*", "message: not now")
    other = difference(one_of(deny), one_of(deny.replace("not now", "never")))
    assert (other.changes, other.others) == ((), ('rule "r": message "not now" becomes "never"',))
    assert other.differs
    polled = [one_of(ORDERS, top=f"probes: {{p: {{file: /f, every: {every}s}}}}") for every in (1, 2)]
    assert difference(*polled).others == ('probe "p": every 1.0 becomes 2.0',)
    renamed = difference(one_of(ORDERS), one_of(ORDERS.replace("name: r", "name: s")))
    assert renamed.notes == ('rule "r" is called "s" now',)
    assert not renamed.differs
    beside = difference(
        one_of(ORDERS), one_of(ORDERS, rule("allow: select", "sales.orders", "columns: [id]", name="b"))
    )
    assert beside.notes == ('rule "b" is new: others decide the same',)


def test_what_the_audit_hides_is_told():
    """It decides nothing, but a change that shows what was hidden must not pass for none."""
    top = "labels: {pii: [a.b.c]}"
    hides = one_of(rule("allow: select", "sales.*", "redact: drop"), top=f"{top}\nredact: {{pii: hash}}")
    found = difference(hides, one_of(rule("allow: select", "sales.*"), top=top))
    assert (found.changes, found.notes) == ((), ())
    assert found.others == ('rule "r": redact drop becomes (none)', 'label "pii": redact hash becomes (none)')


def test_an_approval_for_a_session_belongs_to_a_rule_by_its_name():
    """Of two rules where there was one, each asks for an approval of its own."""
    more = ("approvers: {group: dba}", "covers: session", "for: 1h")
    one = rule("hold: delete", "[sales.a, sales.b]", *more)
    two = [rule("hold: delete", f"sales.{name}", *more, name=name) for name in "ab"]
    assert len(_told(one, two)) == 3


# what holds for all rule sets

_TOP = "probes: {p: {file: /f, every: 1s}}\nlabels: {pii: [sales.*.card, 'hr.*.*']}\nconditions: {c: {state: {p: true}}}"  # fmt: skip
_WHO = (
    "everyone", "{group: analysts}", "{group: [analysts, dba]}", "{group: 'a*'}", "{not: {group: dba}}",
    "{group: {all: [analysts, dba]}}", "{user: alice, not: {group: [dba, x]}}", "{user: [alice, bob]}",
    "{principal: '*@EXAMPLE.COM', group: '*'}",
)  # fmt: skip
_ON = (
    "sales.a", "sales.*", "[sales.a, sales.b]", "'*.a'", "'*.*'", "'pg_*.*'", "'pg_*.a'", "{table: 's*.*'}",
    "{any: '*'}", "{function: 'app.f(integer)', table: hr.a}", "{function: app.f, table: sales.a}", "{database: shop}",
)  # fmt: skip
_COLUMNS = (
    "[id]", "[id, card]", "['*']", "['c*', xmin]", "[xmin]", "{except: [id]}", "{except: ['c*']}",
    "{except: [id, card]}", "{label: pii}", "{except: {label: pii}}",
)  # fmt: skip
_MAPS = (
    "{transaction: {block: true}}", "{transaction: {block: true, read_only: false}}", "{is: c}",
    '{estimated_rows: "> 10"}', '{estimated_rows: ">= 10"}', "{state: {p: true}}", "{state: {p: 1}}",
    '{state: {p: [">= 1", x]}}', "{from: 10.0.0.0/8}", "{from: [10.1.0.0/16, '::/0']}", "{statement: {where: present}}",
    "{statement: {where: {equals: [id]}}}", "{days: [mon, thu]}", '{hours: "22:00-02:00", days: thu}', "{days: thu}",
    '{hours: "22:00-02:00"}', "{transport: [plain, tls]}", "{application: 'ps*'}", "{application: [psql, x]}",
    "{statement: {kind: ['SELECT*']}}", "{statement: {kind: select}}", "{reason: 'INC-*'}",
    "{ticket: {max_age: 8h}}", "{ticket: {max_age: 9h}}", "{transaction: {block: true}, from: 10.0.0.0/8}",
)  # fmt: skip


@st.composite
def _rules(draw: st.DrawFn) -> str:
    """The parts of a rule, its name a hole."""
    effect = draw(st.sampled_from(("allow", "allow", "deny", "hold")))
    on = draw(st.sampled_from(_ON))
    privileges = {"{database": "[temp, connect]", "{function": "[execute, select]", "{any": "all"}.get(on.split(":")[0])
    privileges = privileges or draw(st.sampled_from(("select", "[select, update]", "read", "all")))
    parts = []
    if "all" not in privileges and "{" not in on and draw(st.booleans()):
        parts.append(f"columns: {draw(st.sampled_from(_COLUMNS))}")
    if effect == "hold":
        parts.append(draw(st.sampled_from(("approvers: {group: dba}", "approvers: {group: dba, count: 2}"))))
        parts += draw(st.sampled_from(([], [], ["covers: session", "for: 1h"])))
    if effect == "allow":
        parts += draw(st.sampled_from(([], [], ["max_rows: 5"], ["max_rows: 9"], ['until: "1970-01-01"'])))
    maps = draw(st.lists(st.sampled_from(_MAPS), max_size=2, unique=True))
    if maps:
        parts.append(f"{draw(st.sampled_from(('when', 'unless')))}: [{', '.join(maps)}]")
    parts += draw(st.sampled_from(([], [], [], ["mode: observe"], ["database: shop"])))
    who = draw(st.sampled_from(_WHO))
    return rule(f"{effect}: {privileges}", on, *parts, name="NAME", who=who)


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Two rule sets that have much in common."""
    old = draw(st.lists(_rules(), max_size=4))
    new = draw(st.permutations(old))
    for _ in range(draw(st.integers(0, 2))):
        if new and draw(st.booleans()):
            new.pop()
        else:
            new.append(draw(_rules()))
    return old, new


def _set(rules: list[str]) -> RuleSet:
    return one_of(*(text.replace("NAME", f"r{number}") for number, text in enumerate(rules)), top=_TOP)


@st.composite
def _accesses(draw: st.DrawFn) -> Access:
    columns = tuple(sorted(draw(st.sets(st.sampled_from(("id", "card", "xmin"))))))
    kind = draw(st.sampled_from(("table", "table", "table", "function", "database")))
    if kind == "function":
        return access("execute", "app.f", kind="function", arguments=draw(st.sampled_from((("integer",), ()))))
    if kind == "database":
        return access("temp", "shop", kind="database")
    return access(
        draw(st.sampled_from(("select", "update", "drop"))),
        draw(st.sampled_from(("sales.a", "sales.b", "hr.a", "pg_catalog.a"))),
        columns,
        candidates=() if columns else draw(st.sampled_from((("card", "id"), ()))),
        ancestors=draw(st.sampled_from(((), ("sales.a",)))),
        temporary=draw(st.booleans()),
        where=draw(st.sampled_from((None, Where(True), Where(True, ("id",)), Where(False)))),
    )


_contexts = st.fixed_dictionaries(
    {
        "user": st.sampled_from(("alice", "bob", "carol")),
        "groups": st.sampled_from((None, (), ("analysts",), ("dba",), ("analysts", "dba"), ("abc",))),
        "block": st.sampled_from((None, True, False)),
        "read_only": st.sampled_from((None, True, False)),
        "state": st.sampled_from(({}, {"p": True}, {"p": 1}, {"p": "x"}, {"p": 0})),
        "address": st.sampled_from((None, "10.1.1.1", "10.2.1.1", "::1")),
        "application": st.sampled_from(("psql", "x", "")),
        "reason": st.sampled_from(("", "INC-1")),
        "database": st.sampled_from(("shop", "other")),
        "at": st.sampled_from((0.0, 3600.0, 23 * 3600.0, 90000.0)),
        "estimated_rows": st.sampled_from((5.0, 10.0, 50.0, Unknown.UNKNOWN, Unknown.SKIPPED)),
    }
)
_requests = st.lists(st.tuples(st.lists(_accesses(), max_size=2), _contexts), min_size=4, max_size=8)


@settings(max_examples=150)
@given(_pairs(), _requests)
def test_where_a_decision_changes_there_is_a_difference(pair: tuple[list[str], list[str]], requests):
    old, new = map(_set, pair)
    found = difference(old, new)
    if not found.changes:
        for accesses, context in requests:
            before, after = (_decided(rules, accesses, context) for rules in (old, new))
            assert before == after, (found, context, accesses)


def _decided(rules: RuleSet, accesses: list[Access], context: dict[str, object]) -> tuple[object, ...]:
    """What a decision comes to, whatever the rules are called."""
    made = decision(rules, *accesses, facts=Facts("SELECT"), **context)
    holds = {msgspec.structs.replace(hold, rule="") for hold in made.holds}
    observed = made.observed or made.effect
    return made.effect, [d.effect for d in made.accesses], made.max_rows, holds, observed


@settings(max_examples=50)
@given(st.lists(_rules(), max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_rules_is_no_difference(rules: list[str], random):
    named = [text.replace("NAME", f"r{number}") for number, text in enumerate(rules)]
    found = difference(one_of(*named, top=_TOP), one_of(*random.sample(named, len(named)), top=_TOP))
    assert (found.changes, found.others, found.notes) == ((), (), ())


# with many rules


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("allow: select|sales.orders|columns: [a, b]", "allow: select|sales.orders|columns: [a, c]"),
        ("allow: select|sales.tN", "deny: select|'sN.*'"),
        ("deny: select|'sN.*'", "deny: select|'sN.t*'"),
        ("allow: select|sales.tN", "allow: select|sales.tN"),
    ],
    ids=["on one table", "into patterns", "from patterns", "renamed"],
)
def test_the_work_grows_with_the_rules_and_not_with_their_square(old: str, new: str, monkeypatch: pytest.MonkeyPatch):
    """Ten thousand rules of groups of their own on one table, or renamed, took minutes."""
    called = 0

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def count(*words: object, **more: object) -> object:
            nonlocal called
            called += 1
            return call(*words, **more)

        return count

    monkeypatch.setattr(parts, "who_covers", counted(parts.who_covers))
    monkeypatch.setattr(meeting, "condition_covers", counted(meeting.condition_covers))
    monkeypatch.setattr(differences, "_nameless", counted(differences._nameless))
    monkeypatch.setattr(NamePattern, "covers", counted(NamePattern.covers))
    sides = [
        rules_of(
            "rules:" + "".join(f"\n  - {text.replace('everyone', f'{{group: g{n}}}')}" for n, text in enumerate(some))
        )
        for some in (
            [rule(*old.replace("N", str(n)).split("|"), name=f"r{n}") for n in range(200)],
            [rule(*new.replace("N", str(n)).split("|"), name=f"{'q' if old == new else 'r'}{n}") for n in range(200)],
        )
    ]
    found = difference(*sides)
    assert len(found.changes if old != new else found.notes) >= 200
    assert called < 200 * 20


_names = st.lists(st.sampled_from(["a", "b", "c", "a*", "*"]), min_size=1, max_size=2, unique=True)
_whos = st.fixed_dictionaries({}, optional={"user": _names, "group": _names | st.fixed_dictionaries({"all": _names})})


@given(st.lists(_whos, min_size=1, max_size=5), _whos)
def test_whom_rules_are_found_by_leaves_out_none_that_could_matter(people: list[dict[str, Any]], asked: dict[str, Any]):
    def who_of(who: dict[str, Any]) -> str:
        return json.dumps(who) if who else "everyone"

    side = Side(one_of(*(rule("allow: select", who=who_of(who), name=f"r{n}") for n, who in enumerate(people))).rules)
    (part,) = one_of(rule("allow: select", who=who_of(asked), name="part")).rules
    covering = {r.name for r in side.covering(part, Effect.ALLOW)}
    near = {r.name for r in side.near(part)}
    for one in side.rules:
        if who_covers(one.who, part.who):
            assert one.name in covering & near
        if who_covers(part.who, one.who):
            assert one.name in near
