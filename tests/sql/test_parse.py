"""Guarded parsing: what may crash or mislead the parser never reaches it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pglast import ast, enums
from pglast.parser import parse_sql_protobuf

from pgguard.sql.parse import _SHALLOW, SyntaxProblem, parse
from pgguard.sql.slices import text_after


def test_statements_are_sliced_by_characters() -> None:
    """Offsets are of characters: counting bytes would cut a statement behind an umlaut short."""
    found = parse("select 'üé'; /* é */ prepare p as select 'x', 2")
    assert found[0].text == "select 'üé'"
    assert found[1].text.endswith("prepare p as select 'x', 2")


def test_the_inner_text_of_a_prepare_behind_an_umlaut_is_whole() -> None:
    """Cut by bytes, the text that is judged would not be the text that runs."""
    assert text_after("prepare püé (numeric(3, 2)) as select 1, 'ü'", "AS") == "select 1, 'ü'"


@pytest.mark.parametrize(
    ("text", "message", "position"),
    [
        ("selec 1", 'syntax error at or near "selec"', 1),
        ("select 'é' fromm x y", 'syntax error at or near "x"', 18),
        ("select 1\0; drop table t", "invalid byte sequence: 0x00", 0),
    ],
)
def test_what_does_not_parse_is_told_in_the_parsers_words(text: str, message: str, position: int) -> None:
    with pytest.raises(SyntaxProblem, match=message) as caught:
        parse(text)
    assert caught.value.position == position


@pytest.mark.parametrize("deep", ["1" + "+1" * 30_000, "(" * 20_000 + "1" + ")" * 20_000, "1" + "::int" * 40_000])
def test_deep_text_is_refused_and_does_not_end_the_process(deep: str) -> None:
    with pytest.raises(SyntaxProblem):
        parse(f"select {deep}")


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ("+-", ""), ("not ", ""), ("@ ", ""), ("1+", ""), ("", "::a"), ("", " isnull"), ("[", "]"),
        ("a[", "]"), ("a[-", "]"), ("a[:", "]"), ("(", ")"), ("(", ",1)"), ("f(", ")"), ("a[f(", ")]"), ("a[(1,", ")]"),
        ("(select ", ")"), ("(values(", "))"), ("exists(values(", "))"), ("1 in(", ")"), ("case when ", " then 1 end"),
        ("(table t union select ", ")"), ("a()over(order by ", ")"), ("a(a=>", ")"),
    ],
)  # fmt: skip
def test_no_text_that_goes_unguarded_is_nearly_as_deep_as_what_the_guard_refuses(opened: str, closed: str) -> None:
    """A text four times as long passes the guard still: below that there is nothing for it to refuse."""
    times = 4 * _SHALLOW // len(opened + closed)
    start = "select array" if opened == "[" else "select "
    parse_sql_protobuf(start + opened * times + "1" + closed * times)


@pytest.mark.parametrize("literal", ["1_000", "0x1F", "0o17", "0b1"])
def test_numbers_that_an_older_server_reads_as_two_words_are_refused_for_it(literal: str) -> None:
    assert parse(f"select {literal}", 16)
    with pytest.raises(SyntaxProblem, match="trailing junk"):
        parse(f"select {literal}", 15)


def test_a_name_or_a_string_that_looks_like_such_a_number_is_none() -> None:
    assert parse("select a1_0, '0x1F', t0_1.c from t0_1", 15)


_TESTS = Path(__file__).parents[1]
_OF_EVERY_FAMILY = (
    *(_TESTS / "sql/statements.sql").read_text().splitlines(),
    *(_TESTS / "clients/statements.sql").read_text().splitlines(),
)


def _nodes(tree: Any) -> Iterator[ast.Node]:
    if isinstance(tree, ast.Node):
        yield tree
        tree = [getattr(tree, name) for name in tree]
    for one in tree if isinstance(tree, (tuple, list)) else ():
        yield from _nodes(one)


def _as_checked(node: ast.Node, name: str) -> Any:
    """What pglast's own Node.__setattr__ makes of an attribute, which nobody calls (pgguard.sql.parse)."""
    value = getattr(node, name)
    kind = type(node).__slots__[name]
    if value is None:
        return None
    wanted = getattr(enums, kind.c_type, kind.py_type)
    assert isinstance(value, wanted), f"{type(node).__name__}.{name} is {value!r}"
    return value if kind.adaptor is None else kind.adaptor(value)


def test_what_the_parser_sets_is_what_pglast_would_make_of_it() -> None:
    """Left unconverted, an option that is one of an enumeration would be a number, and be taken for none of them."""
    found = set()
    for text in _OF_EVERY_FAMILY:
        for parsed in parse(text) if text.strip() else ():
            for node in _nodes(parsed.tree):
                found.add(type(node))
                for name in node:
                    assert _as_checked(node, name) == getattr(node, name), f"{type(node).__name__}.{name} of {text}"
    assert len(found) > 100
