"""Learning rules from what was done: whatever it was, by whomever, the rules load and allow it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgguard.model.access import COLUMN_PRIVILEGES, PRIVILEGES_OF, Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.facts import Facts
from pgguard.policy.learning import Need, learn, needs_of, pattern_of, refused, written
from pgguard.policy.warnings import Table

from .asking import one_of, rules_of

_GROUPS = {
    "alice": frozenset({"a", "all"}),
    "ann": frozenset({"a", "all"}),
    "bob": frozenset({"all"}),
    "eve": frozenset(),
}
_BASE = one_of()


def _need(user: str, name: str = "orders", columns: tuple[str, ...] | None = ("id",)) -> Need:
    return Need(user, "shop", Privilege.SELECT, Kind.TABLE, ObjectName(name, "sales"), columns)


def _whose(*users: str, groups: dict[str, frozenset[str]] = _GROUPS) -> list[tuple[str, ...]]:
    return [(*rule.groups, *rule.users) for rule in learn([_need(user) for user in users], groups, None)]


def test_the_fewest_groups_cover_the_users():
    assert _whose("alice", "ann", "bob") == [("all",)]
    assert _whose("alice", "ann") == [("a",)]


def test_a_group_is_not_opened_for_the_few_of_its_members_that_were_seen():
    many = {f"u{number}": frozenset({"all"}) for number in range(5)}
    assert _whose("u1", "u2", groups=many) == [("u1", "u2")]
    assert _whose("u1", "u2", "u3", groups=many) == [("all",)]


def test_what_says_the_same_becomes_one_rule():
    needs = [_need("alice", name, ("id", "total")) for name in ("orders", "items")]
    more = [_need("eve", "orders", ("id", "total")), _need("eve", "items", ("id", "total"))]
    found = learn([*needs, *more], {"alice": frozenset({"a"}), "eve": frozenset({"b"})}, None)
    assert [(rule.groups, rule.patterns, rule.columns) for rule in found] == [
        (("a", "b"), ("sales.items", "sales.orders"), ("id", "total"))
    ]


def test_a_schema_stands_for_its_tables_only_when_all_were_used_whole():
    tables = [Table("sales", name, ("id",), {}) for name in ("a", "b")]
    whole = learn([_need("eve", "a"), _need("eve", "b")], _GROUPS, tables)
    assert [(rule.patterns, rule.columns) for rule in whole] == [(("sales.*",), None)]
    part = learn([_need("eve", "a"), _need("eve", "b")], _GROUPS, [*tables, Table("sales", "c", ("id",), {})])
    assert [rule.patterns for rule in part] == [("sales.a", "sales.b")]


@pytest.mark.parametrize(
    ("kind", "name", "pattern"),
    [
        ("table", ObjectName("Order Items", "sales"), 'sales."Order Items"'),
        ("table", ObjectName('a"b*', "x.y"), '"x.y"."a""b*"'),
        ("function", ObjectName("f", "app", ("integer", "character varying")), "app.f(integer, character varying)"),
        ("function", ObjectName("f", "app", ()), "app.f()"),
        ("operator", ObjectName("+", "app"), 'app."+"'),
        ("role", ObjectName("Admin"), '"Admin"'),
        ("setting", ObjectName("work_mem"), "work_mem"),
        ("server", ObjectName("/tmp/a b"), "/tmp/a b"),
    ],
)
def test_a_name_is_written_as_its_pattern(kind: str, name: ObjectName, pattern: str):
    assert pattern_of(Kind(kind), name) == pattern


_names = st.sampled_from(("orders", "Order Items", "true", "a*b", 'q"q', "1", "überweisung", "null", "no: {}", "#x"))


@st.composite
def _accesses(draw: st.DrawFn) -> Access:
    kind = draw(st.sampled_from((Kind.TABLE, Kind.TABLE, Kind.FUNCTION, Kind.ROLE, Kind.SETTING, Kind.SEQUENCE)))
    schema = None if kind in {Kind.ROLE, Kind.SETTING} else draw(st.sampled_from(("sales", "pg_catalog", "S x")))
    privilege = draw(st.sampled_from(PRIVILEGES_OF[kind]))
    arguments = draw(st.sampled_from(((), ("integer",), ("text", "app.money")))) if kind is Kind.FUNCTION else None
    columns, candidates = None, ()
    if kind is Kind.TABLE and privilege in COLUMN_PRIVILEGES:
        columns = tuple(sorted(draw(st.sets(st.sampled_from(("id", "Card No", "xmin", "null", "*", "1"))))))
        candidates = () if columns else draw(st.sampled_from(((), ("id", "total"))))
    return Access(
        privilege, kind, ObjectName(draw(_names), schema, arguments), columns, candidates, temporary=draw(st.booleans())
    )


_contexts = st.builds(
    lambda user, database: Context(user, f"{user}@EXAMPLE.COM", database, 0.0, tuple(sorted(_GROUPS[user]))),
    st.sampled_from(sorted(_GROUPS)),
    st.sampled_from(("shop", "Other db")),
)


@given(st.lists(st.tuples(_contexts, _accesses()), max_size=8), st.booleans())
def test_what_was_learnt_loads_and_allows_all_it_was_learnt_from(seen: list[tuple[Context, Access]], catalog: bool):
    needs = [n for context, access in seen for n in needs_of([Facts("X", (access,))], context, _BASE)]
    tables = [Table("sales", name, ("id", "Card No"), {}) for name in ("orders", "true")] if catalog else None
    rules = learn(needs, _GROUPS, tables)
    assert refused(seen, rules_of(written(rules))) == []


def test_what_the_baseline_allows_is_no_need():
    base = rules_of(
        "rules: []",
        baseline="rules: [{name: baseline/x, who: everyone, allow: select, on: sales.orders, columns: [id]}]",
    )
    read = Access(Privilege.SELECT, Kind.TABLE, ObjectName("orders", "sales"), ("card", "id"))
    context = Context("eve", "eve@EXAMPLE.COM", "shop", 0.0, ())
    assert [need.columns for need in needs_of([Facts("SELECT", (read,))], context, base)] == [("card",)]
