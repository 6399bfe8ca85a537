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
        "create role r valid until '{}'",
        "copy t to '{}'",
        "copy t from program '{}'",
        "copy t to stdout (format csv, null '{}')",
        "create subscription s connection '' publication p with (slot_name = '{}')",
        "create server s type '{}' foreign data wrapper w",
        "alter server s version '{}'",
        "prepare transaction '{}'",
        "load '{}'",
        "create type e as enum ('{}')",
        "alter type e add value '{}' before 'x'",
        "alter type e add value 'x' before '{}'",
        "alter type e rename value '{}' to 'x'",
        "create extension x version '{}'",
        "create table t (a int) with (x = '{}')",
        "create trigger t before insert on o for each row execute function f('{}')",
        "create collation c (locale = '{}')",
        "create text search dictionary d (template = simple, stopwords = '{}')",
        "create conversion c for '{}' to 'UTF8' from f",
        "create event trigger e on ddl_command_start when tag in ('{}') execute function f()",
        "create aggregate a (int) (sfunc = f, stype = int, initcond = '{}')",
        "alter publication p set (publish = '{}')",
        "create database d locale '{}'",
        "create tablespace s location '{}'",
        "set transaction snapshot '{}'",
    ],
)
def test_a_constant_is_not_in_the_shape_and_does_not_change_it(text: str):
    """The audit masks passwords in texts, and had them in the shapes beside these; and redacted constants of DDL."""
    shape = shape_of_text(text.format("geheim"))
    assert shape is not None
    assert "geheim" not in shape
    assert shape == shape_of_text(text.format("another one"))


@pytest.mark.parametrize(
    "text",
    [
        "fetch {} from c",
        "create sequence s start {}",
        "alter sequence s restart {} increment {}",
        "alter table t alter a set statistics {}",
        "create role r connection limit {}",
        "vacuum (parallel {}) t",
        "create table t (a int) with (fillfactor = {})",
        "create function f() returns int language sql cost {} as 'x'",
    ],
)
def test_a_number_is_not_in_the_shape_and_does_not_change_it(text: str):
    shape = shape_of_text(text.replace("{}", "4711"))
    assert shape is not None
    assert "4711" not in shape
    assert shape == shape_of_text(text.replace("{}", "815"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fetch 5 from c", "fetch all from c"),
        ("fetch 5 from c", "fetch backward 5 from c"),
        ("explain (analyze false) select 1", "explain (analyze true) select 1"),
        ("create function f() returns int language sql as 'x'", "create function f() returns int language c as 'x'"),
        ("create function f() returns int immutable as 'x'", "create function f() returns int volatile as 'x'"),
        ("create database d owner a", "create database d owner b"),
        ("create sequence s owned by t.a", "create sequence s owned by t.b"),
        ("create role r superuser", "create role r nosuperuser"),
        ("copy t to '/a'", "copy t to program '/a'"),
        ("copy t to '/a'", "copy t to stdout"),
        ("copy t (a) to stdout (force_quote (a))", "copy t (a) to stdout (force_quote (b))"),
        ("alter role r password 'x'", "alter role r password null"),
        ("alter role r password 'x'", "alter role s password 'x'"),
        ("create user mapping for r server s options (user 'u')", "create user mapping for r server s"),
        ("create user mapping for r server s options (a 'u')", "create user mapping for r server s options (b 'u')"),
        ("do 'begin end'", "do 'begin drop table t; end'"),
    ],
)
def test_other_statements_have_other_shapes(one: str, other: str):
    assert shape_of_text(one) != shape_of_text(other)
