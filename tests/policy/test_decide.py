"""Deciding: for each thing a rule can say, a case that it allows and one that it refuses."""

import msgspec
import pytest

from pgguard.model.access import ColumnNote, ObjectName, Where
from pgguard.model.context import Ticket, Transport, Unknown
from pgguard.model.control import Transaction, TransactionVerb
from pgguard.model.facts import Facts
from pgguard.sql.shape import shape_of_text

from .asking import access, at, decision, one_of, rule, says

ALLOW = rule("allow: select", name="open")


# effects


def test_what_no_rule_allows_is_denied():
    assert says(one_of(ALLOW), access()) == "allow"
    assert says(one_of(ALLOW), access("insert")) == "deny"
    assert says(one_of(), access()) == "deny"


def test_a_deny_wins_over_every_allow_and_a_hold_grants_nothing():
    hold = rule("hold: select", "sales.*", "approvers: {group: dba}", name="wait")
    assert says(one_of(ALLOW, rule("deny: select", "sales.*")), access()) == "deny"
    assert says(one_of(ALLOW, hold), access()) == "hold"
    assert says(one_of(hold), access()) == "deny"
    assert says(one_of(ALLOW, hold, rule("deny: select")), access()) == "deny"


def test_a_statement_is_as_strict_as_its_strictest_access():
    rules = one_of(
        rule("allow: [select, insert]", "sales.*"),
        rule("hold: insert", "sales.b", "approvers: {group: dba}", name="wait"),
    )
    assert says(rules, access(name="sales.a"), access("insert", "sales.b")) == "hold"
    assert says(rules, access(name="sales.a"), access("insert", "sales.b"), access("delete", "sales.a")) == "deny"
    assert decision(rules, access(), access("insert", "sales.b")).rules == ("wait",)


def test_a_statement_without_accesses_passes_but_for_the_kill_switch():
    switch = rule("deny: all", '{any: "*"}')
    end = Facts("COMMIT", control=Transaction(TransactionVerb.COMMIT, ends=True))
    assert says(one_of(), facts=Facts("BEGIN")) == "allow"
    assert says(one_of(switch), facts=Facts("BEGIN")) == "deny"
    assert says(one_of(switch), facts=end) == "allow"
    assert says(one_of(ALLOW, switch), access()) == "deny"
    assert says(one_of(rule("deny: select", '{any: "*"}')), facts=Facts("BEGIN")) == "allow"


# privileges and kinds


@pytest.mark.parametrize(
    ("effect", "on", "inside", "outside"),
    [
        ("allow: read", "sales.orders", access(), access("insert")),
        ("allow: write", "sales.orders", access("truncate"), access()),
        ("allow: ddl", "sales.orders", access("drop"), access("grant")),
        ("allow: all", "sales.orders", access("maintain"), access("drop")),
        ("allow: ALL", "sales.orders", access("lock"), access("grant")),
        ("allow: read", '{large_object: "*"}', access("read", "7", kind="large_object"), access()),
        ("allow: execute", '{function: "app.f"}', access("execute", "app.f", kind="function", arguments=("text",)),
         access("execute", "app.g", kind="function", arguments=())),
        ("allow: execute", '{function: "app.f(integer, text)"}',
         access("execute", "app.f", kind="function", arguments=("integer", "text")),
         access("execute", "app.f", kind="function", arguments=("integer",))),
        ("allow: usage", "{sequence: sales.ids}", access("usage", "sales.ids", kind="sequence"),
         access("update", "sales.ids", kind="sequence")),
        ("allow: create", "{schema: staging}", access("create", "staging", kind="schema"),
         access("create", "sales", kind="schema")),
        ("allow: set", "{setting: Work_Mem}", access("set", "WORK_MEM", kind="setting"),
         access("set", "role", kind="setting")),
        ("allow: listen", "{channel: jobs}", access("listen", "jobs", kind="channel"),
         access("notify", "jobs", kind="channel")),
        ("allow: become", "{role: app_owner}", access("become", "app_owner", kind="role"),
         access("become", "postgres", kind="role")),
        ("allow: run", "{language: plpgsql}", access("run", "plpgsql", kind="language"),
         access("run", "plperlu", kind="language")),
        ("allow: read_file", '{server: "/import/*"}', access("read_file", "/import/a.csv", kind="server"),
         access("read_file", "/etc/passwd", kind="server")),
        ("allow: all", '{any: "*"}', access("drop", "sales.x"), None),
    ],
)  # fmt: skip
def test_privileges_and_kinds(effect: str, on: str, inside: object, outside: object):
    rules = one_of(rule(effect, on))
    assert says(rules, inside) == "allow"
    if outside is not None:
        assert says(rules, outside) == "deny"


@pytest.mark.parametrize(
    ("written", "arguments", "found"),
    [
        ("app.f(int, varchar)", ("integer", "character varying"), True),
        ("app.f(int, varchar)", ("bigint", "character varying"), False),
        ("app.f(timestamptz[])", ("timestamp with time zone[]",), True),
        ("app.f( double  precision )", ("double precision",), True),
        ("app.f(app.money)", ("app.money",), True),
        ("app.f()", (), True),
        ("app.f()", ("integer",), False),
    ],
)
def test_an_overload_is_named_by_any_spelling_of_its_types(written: str, arguments: tuple[str, ...], found: bool):
    """A rule on `app.f(int)` was about no function: PostgreSQL takes that spelling, and knows it as integer."""
    call = access("execute", "app.f", kind="function", arguments=arguments)
    rules = one_of(rule("allow: execute", f'{{function: "{written}"}}'))
    assert says(rules, call) == ("allow" if found else "deny")


def test_all_of_a_deny_is_everything():
    rules = one_of(rule("allow: [ddl, grant]", name="a"), rule("deny: all", name="d"))
    assert says(rules, access("drop")) == "deny"
    assert says(one_of(rule("allow: [ddl, grant]")), access("grant")) == "allow"


# patterns


@pytest.mark.parametrize(
    ("on", "name", "found"),
    [
        ("sales.orders", "sales.orders", True),
        ("sales.orders", "sales.orders2", False),
        ("sales.*", "sales.orders", True),
        ("sales.*", "sales2.orders", False),
        ('"*.orders"', "hr.orders", True),
        ('"*.*"', "hr.x", True),
        ('"*.*"', "pg_catalog.pg_authid", False),
        ('"*.*"', "information_schema.tables", False),
        ('"*.*"', "pg_temp_3.x", False),
        ('"pg_*.*"', "pg_catalog.pg_class", True),
        ("pg_catalog.*", "pg_catalog.pg_class", True),
        ("'information_*.*'", "information_schema.tables", True),
        ("sales.o*s", "sales.os", True),
        ("sales.o*s", "sales.orders_", False),
        ("'sales.\"Order Items\"'", "sales.Order Items", True),
        ("'sales.\"Order\"*'", "sales.Orders", True),
        ("'sales.\"or*\"'", "sales.orders", False),
        ("'sales.\"or*\"'", "sales.or*", True),
        ("sales.o_d", "sales.oxd", False),
        ("[hr.a, sales.orders]", "sales.orders", True),
    ],
)
def test_patterns(on: str, name: str, found: bool):  # an expected value
    assert says(one_of(rule("allow: select", on)), access(name=name)) == ("allow" if found else "deny")


def test_no_name_that_a_client_chooses_makes_a_pattern_slow():
    """Each `*` multiplied the time: a reason of a few kilobytes against four of them stopped the worker."""
    reason = "-" * 100_000
    rules = one_of(ALLOW, rule("deny: select", "sales.orders", 'when: {reason: "*-*-*-*-*-*x"}'))
    assert says(rules, access(), reason=reason) == "allow"
    assert says(rules, access(), reason=reason + "x") == "deny"


# columns


def test_columns_are_covered_jointly_and_only_the_missing_are_named():
    rules = one_of(
        rule("allow: select", "sales.orders", "columns: [id]", name="a"),
        rule("allow: select", "sales.orders", 'columns: ["t*"]', name="b"),
    )
    assert decision(rules, access(columns=("id", "total"))).rules == ("a", "b")
    (found,) = decision(rules, access(columns=("card", "id", "total"))).accesses
    assert (found.effect, found.missing) == ("deny", ("card",))


@pytest.mark.parametrize("effect", ["deny: select", "hold: select"])
def test_deny_and_hold_match_by_one_shared_column(effect: str):
    more = () if effect.startswith("deny") else ("approvers: {group: dba}",)
    rules = one_of(ALLOW, rule(effect, "sales.orders", "columns: [card]", *more))
    assert says(rules, access(columns=("card", "id"))) == effect.split(":", maxsplit=1)[0]
    assert says(rules, access(columns=("id", "total"))) == "allow"


def test_except_covers_the_other_columns():
    rules = one_of(rule("allow: select", "sales.orders", "columns: {except: [card]}"))
    assert says(rules, access(columns=("ctid", "id"))) == "allow"
    assert says(rules, access(columns=("card", "id"))) == "deny"


def test_system_columns_must_be_named_where_columns_are():
    named = one_of(rule("allow: select", "sales.orders", 'columns: ["*"]'))
    assert says(named, access(columns=("xmin",))) == "deny"
    assert says(one_of(rule("allow: select", "sales.orders", "columns: [xmin]")), access(columns=("xmin",))) == "allow"
    assert says(one_of(ALLOW), access(columns=("xmin",))) == "allow"


def test_a_read_of_no_column_fares_as_its_best_column():
    count = access(columns=(), candidates=("card", "id"))
    one = rule("allow: select", "sales.orders", "columns: [id]", name="a")
    assert says(one_of(one), count) == "allow"
    assert says(one_of(one, rule("deny: select", "sales.orders", "columns: [card]")), count) == "allow"
    assert says(one_of(one, rule("deny: select", "sales.orders", "columns: [id]")), count) == "deny"
    assert says(one_of(rule("allow: select", "sales.orders", "columns: [other]")), count) == "deny"


def test_a_read_of_no_column_has_the_limit_of_the_column_with_the_largest():
    """It had the limit of the first column in the alphabet that may be read."""
    count = access(columns=(), candidates=("card", "id"))
    few = rule("allow: select", "sales.orders", "columns: [card]", "max_rows: 5", name="few")
    more = rule("allow: select", "sales.orders", "columns: [id]", "max_rows: 50", name="more")
    assert decision(one_of(few, more), count).max_rows == 50
    assert (
        decision(one_of(few, rule("allow: select", "sales.orders", "columns: [id]", name="all")), count).max_rows
        is None
    )
    other = access(name="sales.other")
    least = rule("allow: select", "sales.other", "max_rows: 2", name="least")
    assert decision(one_of(few, more, least), other, count).max_rows == 2


def test_labels_reach_columns_by_name_by_comment_and_through_views():
    labels = 'labels: {pii: [sales.*.card, {comment: "*@pii*"}]}'
    rules = one_of(
        rule("allow: select", "'*.*'", name="a"), rule("deny: select", "'*.*'", "columns: {label: pii}"), top=labels
    )

    def noted(column: str, **note: object) -> str:
        read = access(name="app.v", columns=(column,))
        return says(rules, msgspec.structs.replace(read, notes=(ColumnNote(column, **note),)))

    assert says(rules, access(columns=("card",))) == "deny"
    assert says(rules, access(name="hr.orders", columns=("card",))) == "allow"
    assert noted("number", comment="the card @pii") == "deny"
    assert noted("number", comment="the card") == "allow"
    assert noted("number", sources=(("sales", "orders", "card"),)) == "deny"
    assert noted("number", sources=(("sales", "orders", "id"),)) == "allow"


# relations


def test_deny_and_hold_on_a_parent_reach_its_partitions_and_allow_does_not():
    part = access(name="sales.orders_2026", ancestors=("sales.orders",))
    assert says(one_of(rule("allow: select", "sales.*"), rule("deny: select", name="d")), part) == "deny"
    hold = rule("hold: select", "sales.orders", "approvers: {group: dba}", name="h")
    assert says(one_of(rule("allow: select", "sales.*"), hold), part) == "hold"
    assert says(one_of(ALLOW), part) == "deny"


def test_who_has_temp_may_do_all_on_temporary_tables_of_their_own():
    temp = rule("allow: temp", "{database: shop}", name="t")
    mine = access("drop", "pg_temp.scratch", temporary=True)
    assert says(one_of(temp), mine) == "allow"
    assert says(one_of(temp), access("drop", "pg_temp.scratch")) == "deny"
    assert says(one_of(), mine) == "deny"
    assert says(one_of(temp, rule("deny: temp", "{database: shop}", name="d")), mine) == "deny"


# who, database, until, max_rows, observe


@pytest.mark.parametrize(
    ("who", "context", "found"),
    [
        ("everyone", {}, True),
        ("{user: alice}", {}, True),
        ("{user: Alice}", {}, False),
        ("{user: [bob, 'al*']}", {}, True),
        ("{principal: '*@EXAMPLE.COM'}", {}, True),
        ("{principal: '*@OTHER.COM'}", {}, False),
        ("{group: ANALYSTS}", {}, True),
        ("{group: [dba, support]}", {}, False),
        ("{group: {all: [analysts, dba]}}", {}, False),
        ("{group: {all: [analysts, dba]}}", {"groups": ("analysts", "dba")}, True),
        ("{group: analysts, user: bob}", {}, False),
        ("{group: analysts, not: {user: alice}}", {}, False),
        ("{group: analysts, not: {user: bob}}", {}, True),
        ("{not: {group: dba}}", {}, True),
        ("{not: {group: dba}}", {"groups": None}, False),
        ("{group: analysts}", {"groups": None}, False),
        ("{user: alice}", {"groups": None}, True),
    ],
)
def test_who(who: str, context: dict[str, object], found: bool):  # an expected value
    rules = one_of(rule("allow: select", who=who))
    assert says(rules, access(), **context) == ("allow" if found else "deny")


def test_a_deny_for_a_group_holds_while_the_directory_cannot_tell():
    rules = one_of(ALLOW, rule("deny: select", who="{group: contractors}"))
    assert says(rules, access()) == "allow"
    assert says(rules, access(), groups=None) == "deny"


def test_databases():
    rules = one_of(rule("allow: select", "sales.orders", 'database: [shop, "test_*"]'))
    assert says(rules, access()) == "allow"
    assert says(rules, access(), database="test_1") == "allow"
    assert says(rules, access(), database="bank") == "deny"


def test_until_is_the_last_day_in_utc():
    rules = one_of(rule("allow: select", "sales.orders", "until: 2026-03-02"))
    assert says(rules, access(), at=at("2026-03-02T23:59:59+00:00")) == "allow"
    assert says(rules, access(), at=at("2026-03-03T00:00:00+00:00")) == "deny"
    assert says(rules, access(), at=at("2026-03-03T00:30:00+01:00")) == "allow"


def test_of_covering_rules_the_largest_max_rows_counts_and_of_accesses_the_smallest():
    few = rule("allow: select", "sales.*", "max_rows: 5", name="few")
    more = rule("allow: select", "sales.orders", "max_rows: 50", name="more")
    assert decision(one_of(few, more), access()).max_rows == 50
    assert decision(one_of(few, more), access(), access(name="sales.other")).max_rows == 5
    assert decision(one_of(few, ALLOW), access()).max_rows is None
    assert decision(one_of(few, ALLOW), access(), access(name="sales.other")).max_rows == 5


def test_an_observed_rule_decides_nothing_and_is_told():
    rules = one_of(ALLOW, rule("deny: select", "sales.orders", "mode: observe", name="watched"))
    found = decision(rules, access())
    assert (found.effect, found.observed, found.observed_rules) == ("allow", "deny", ("watched",))
    widened = one_of(rule("allow: select", "sales.orders", "mode: observe", name="watched"))
    found = decision(widened, access())
    assert (found.effect, found.observed) == ("deny", "allow")
    assert decision(one_of(ALLOW), access()).observed is None


# conditions


def when(text: str, *, top: str = "", **context: object) -> str:
    """Whether an allow and a deny with this condition apply: both as they should, or "unknown"."""
    facts = context.pop("facts", None)
    read = context.pop("read", access())
    allowed = says(
        one_of(rule("allow: select", "sales.orders", f"when: {text}"), top=top), read, facts=facts, **context
    )
    denied = says(
        one_of(ALLOW, rule("deny: select", "sales.orders", f"when: {text}"), top=top), read, facts=facts, **context
    )
    return {("allow", "deny"): "holds", ("deny", "allow"): "fails", ("deny", "deny"): "unknown"}[allowed, denied]


@pytest.mark.parametrize(
    ("text", "moment", "found"),
    [
        ("{days: mon-fri}", "2026-03-02T10:00:00+00:00", "holds"),
        ("{days: mon-fri}", "2026-03-07T10:00:00+00:00", "fails"),
        ("{days: fri-mon}", "2026-03-01T10:00:00+00:00", "holds"),
        ("{days: fri-mon}", "2026-03-03T10:00:00+00:00", "fails"),
        ("{days: [sat, sun]}", "2026-03-07T10:00:00+00:00", "holds"),
        ('{hours: "08:00-18:00"}', "2026-03-02T08:00:00+00:00", "holds"),
        ('{hours: "08:00-18:00"}', "2026-03-02T18:00:00+00:00", "fails"),
        ('{hours: "08:00-24:00"}', "2026-03-02T23:59:59+00:00", "holds"),
        ('{hours: "22:00-06:00"}', "2026-03-02T23:00:00+00:00", "holds"),
        ('{hours: "22:00-06:00"}', "2026-03-02T05:59:59+00:00", "holds"),
        ('{hours: "22:00-06:00"}', "2026-03-02T06:00:00+00:00", "fails"),
        ('{days: fri, hours: "22:00-06:00"}', "2026-03-07T05:00:00+00:00", "holds"),
        ('{days: fri, hours: "22:00-06:00"}', "2026-03-06T05:00:00+00:00", "fails"),
        ('{hours: ["08:00-10:00", "14:00-16:00"]}', "2026-03-02T15:00:00+00:00", "holds"),
        ('{hours: "08:00-18:00", timezone: Europe/Berlin}', "2026-03-27T17:30:00+00:00", "fails"),
        ('{hours: "08:00-18:00", timezone: Europe/Berlin}', "2026-03-30T06:30:00+00:00", "holds"),
        ('{hours: "08:00-18:00", timezone: Europe/Berlin}', "2026-03-27T06:30:00+00:00", "fails"),
        ("{dates: 2026-03-01..2026-03-31}", "2026-03-31T23:59:59+00:00", "holds"),
        ("{dates: 2026-03-01..2026-03-31}", "2026-04-01T00:00:00+00:00", "fails"),
        ("{dates: ..2026-03-31}", "1999-01-01T00:00:00+00:00", "holds"),
        ("{dates: 2026-03-01..}", "2026-02-28T00:00:00+00:00", "fails"),
        ("{dates: 2026-03-01, timezone: Europe/Berlin}", "2026-02-28T23:30:00+00:00", "holds"),
    ],
)
def test_the_clock(text: str, moment: str, found: str):
    assert when(text, at=at(moment)) == found


@pytest.mark.parametrize(
    ("text", "context", "found"),
    [
        ("{from: 10.0.0.0/8}", {"address": "10.1.2.3"}, "holds"),
        ("{from: 10.0.0.0/8}", {"address": "11.1.2.3"}, "fails"),
        ("{from: 10.0.0.0/8}", {"address": None}, "fails"),
        ("{from: [10.0.0.7, '2001:db8::/32']}", {"address": "2001:db8::1"}, "holds"),
        ("{from: '::/0'}", {"address": "10.1.2.3"}, "fails"),
        ("{application: 'psql*'}", {"application": "psql 17"}, "holds"),
        ("{application: 'psql*'}", {"application": ""}, "fails"),
        ("{transport: [gss, tls]}", {"transport": Transport.GSS}, "holds"),
        ("{transport: [gss, tls]}", {"transport": Transport.PLAIN}, "fails"),
        ("{ticket: {indicator: [otp, pkinit]}}", {"ticket": Ticket(9.0, None, ("pkinit",))}, "holds"),
        ("{ticket: {indicator: otp}}", {"ticket": Ticket(9.0)}, "fails"),
        ("{ticket: {max_age: 8h}}", {"at": 28800.0, "ticket": Ticket(9.0, 0.0)}, "holds"),
        ("{ticket: {max_age: 8h}}", {"at": 28801.0, "ticket": Ticket(9.0, 0.0)}, "fails"),
        ("{ticket: {max_age: 8h}}", {"ticket": Ticket(9.0)}, "unknown"),
        ("{ticket: {max_age: 8h}}", {"ticket": None}, "unknown"),
        ("{ticket: {min_left: 5m}}", {"ticket": Ticket(300.0)}, "holds"),
        ("{ticket: {min_left: 5m}}", {"ticket": Ticket(299.0)}, "fails"),
        ("{transaction: {block: true}}", {"block": True}, "holds"),
        ("{transaction: {block: true}}", {"block": False}, "fails"),
        ("{transaction: {block: true}}", {"block": None}, "unknown"),
        ("{transaction: {read_only: true}}", {"read_only": True}, "holds"),
        ("{transaction: {read_only: true}}", {"read_only": None}, "unknown"),
        ('{reason: "INC-*"}', {"reason": "INC-7"}, "holds"),
        ('{reason: "INC-*"}', {"reason": "INC"}, "fails"),
        ('{reason: "*"}', {"reason": ""}, "fails"),
        ('{estimated_rows: "> 1000"}', {"estimated_rows": 1001.0}, "holds"),
        ('{estimated_rows: "> 1000"}', {"estimated_rows": 1000.0}, "fails"),
        ('{estimated_rows: "> 1000"}', {"estimated_rows": Unknown.UNKNOWN}, "unknown"),
    ],
)
def test_circumstances(text: str, context: dict[str, object], found: str):
    assert when(text, **context) == found


_PROBE = "probes: {p: {file: /f, every: 1s}}"


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ('"< 30"', 29.5, "holds"),
        ('"< 30"', 30, "fails"),
        ('"<= 30"', 30, "holds"),
        ('">= 30"', 29, "fails"),
        ('"!= 30"', 29, "holds"),
        ("7", 7.0, "holds"),
        ('"= 7"', 8, "fails"),
        ("false", False, "holds"),
        ("false", True, "fails"),
        ('"!= true"', False, "holds"),
        ("release-*", "release-7", "holds"),
        ("release-*", "freeze", "fails"),
        ('"= release"', "release", "holds"),
        ('"!= release"', "freeze", "holds"),
        ("[1, 2]", 2, "holds"),
        ("[1, 2]", 3, "fails"),
        ('"< 30"', None, "unknown"),
        ('"< 30"', "29", "unknown"),
        ('"< 30"', True, "unknown"),
        ("1", True, "unknown"),
        ("true", 1, "unknown"),
        ("true", "true", "unknown"),
        ("release-*", 7, "unknown"),
        ('"< 30"', float("nan"), "unknown"),
    ],
)
def test_state_compares_by_type_and_another_type_is_unknown(text: str, value: object, found: str):
    state = {} if value is None else {"p": value}
    assert when(f"{{state: {{p: {text}}}}}", top=_PROBE, state=state) == found


@pytest.mark.parametrize(
    ("text", "where", "found"),
    [
        ("absent", Where(present=False), "holds"),
        ("absent", Where(present=True), "fails"),
        ("present", Where(present=True), "holds"),
        ("present", None, "fails"),
        ("absent", None, "fails"),
        ("{equals: [id]}", Where(present=True, equals=("id", "total")), "holds"),
        ("{equals: [id, total]}", Where(present=True, equals=("id",)), "fails"),
    ],
)
def test_where(text: str, where: Where | None, found: str):
    assert when(f"{{statement: {{where: {text}}}}}", read=access(where=where)) == found


def test_kind_tags_and_shapes():
    assert when("{statement: {kind: ['copy*', Select]}}", facts=Facts("SELECT")) == "holds"
    assert when("{statement: {kind: 'CREATE *'}}", facts=Facts("SELECT")) == "fails"
    shape = '{statement: {shape: ["select id from sales.orders where id = 1"]}}'
    same = shape_of_text("SELECT  id FROM orders /* x */ WHERE id=77")
    assert when(shape, facts=Facts("SELECT", shape=same or "")) == "holds"
    other = shape_of_text("select id from sales.orders where id > 1")
    assert when(shape, facts=Facts("SELECT", shape=other or "")) == "fails"


def test_conditions_of_a_map_all_hold_and_of_a_list_any():
    true, false = "days: mon-sun", "from: 10.0.0.0/8"
    assert when(f"{{{true}, {false}}}") == "fails"
    assert when(f"[{{{true}}}, {{{false}}}]") == "holds"


def test_unknown_matters_only_where_the_others_do_not_settle_it():
    unknown = "transaction: {block: true}"
    context = {"block": None}
    assert when(f"{{{unknown}, from: 10.0.0.0/8}}", **context) == "fails"
    assert when(f"{{{unknown}, days: mon-sun}}", **context) == "unknown"
    assert when(f"[{{{unknown}}}, {{days: mon-sun}}]", **context) == "holds"
    assert when(f"[{{{unknown}}}, {{from: 10.0.0.0/8}}]", **context) == "unknown"
    found = decision(one_of(rule("allow: select", "sales.orders", f"when: {{{unknown}}}")), access(), block=None)
    assert found.unknown == ('rule "r": whether a transaction block is open',)


def test_unless_is_the_opposite_and_stays_unknown():
    def unless(text: str, effect: str, **context: object) -> str:
        return says(one_of(ALLOW, rule(effect, "sales.orders", f"unless: {text}")), access(), **context)

    assert unless("{from: 10.0.0.0/8}", "deny: select", address="10.1.1.1") == "allow"
    assert unless("{from: 10.0.0.0/8}", "deny: select", address="11.1.1.1") == "deny"
    assert unless("{transaction: {block: true}}", "deny: select", block=None) == "deny"


def test_named_conditions_may_use_each_other():
    top = """conditions:
  office: {days: mon-fri, hours: "08:00-18:00"}
  here: {from: 10.0.0.0/8}
  both: {is: [office, here]}
"""
    moment = at("2026-03-02T10:00:00+00:00")
    assert when("{is: [both]}", top=top, at=moment, address="10.1.1.1") == "holds"
    assert when("{is: both}", top=top, at=moment, address="11.1.1.1") == "fails"


# the planner's estimate


def test_the_estimate_is_asked_for_only_where_it_would_settle_the_rule():
    big = rule("deny: select", "sales.orders", 'when: {estimated_rows: "> 1000"}')
    assert decision(one_of(ALLOW, big), access()).wants_estimate
    assert not decision(one_of(big), access()).wants_estimate
    assert not decision(one_of(ALLOW, big, rule("deny: select", name="no")), access()).wants_estimate
    elsewhere = rule("deny: select", "sales.orders", 'when: {estimated_rows: "> 1000", from: 10.0.0.0/8}')
    assert not decision(one_of(ALLOW, elsewhere), access()).wants_estimate


def test_at_parse_the_estimate_is_skipped_in_the_clients_favour():
    skipped = {"estimated_rows": Unknown.SKIPPED}
    for condition in ('when: {estimated_rows: "> 1000"}', 'unless: {estimated_rows: "> 1000"}'):
        assert says(one_of(ALLOW, rule("deny: select", "sales.orders", condition)), access(), **skipped) == "allow"
        assert says(one_of(rule("allow: select", "sales.orders", condition)), access(), **skipped) == "allow"


# why


def test_a_refusal_names_what_was_missing():
    rules = one_of(
        rule("allow: select", name="dbas", who="{group: dba}"),
        rule("allow: select", "sales.orders", "columns: [total]", name="totals"),
        rule("allow: select", "sales.orders", "database: bank", name="elsewhere"),
        rule("allow: select", "sales.orders", "until: 1969-01-01", name="old"),
    )
    near = {miss.rule: miss.why for miss in decision(rules, access()).accesses[0].near}
    assert near == {
        "dbas": "group dba missing",
        "totals": "column id not among its columns",
        "elsewhere": 'database "shop" is not among its databases',
        "old": "it ended on 1969-01-01",
    }


def test_the_refusals_object_is_the_one_that_was_asked_for():
    (found,) = decision(one_of(), access(name="hr.salaries")).accesses
    assert found.access.object == ObjectName("salaries", "hr")


# what is said of who, columns, database, unless, hold and message, each both ways


def test_principals_and_users_compare_exactly_and_columns_as_stored():
    assert says(one_of(rule("allow: select", who="{principal: alice@example.com}")), access()) == "deny"
    assert says(one_of(rule("allow: select", who="{principal: alice@EXAMPLE.COM}")), access()) == "allow"
    named = one_of(rule("allow: select", "sales.orders", "columns: [Id]"))
    assert says(named, access(columns=("id",))) == "deny"
    assert says(named, access(columns=("Id",))) == "allow"


@pytest.mark.parametrize(("effect", "more"), [("deny", ()), ("hold", ("approvers: {group: dba}",))])
def test_a_deny_or_hold_for_a_database_is_for_no_other(effect: str, more: tuple[str, ...]):
    rules = one_of(ALLOW, rule(f"{effect}: select", "sales.orders", "database: bank", *more))
    assert says(rules, access(), database="bank") == effect
    assert says(rules, access()) == "allow"


def test_a_hold_for_a_group_holds_while_the_directory_cannot_tell():
    rules = one_of(ALLOW, rule("hold: select", "sales.orders", "approvers: {group: dba}", who="{group: contractors}"))
    assert says(rules, access()) == "allow"
    assert says(rules, access(), groups=None) == "hold"


def test_unless_may_be_a_list_of_which_any_one_keeps_the_rule_away():
    rules = one_of(ALLOW, rule("deny: select", "sales.orders", 'unless: [{reason: "INC-*"}, {from: 10.0.0.0/8}]'))
    assert says(rules, access(), reason="INC-1") == "allow"
    assert says(rules, access(), address="10.1.1.1") == "allow"
    assert says(rules, access(), reason="CHG-1", address="11.1.1.1") == "deny"


def test_each_hold_that_matches_is_asked_for_with_its_own_terms_and_defaults():
    rules = one_of(
        ALLOW,
        rule("hold: select", "sales.*", "approvers: {group: DBA}", name="a"),
        rule("hold: read", "sales.orders", "approvers: {user: [bob, carol], count: 2}", "timeout: 1h", name="b"),
        rule("hold: select", "sales.items", "approvers: {group: dba}", name="c"),
    )
    asked = {hold.rule: hold for hold in decision(rules, access()).holds}
    assert asked.keys() == {"a", "b"}
    assert (asked["a"].approvers.groups, asked["a"].approvers.count, asked["a"].timeout) == (("dba",), 1, 900.0)
    assert (asked["b"].approvers.users, asked["b"].approvers.count, asked["b"].timeout) == (("bob", "carol"), 2, 3600.0)


def test_of_several_denies_all_are_named_and_one_message_is_shown():
    first = rule("deny: select", "sales.orders", name="a")
    second = rule("deny: select", "sales.*", "message: not on Mondays", name="b")
    (found,) = decision(one_of(ALLOW, first, second), access()).accesses
    assert (found.rules, found.message) == (("a", "b"), "not on Mondays")
    (found,) = decision(one_of(ALLOW, first), access()).accesses
    assert found.message is None
