"""Shapes: equal for statements that differ in constants only, and free of what nobody may read."""

import pytest

from pgguard.sql.shape import shape_of_text


@pytest.mark.parametrize(
    "text",
    [
        "create role r login password '{}'",
        "alter role r encrypted password '{}'",
        "create subscription s connection 'host=h password={}' publication p",
        "alter subscription s connection 'host=h password={}'",
        "create user mapping for r server s options (user 'u', password '{}')",
        "alter user mapping for r server s options (set password '{}')",
        "create server s foreign data wrapper w options (password '{}')",
        "alter server s options (add password '{}')",
        "create foreign data wrapper w options (key '{}')",
        "create foreign table t (a int) server s options (token '{}')",
        "import foreign schema a from server s into b options (token '{}')",
        "select * from dblink('password={}', 'select 1') as t(a int)",
        "notify c, '{}'",
        "comment on table t is '{}'",
    ],
)
def test_a_secret_is_not_in_the_shape_and_does_not_change_it(text: str):
    """The audit masks passwords in texts, and had them in the shapes beside these."""
    shape = shape_of_text(text.format("geheim"))
    assert shape is not None
    assert "geheim" not in shape
    assert shape == shape_of_text(text.format("another one"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alter role r password 'x'", "alter role r password null"),
        ("alter role r password 'x'", "alter role s password 'x'"),
        ("create user mapping for r server s options (user 'u')", "create user mapping for r server s"),
        ("create user mapping for r server s options (a 'u')", "create user mapping for r server s options (b 'u')"),
        ("do 'begin end'", "do 'begin drop table t; end'"),
    ],
)
def test_other_statements_have_other_shapes(one: str, other: str):
    assert shape_of_text(one) != shape_of_text(other)
