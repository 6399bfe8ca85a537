"""Facts are shared between texts that differ in plain constants only: never where the constants matter."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pglast.parser import ParseError, scan
from rich_schema import SETTINGS

from pgguard.sql.analyze import Analysis, Script, analyze
from pgguard.sql.catalog import Catalog
from pgguard.sql.shape import shape_of_text
from pgguard.sql.skeleton import _MAY_BE_CONSTANT, skeleton

Analyse = Callable[[str], Analysis]


@pytest.fixture(scope="session")
def analyse(catalog: Catalog) -> Analyse:
    return lambda text: analyze(text, catalog, SETTINGS)


def _shareable(analysis: Analysis) -> bool:
    return isinstance(analysis, Script) and analysis.shareable


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select id from app.orders where id = 1 limit 5", "select id from app.orders where id = 42 limit 6"),
        ("update app.orders set total = 1.5 where status = 'a'", "update app.orders set total = 2.25 where status = '''b'"),
        ("insert into app.items values (1, 2, 'x', 3)", "insert into app.items values (4, 5, $$y$$, 6)"),
        ("select id from app.orders where id in (1, 2)", "select id from app.orders where id in (3, 4)"),
    ],
)  # fmt: skip
def test_texts_that_differ_in_plain_constants_share_their_facts(one: str, other: str, analyse: Analyse) -> None:
    assert skeleton(one) == skeleton(other) is not None
    assert _shareable(analyse(one))
    assert analyse(one) == analyse(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select f(1)", "select f('1')"),
        ("select f(1)", "select f($1)"),
        ("select f(x) from (select 1 as x) s", "select f(x) from (select 5000000000 as x) s"),
        ("select 5000000000", "select 99999999999999999999"),
        ("select 1::float(24)", "select 1::float(25)"),
        ("select U&\"a!0061\" uescape '!' from t", "select U&\"a!0061\" uescape '?' from t"),
        ("select null::int[3]", "select null::int[4]"),
        ("select b'1'", "select x'1'"),
        ("select 'a' from t", 'select "a" from t'),
        ("select 1 -- 2", "select 1 -- 3"),
    ],
)  # fmt: skip
def test_what_reads_differently_has_another_skeleton(one: str, other: str) -> None:
    assert (skeleton(one) or one) != (skeleton(other) or other)


@pytest.mark.parametrize(
    "text",
    [
        "select set_config('role', 'postgres', false)",
        "select nextval('app.numbers')",
        "select pg_read_file('/etc/passwd')",
        "select current_setting('work_mem'::text)",
        "select 1 from app.orders where id = (select lo_put(3, 0, '')::text::int)",
        "prepare p as select 1",
        "declare c cursor for select 'a'",
        "copy app.orders to '/tmp/x'",
        "set work_mem = '1MB'",
        "explain (analyze 'off') delete from app.orders",
        "select 1 into app.fresh",
        "select 1; select 2",
        "do 'begin end'",
        "notify ch, 'x'",
    ],
)
def test_what_a_constant_decides_is_never_shared(text: str, analyse: Analyse) -> None:
    assert not _shareable(analyse(text)), text


@pytest.mark.parametrize("form", ["select 1 from t where x in ({}, 2)", "select array[{}, 2]", "values ({}, 2)"])
def test_a_longer_constant_makes_no_other_shape(form: str) -> None:
    """The places where lists end were part of the shape: a rule for `in (1, 2)` did not match `in (10, 2)`."""
    assert shape_of_text(form.format("1")) == shape_of_text(form.format("1000"))


def test_a_text_with_a_nul_cannot_pose_as_a_skeleton() -> None:
    made = skeleton("select 1")
    assert made is not None
    assert skeleton(made) is None


@pytest.mark.parametrize("number", ["24690", "'24690'", "24690::regclass"])
def test_a_sequence_by_its_number_is_not_the_one_of_that_name(number: str, analyse: Analyse) -> None:
    """nextval('24690') takes the sequence with that OID: an allowed sequence named so would open any other."""
    found = analyse(f"select nextval({number})")
    assert isinstance(found, Script), found
    assert [str(a.object) for a in found.statements[0].accesses] == ["*.*"]


_SLOTS = (
    "select f({}) from app.orders where id = {}", "select set_config({}, {}, true)", "select nextval({})",
    "select app.f({}), g({}, {}) from app.orders limit {}", "select {} || {} from app.customers where name = {}",
    "insert into app.items values ({}, {})", "update app.orders set tags[{}] = {} where id = {}",
    "select id from app.orders order by {} offset {}", "select {}::float({})", "select {} + {}, text {}",
    "copy app.orders to {}", "prepare p as select {}", "select * from app.rows({}) r where x in ({}, {})",
)  # fmt: skip
_CONSTANTS = st.sampled_from(
    ["1", "2", "24", "25", "1.5", ".5", "5000000000", "99999999999999999999", "1e3", "'a'", "'role'", "'app.numbers'",
     "'1'", "$$b$$", "e'c'", "b'1'", "null", "true", "$1", "'a'\n'b'", "u&'d'", "-1", "'/tmp/x'", "1 /* 2 */"]
)  # fmt: skip


@given(
    st.sampled_from(_SLOTS), st.lists(_CONSTANTS, min_size=4, max_size=4), st.lists(_CONSTANTS, min_size=4, max_size=4)
)
def test_no_two_texts_of_different_facts_share(
    analyse: Analyse, slots: str, some: list[str], others: list[str]
) -> None:
    one, other = slots.format(*some), slots.format(*others)
    if skeleton(one) is not None and skeleton(one) == skeleton(other) and _shareable(analyse(one)):
        assert analyse(one) == analyse(other), (one, other)


@given(st.text(st.sampled_from("1.$a_' \"é€-+e\n(\\")))
def test_where_nothing_looks_like_a_constant_there_is_none(text: str) -> None:
    """A text that is not cut into tokens for it would have its facts found anew with each other constant."""
    if _MAY_BE_CONSTANT.search(text) is None:
        try:
            tokens = scan(text)
        except ParseError:
            return
        assert not {"SCONST", "ICONST", "FCONST"} & {token.name for token in tokens}
