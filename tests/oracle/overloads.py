"""Schemas full of overloads that get in each other's way, and calls of them: made at random.

Functions, operators and casts of users, some of which shadow those of pg_catalog, in schemas before and behind it in
the search_path. What PostgreSQL refuses to create is left out.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

import psycopg

TYPES = ("int", "bigint", "numeric", "float8", "text", "varchar", "date", "boolean", "int[]", "text[]", "jsonb")
OWN_TYPES = ("near.pair", "near.mood", "near.small", "near.other", "near.span", "near.kin", "near.typed", "near.word")
POLYMORPHIC = (
    "anyelement",
    "anyarray",
    "anynonarray",
    "anyenum",
    "anyrange",
    "anycompatible",
    "anycompatiblearray",
    "record",
)
SCHEMAS = ("near", "far")
FUNCTIONS = ("f", "g", "h", "lower", "abs", "length", "date", "text", "concat", "sum", "coalesce_", "upper")
OPERATORS = ("+", "=", "<", ">", "<=", ">=", "<>", "||", "~~", "===", "@", "-")
PATHS = (
    ("pg_catalog", "near", "far"), ("near", "pg_catalog", "far"), ("far", "near", "pg_catalog"), ("pg_catalog", "far"),
    ("near", "far", "pg_catalog"),
)  # fmt: skip
"""Effective ones: as a setting they mean the same, since pg_catalog is named."""

_TYPES_SQL = """
create schema near; create schema far;
create type near.pair as (a int, b text);
create type near.other as (a bigint, b text);
create type near.mood as enum ('sad', 'fine');
create domain near.small as int;
create domain near.word as text;
create type near.span as range (subtype = float8);
create table near.kin (extra int) inherits (pg_catalog.pg_auth_members);
drop table near.kin;
create table near.parent (a int, b text);
create table near.kin (c date) inherits (near.parent);
create table near.typed of near.pair;
create table near.t (
  i int, l bigint, n numeric, d float8, s text, v varchar, day date, y boolean, ia int[], sa text[], j jsonb,
  p near.pair, m near.mood, sm near.small, o near.other, sp near.span, k near.kin, ty near.typed, w near.word,
  pa near.pair[], sma near.small[], ch char(3), nm name, ts timestamptz, xs xml
);
create view near.v as select * from near.t;
"""


class World:
    """`made`: the statements that PostgreSQL took."""

    def __init__(self, random: Random, connection: psycopg.Connection[Any], sizes: tuple[int, int, int]) -> None:
        self._random = random
        self._connection = connection
        self.made: list[str] = []
        connection.execute(_TYPES_SQL.encode())
        functions, operators, casts = sizes
        for _ in range(functions):
            self._try(self._function())
        for number in range(operators):
            self._operator(number)
        for number in range(casts):
            self._cast(number)

    def _try(self, *statements: str) -> None:
        try:
            with self._connection.transaction():
                for statement in statements:
                    self._connection.execute(statement.encode())
        except psycopg.Error:
            return
        self.made += statements

    def _type(self, *, polymorphic: bool = True) -> str:
        choice = self._random.randrange(10)
        if choice == 0 and polymorphic:
            return self._random.choice(POLYMORPHIC)
        return self._random.choice(TYPES if choice < 7 else OWN_TYPES)

    def _function(self) -> str:
        random = self._random
        name = f"{random.choice(SCHEMAS)}.{random.choice(FUNCTIONS)}"
        types = [self._type() for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3)))]
        arguments = [f"{chr(97 + n)} {type_}" for n, type_ in enumerate(types)]
        if arguments and random.randrange(6) == 0:
            arguments[-1] += " default null"
        elif random.randrange(6) == 0:
            arguments.append(f"variadic r {random.choice(('int[]', 'text[]', 'anyarray', 'near.pair[]', 'numeric[]'))}")
        result = random.choice((*TYPES, *OWN_TYPES, *types, "setof int", "setof near.parent", "table (x int, y text)"))
        return f"create function {name}({', '.join(arguments)}) returns {result} language plpgsql as 'begin end'"

    def _operator(self, number: int) -> None:
        random = self._random
        schema, name = random.choice(SCHEMAS), random.choice(OPERATORS)
        left, right = self._type(), self._type()
        result = "boolean" if random.randrange(3) else self._type(polymorphic=False)
        arguments = right if (prefix := random.randrange(8) == 0) else f"{left}, {right}"
        function = f"{schema}.op{number}"
        sides = f"rightarg = {right}" if prefix else f"leftarg = {left}, rightarg = {right}"
        self._try(
            f"create function {function}({arguments}) returns {result} language plpgsql as 'begin end'",
            f"create operator {schema}.{name} ({sides}, function = {function})",
        )

    def _cast(self, number: int) -> None:
        random = self._random
        source, target = random.choice((*OWN_TYPES, *TYPES)), random.choice((*OWN_TYPES, *TYPES))
        context = random.choice(("", "as assignment", "as implicit", "as implicit"))
        function = f"near.cast{number}"
        self._try(
            f"create function {function}({source}) returns {target} language plpgsql as 'begin end'",
            f"create cast ({source} as {target}) with function {function}({source}) {context}",
        )


_NUMBERS = ("i", "l", "n", "d", "sm", "1", "1.5", "99999999999", "null", "'1'")
_TEXTS = ("s", "v", "w", "ch", "nm", "'x'", "null", "'a'::text", "w", "s")
_KINDS = (
    _NUMBERS, _NUMBERS, _TEXTS, _TEXTS,
    ("day", "ts", "current_date", "now()", "'2020-01-01'"),
    ("ia", "sma", "array[1, 2]", "'{}'", "null"),
    ("p", "ty", "k2", "k", "tt", "row(1, 'x')", "o"),
    ("y", "true", "null"), ("j",), ("m", "'sad'"), ("sp",),
)  # fmt: skip
"""Operands that often go together; a list of columns and constants each."""


class Calls:
    """Statements over near.t."""

    def __init__(self, random: Random, path: Sequence[str]) -> None:
        self._random = random
        self._schemas = [schema for schema in path if schema != "pg_catalog"]

    def statement(self) -> str:
        kind = self._kind()
        one, other = self.value(kind), self.value(kind)
        match self._random.randrange(4):
            case 0:
                return self._write(one, other)
            case 1 | 2:
                return self._query(one, other, kind)
            case _:
                return f"select {one} {_FROM}"

    def _write(self, one: str, other: str) -> str:
        return self._random.choice((
            f"insert into near.t ({self._column()}, {self._column()}) select {one}, {self.value()} {_FROM}",
            f"insert into near.t ({self._column()}) {_rows(one, other)}",
            f"update near.t set {self._column()} = {one} from near.kin k2, near.typed tt",
            f"update near.t set ({self._column()}, sp) = (select {one}, {self.value()} {_FROM})",
        ))  # fmt: skip

    def _query(self, one: str, other: str, kind: Sequence[str]) -> str:
        random = self._random
        pair = f"({other}, {self.value()})"
        against = random.choice((pair, f"(select {pair[1:-1]} {_FROM})"))
        return random.choice((
            f"select {one} {_FROM} union all select {other} {_FROM}",
            f"select 1 from (select {one} as c {_FROM}) a join (select {other} as c {_FROM}) b using (c)",
            f"select 1 {_FROM} where {one} in (select {other} {_FROM})",
            f"select x.a from (select {one} as a {_FROM}) x where {self.operation('x.a', self._plain(kind))}",
            f"select 1 {_FROM} where {self._condition()} order by {one} limit {random.choice(('1', 'null', '(select i from near.t)'))}",
            f"select ({one}, {self.value()}) {random.choice(('=', '<', '<=', '>', '<>', 'in'))} ({against}) {_FROM}",
            f"with q (a, b) as ({_rows(one, other, 2)}) select {self.operation('a', 'b')} from q",
        ))  # fmt: skip

    def _kind(self) -> Sequence[str]:
        return self._random.choice(_KINDS)

    def _column(self) -> str:
        return self._random.choice(
            [name for name in self._kind() if name.isidentifier() and name not in {"null", "k2", "tt", "true"}] or ["i"]
        )

    def _plain(self, kind: Sequence[str]) -> str:
        return self._random.choice(kind if self._random.randrange(8) else self._kind())

    def value(self, kind: Sequence[str] = (), depth: int = 0) -> str:
        random = self._random
        kind = kind or self._kind()
        if depth > random.choice((0, 0, 1)):
            return self._plain(kind)
        match random.randrange(12):
            case 0:
                return self._plain(kind)
            case 1 | 2 | 3 | 4:
                return self._call(kind, depth)
            case 5 | 6 | 7:
                return f"({self.operation(self.value(kind, depth + 1), self.value(kind, depth + 1))})"
            case 8:
                return f"({self.value((), depth + 1)})::{random.choice((*TYPES, *OWN_TYPES))}"
            case _:
                return self._special(kind, depth)

    def _call(self, kind: Sequence[str], depth: int) -> str:
        random = self._random
        schema = random.choice(("", "", "", "", *(f"{s}." for s in self._schemas), "pg_catalog."))
        arguments = [self.value(kind, depth + 1) for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3)))]
        if arguments and random.randrange(8) == 0:
            arguments[-1] = f"{random.choice('abc')} => {arguments[-1]}"
        elif arguments and random.randrange(8) == 0:
            arguments[-1] = f"variadic {arguments[-1]}"
        return f"{schema}{random.choice(FUNCTIONS)}({', '.join(arguments)})"

    def operation(self, left: str, right: str) -> str:
        random = self._random
        name = random.choice(OPERATORS if random.randrange(3) else ("=", "<", ">=", "<>"))
        if random.randrange(8) == 0:
            name = f"operator({random.choice(self._schemas or ['near'])}.{name})"
        return f"{name} {right}" if random.randrange(12) == 0 else f"{left} {name} {right}"

    def _condition(self, kind: Sequence[str] = (), depth: int = 0) -> str:
        """True or false most of the time: a users' cast may make something else so."""
        if self._random.randrange(6) == 0:
            return self.value((), depth + 1)
        return f"({self.operation(self.value(kind, depth + 1), self.value(kind, depth + 1))})"

    def _special(self, kind: Sequence[str], depth: int) -> str:
        random = self._random
        one, two, three = (self.value(kind, depth + 1) for _ in range(3))
        condition = self._condition(kind, depth + 1)
        return random.choice((
            f"({one} between {two} and {three})", f"({one} not between symmetric {two} and {three})",
            f"({one} in ({two}, {three}))", f"({one} not in ({two}))", f"nullif({one}, {two})",
            f"({one} is distinct from {two})", f"(case {one} when {two} then {three} end)", f"greatest({one}, {two})",
            f"({one} = any ({two}))", f"({one} < all (array[{two}, {three}]))", f"({one} like {two})",
            f"({one} like {two} escape '!')", f"({condition} is not true)", f"({one}).a", f"({one})[1]",
            f"(row({one}, {two}) = row({three}, 1))", f"(row({one}, {two}) < row({three}, 'x'))",
            f"(row({one}, {two})::near.pair)", f"(select {one})", f"array(select {one})", f"(not {condition})",
            f"({condition} and {one})", f"(row({one}, {two}) is distinct from row({three}, null))",
            f"(({one}, {two}) in (({three}, 1), (2, {one})))", f"least({one}, {two}, {three})",
            f"({one} ~~ any (array[{two}]))", f"({one}).lower", f"({one}).{random.choice(FUNCTIONS)}",
            f"array[{one}, {two}]", f"case when {condition} then {one} else {two} end", f"coalesce({one}, {two})",
            f"(array[{one}, {two}] || {three})", f"(array[{one}]::{random.choice(OWN_TYPES)}[])",
        ))  # fmt: skip


def _rows(one: str, other: str, width: int = 1) -> str:
    """VALUES, lateral to the tables."""
    between = ", " if width > 1 else "), ("
    return f"select x.* {_FROM}, lateral (values ({one}{between}{other})) x"


_FROM = "from near.t, near.kin k2, near.typed tt"
