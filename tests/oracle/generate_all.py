"""Statements at random that mix every construct of queries: what Maker makes, and around it the rest of the grammar.

Names are often left unqualified, so that which table a column belongs to hangs on the whole of what is in sight. Some of
the statements are none that PostgreSQL takes; those are left out by whoever compares.
"""

from random import Random

from tests.oracle.generate import TABLES, Maker

_JOINED = {
    "id": ("app.customers", "app.orders", "app.tree", "other.orders", "app.events", "app.child", "app.open_orders"),
    "name": ("app.customers", "app.tree"),
    "region": ("app.customers", "other.orders"),
    "total": ("app.orders", "app.open_orders", "app.summary"),
}
_FUNCTIONS = (
    ("app.rows({number}::int)", ("x", "y")), ("app.people()", TABLES["app.customers"]), ("app.scalar_set(1)", ()),
    ("generate_series(1, {number}::int)", ()), ("unnest(array[{text}])", ()), ("app.out2()", ("a", "b")),
    ("unnest(array[1], array[{text}])", ()), ("jsonb_each(jsonb_build_object('a', {number}))", ("key", "value")),
    ("rows from (app.rows(1), generate_series(1, 2))", ("x", "y")), ("app.named()", ("a", "b")),
    ("json_populate_record(null::app.customers, '{{}}')", TABLES["app.customers"]),
)  # fmt: skip
_DEFINED = (
    ("jsonb_to_record(jsonb_build_object('name', {text}))", "(name text, line int)", ("name", "line")),
    ("app.rec()", "(id int, total int)", ("id", "total")),
)
_NUMBER_AGGREGATES = (
    "count({row})", "sum({own} + {number}) filter (where {condition})", "count(distinct ({own}, {text}))",
    "rank() over (partition by {text} order by {own} + {number})", "app.my_sum({own}::int) over (order by {text})",
    "percentile_disc(0.5) within group (order by {own} + {number})", "lag({own}, 1, {own}) over (partition by {own} rows unbounded preceding)",
)  # fmt: skip
_TEXT_AGGREGATES = (
    "string_agg({own} || {text}, ',' order by {own})", "max({own} || {text}) filter (where {condition})",
    "first_value({text}) over (order by {own} rows 2 preceding)", "jsonb_object_agg({own}::text, {row})::text", "array_agg({row})::text",
)  # fmt: skip
_WRITABLE = {
    "app.customers": ("name", "card", "region"), "app.tree": ("name",),
    "app.child": ("note", "extra"), "other.orders": ("secret", "region"), "app.base": ("note",),
}  # fmt: skip


class AnyMaker(Maker):
    """`_rows`: the aliases in sight that are rows, with the columns of each."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._ctes: list[tuple[str, tuple[str, ...]]] = []

    def statement(self) -> str:
        kind = self.random.choice(
            ("select",) * 6 + ("set", "cte", "recursive", "written", "insert_any", "update_any", "delete_any", "merge_any", "union", "with")
        )  # fmt: skip
        return str(getattr(self, f"_{kind}")())

    def _column(self, among: set[str] | None = None) -> str:
        column = super()._column(among)
        return column.partition(".")[2] if "." in column and self._chance(8) else column

    def _row(self) -> str:
        aliases = [alias for level in self._sources for alias, columns in level if columns]
        return self.random.choice(aliases) if aliases else "null"

    def _number(self, depth: int = 0) -> str:
        if depth > 1 or not self._chance(3):
            return super()._number(depth)
        match self.random.randrange(9):
            case 0 | 1 | 2 | 3:
                return self._aggregate(_NUMBER_AGGREGATES)
            case 4:
                return f"(array[{self._number(2)}, {self._number(2)}])[{self._number(2)}::int]"
            case 5:
                return f"app.g({self._number(2)}::int, c => {self._text(2)})"
            case 6:
                return f"({self._row()}).id"
            case 7:
                return f"extract(year from now()) - cast({self._text(2)} as int)"
            case _:
                return f"(row({self._number(2)}, {self._text(2)})::app.pair).a"

    def _text(self, depth: int = 0) -> str:
        if depth > 1 or not self._chance(3):
            return super()._text(depth)
        match self.random.randrange(8):
            case 0:
                return f"({self._row()})::text"
            case 1 | 3:
                return self._aggregate(_TEXT_AGGREGATES)
            case 2:
                return f"({self._row()}).name"
            case 4:
                return f"(select {self._row()} from app.tree limit 1)::text"
            case 5:
                return f"to_jsonb({self._row()}) ->> {self._text(2)}"
            case 6:
                return f'nullif({self._text(2)}, substring({self._text(2)} from 1 for 2)) collate "C"'
            case _:
                return f"array_to_string(array({self._select(2, ('c',))}), ',')"

    def _aggregate(self, calls: tuple[str, ...]) -> str:
        """In a subquery of its own, over a column of its own: an aggregate over outer columns alone is the outer query's."""
        table, alias = self._table()
        self._sources.append([(alias, TABLES[table])])
        call = self.random.choice(calls).format(
            own=f"{alias}.{TABLES[table][0]}",
            row=alias,
            number=self._number(2),
            text=self._text(2),
            condition=self._condition(2),
        )
        self._sources.pop()
        return f"(select {call} from {table} {alias} limit 1)"

    def _condition(self, depth: int = 0) -> str:
        if depth > 1 or not self._chance(4):
            return super()._condition(depth)
        match self.random.randrange(6):
            case 0:
                return f"({self._number(2)}, {self._number(2)}) in ({self._select(2, ('c', 'd'))})"
            case 1:
                return f"{self._number(2)} = any (select {self._number(2)} from app.tree)"
            case 2:
                return f"{self._row()} is not distinct from {self._row()}"
            case 3:
                return f"row({self._number(2)}, {self._text(2)}) < row({self._number(2)}, {self._text(2)})"
            case 4:
                return f"{self._text(2)} = all (array[{self._text(2)}])"
            case _:
                return f"{self._number(2)} not between symmetric {self._number(2)} and {self._number(2)}"

    def _source(self, depth: int) -> tuple[str, list[tuple[str, tuple[str, ...]]]]:
        """One entry of FROM, and what it brings in sight."""
        table, alias = self._table()
        columns = TABLES[table]
        match self.random.randrange(12):
            case 0 if depth < 2:
                return f"lateral ({self._select(depth + 1, ('c', 'd'))}) {alias} (c, d)", [(alias, ("c", "d"))]
            case 1 if depth < 2:
                return f"({self._any_select(depth + 1)}) {alias}", [(alias, ())]
            case 2:
                call, columns = self.random.choice(_FUNCTIONS)
                return f"{call.format(number=self._number(2), text=self._text(2))} {alias}", [(alias, columns)]
            case 3:
                call, written, columns = self.random.choice(_DEFINED)
                return f"{call.format(text=self._text(2))} as {alias} {written}", [(alias, columns)]
            case 4:
                rows = f"(values ({self._number(2)}, {self._text(2)}), (1, 'x'))"
                return f"{rows} {alias} (id, name)", [(alias, ("id", "name"))]
            case 5:
                return self._joined(alias)
            case 6 if self._ctes:
                name, columns = self.random.choice(self._ctes)
                return f"{name} {alias}", [(alias, columns)]
            case 7:
                return f"{table} as {alias} ({columns[1]}, {columns[0]})", [
                    (alias, (columns[1], columns[0], *columns[2:]))
                ]
            case 8:
                name = table.partition(".")[2]
                return table, [(name, columns)]
            case _:
                only = self.random.choice(("", "", "only "))
                return f"{only}{table} {alias}", [(alias, columns)]

    def _joined(self, alias: str) -> tuple[str, list[tuple[str, tuple[str, ...]]]]:
        column = self.random.choice(sorted(_JOINED))
        left, right = self.random.choice(_JOINED[column]), self.random.choice(_JOINED[column])
        sides = [(f"{alias}l", TABLES[left]), (f"{alias}r", TABLES[right])]
        kind = self.random.choice(("join", "left join", "full join"))
        tables = f"{left} {alias}l {kind} {right} {alias}r using ({column})"
        match self.random.randrange(4):
            case 0:
                return f"{left} {alias}l natural join {right} {alias}r", sides
            case 1:
                return f"({tables}) as {alias}", [(alias, tuple(dict.fromkeys(TABLES[left] + TABLES[right])))]
            case 2:
                return f"{tables} as {alias}", [*sides, (alias, (column,))]
            case _:
                return f"({tables})", sides

    def _from(self, depth: int) -> str:
        if self._chance(3):
            return super()._from(depth)
        parts: list[str] = []
        for _ in range(self.random.choice((1, 1, 2, 2, 3))):
            text, seen = self._source(depth)
            self._sources[-1] += seen
            joint = self.random.choice((", ", " cross join ", " left join "))
            on = f" on {self._condition(2)}" if parts and joint == " left join " else ""
            parts.append(f"{joint if parts else ''}{text}{on}")
        return "".join(parts)

    def _any_select(self, depth: int = 0) -> str:
        self._sources.append([])
        source = self._from(depth)
        targets = ", ".join(self._target(depth) for _ in range(self.random.randrange(1, 4)))
        distinct = self.random.choice(("", "", "", "distinct ", f"distinct on ({self._number(2)}) "))
        text = f"select {distinct}{targets} from {source}"
        if self._chance(2):
            text += f" where {self._condition(depth)}"
        if self._chance(7):
            sets = self.random.choice(("{}", "rollup ({}, {})", "grouping sets (({}, {}), ())", "cube ({})"))
            text = f"select count(*), max({self._number(2)}) from {source}"
            text += f" group by {sets.format(self._column(), self._column())}"
        if self._chance(4):
            text += f" order by {self.random.choice((self._column(), '1', 'n', self._number(2)))} desc nulls last"
        if self._chance(6):
            text += f" limit (select max({self._number(2)}) from app.tree)"
        if self._chance(8):
            text += self.random.choice((" for update", " for no key update skip locked", " for share"))
        self._sources.pop()
        return text

    def _target(self, depth: int) -> str:
        match self.random.randrange(10):
            case 0:
                return "*"
            case 1:
                return f"{self._row()}.*"
            case 2:
                return self._row()
            case 3:
                return f"{self._text(depth)} as n"
            case 4:
                return f"({self._row()}).*"
            case 5 | 6:
                return self._text(depth)
            case _:
                return self._number(depth)

    def _select(self, depth: int = 0, columns: tuple[str, ...] = ()) -> str:
        return super()._select(depth, columns) if columns or self._chance(4) else self._any_select(depth)

    def _set(self) -> str:
        operators = ("union", "union all", "intersect", "except all")
        parts = [self._select(1, ("c", "d")) for _ in range(3)]
        first, second = (self.random.choice(operators) for _ in range(2))
        order = self.random.choice(("", " order by 1", " limit 2"))
        return f"({parts[0]}) {first} (({parts[1]}) {second} ({parts[2]})){order}"

    def _cte(self) -> str:
        name = self.random.choice(("w", "orders", "customers", "tree"))
        inner = self._select(1, ("c", "d"))
        self._ctes.append((name, ("id", "name")))
        second = self._select(1, ("c", "d"))
        self._ctes.append(("v", ("c", "d")))
        materialized = self.random.choice(("", "materialized ", "not materialized "))
        return f"with {name} (id, name) as {materialized}({inner}), v (c, d) as ({second}) {self._any_select()}"

    def _recursive(self) -> str:
        start = self._select(1, ("c", "d"))
        self._ctes.append(("r", ("id", "total")))
        around = self._any_select()
        step = (
            f"select r.id + 1, r.total + t.id from r join app.tree t on t.parent = r.id where {super()._condition(2)}"
        )
        return f"with recursive r (id, total) as (select a::int, b::numeric from ({start}) s (a, b) union all {step}) {around}"

    def _written(self) -> str:
        write = self.random.choice((self._insert_any, self._update_any, self._delete_any))()
        write = write.partition(" returning ")[0] + " returning *"
        return f"with w as ({write}) select w, (select count(*) from {self.random.choice(sorted(TABLES))}) from w"

    def _returning(self) -> str:
        if not self._chance(2):
            return ""
        return f" returning {self.random.choice(('*', self._row(), self._text(2), self._number(2), self._column()))}"

    def _target_table(self) -> tuple[str, tuple[str, ...]]:
        table = self.random.choice(sorted(_WRITABLE))
        columns = TABLES.get(table, _WRITABLE[table])
        self._sources.append([("t", columns)])
        return table, _WRITABLE[table]

    def _insert_any(self) -> str:
        table, columns = self._target_table()
        self._sources.pop()
        given = self.random.sample(columns, self.random.randrange(1, len(columns) + 1))
        source = self.random.choice((
            f"select {', '.join(self._text(2) for _ in given)} from {self._table()[0]}",
            f"values ({', '.join(self._text(2) for _ in given)}), ({', '.join(['default'] * len(given))})",
            f"select {', '.join(['q.name'] * len(given))} from ({self._select(1, ('c', 'd'))}) q (id, name)",
        ))  # fmt: skip
        self._sources.append([("t", TABLES.get(table, columns)), ("excluded", columns)])
        text = f"insert into {table} as t ({', '.join(given)}) {source}"
        if table == "app.customers" and self._chance(2):
            text += f" on conflict (id) do update set name = {self._text(2)} where {self._condition(2)}"
        elif self._chance(4):
            text += " on conflict do nothing"
        self._sources[-1].pop()
        text += self._returning()
        self._sources.pop()
        return text

    def _update_any(self) -> str:
        table, columns = self._target_table()
        text = f"update {self.random.choice(('', '', 'only '))}{table} t set "
        text += f"({', '.join(columns)}) = row({', '.join(self._text(1) for _ in columns)})" if self._chance(3) else (
            f"{columns[0]} = {self.random.choice(('default', self._text(1)))}"
        )  # fmt: skip
        return self._rest(text, " from ")

    def _delete_any(self) -> str:
        table, _ = self._target_table()
        return self._rest(f"delete from {table} t", " using ")

    def _rest(self, text: str, word: str) -> str:
        if self._chance(2):
            source, seen = self._source(1)
            self._sources[-1] += seen
            text += f"{word}{source}"
        text += f" where {self._condition(1)}" if self._chance(2) else ""
        text += self._returning()
        self._sources.pop()
        return text

    def _merge_any(self) -> str:
        table, columns = self._target_table()
        source, seen = self._source(1)
        self._sources[-1] += seen
        text = f"merge into {table} t using {source} on {self._condition(1)}"
        text += f" when matched and {self._condition(2)} then " + self.random.choice((
            f"update set {columns[0]} = {self._text(2)}", "delete", "do nothing",
        ))  # fmt: skip
        self._sources[-1].pop(0)
        text += f" when not matched then insert ({columns[0]}) values ({self._text(2)})" if self._chance(2) else ""
        self._sources.pop()
        return text
