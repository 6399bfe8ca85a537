"""Statements made at random over tests/sql/schema.sql: each choice draws from the Random that is given."""

from random import Random

TABLES = {
    "app.customers": ("id", "name", "card", "region", "since"),
    "app.orders": ("id", "customer_id", "total", "status", "tags", "data", "made"),
    "app.items": ("order_id", "line", "product", "price"),
    "app.tree": ("id", "parent", "name"),
    "other.orders": ("id", "secret", "region"),
    "app.events": ("id", "at", "kind"),
    "app.child": ("id", "note", "extra"),
    "app.open_orders": ("id", "customer_id", "total"),
    "app.summary": ("customer_id", "total"),
}
_TEXT = {"name", "card", "region", "status", "product", "secret", "kind", "note", "extra"}
_NUMBERS = {"id", "customer_id", "total", "order_id", "line", "price", "parent"}


class Maker:
    """`_sources`: (alias, columns) of the query levels that an expression can see, innermost last."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._sources: list[list[tuple[str, tuple[str, ...]]]] = []
        self._count = 0

    def statement(self) -> str:
        kind = self.random.choice(("select",) * 5 + ("insert", "update", "delete", "with", "union", "merge"))
        return str(getattr(self, f"_{kind}")())

    def _alias(self) -> str:
        self._count += 1
        return f"a{self._count}"

    def _chance(self, of: int) -> bool:
        return self.random.randrange(of) == 0

    def _column(self, among: set[str] | None = None) -> str:
        found = [
            (alias, column) for level in self._sources for alias, columns in level for column in columns
            if among is None or column in among
        ]  # fmt: skip
        if not found:
            return "7" if among is _NUMBERS else "'x'"
        alias, column = self.random.choice(found)
        return f"{alias}.{column}"

    def _number(self, depth: int = 0) -> str:
        choice = self.random.randrange(9 if depth < 2 else 3)
        match choice:
            case 0 | 1:
                return self._column(_NUMBERS)
            case 2:
                return str(self.random.randrange(100))
            case 3:
                return f"({self._number(depth + 1)} {self.random.choice('+-*')} {self._number(depth + 1)})"
            case 4:
                return f"app.f({self._number(depth + 1)}::int)"
            case 5:
                return f"length({self._text(depth + 1)})"
            case 6:
                return f"coalesce({self._number(depth + 1)}, {self._number(depth + 1)})"
            case 7:
                return f"(case when {self._condition(depth + 1)} then {self._number(depth + 1)} else 0 end)"
            case _:
                return f"(select max({self._number_of_select(depth + 1)}"

    def _number_of_select(self, depth: int) -> str:
        table, alias = self._table()
        self._sources.append([(alias, TABLES[table])])
        text = f"{self._number(depth)}) from {table} {alias} where {self._condition(depth)})"
        self._sources.pop()
        return text

    def _text(self, depth: int = 0) -> str:
        match self.random.randrange(6 if depth < 2 else 2):
            case 0 | 1:
                return self._column(_TEXT)
            case 2:
                return f"upper({self._text(depth + 1)})"
            case 3:
                return f"({self._text(depth + 1)} || {self._text(depth + 1)})"
            case 4:
                return f"app.f({self._text(depth + 1)}::text)"
            case _:
                return f"({self._number(depth + 1)})::text"

    def _condition(self, depth: int = 0) -> str:
        match self.random.randrange(8 if depth < 2 else 3):
            case 0:
                return f"{self._number(depth + 1)} > {self._number(depth + 1)}"
            case 1:
                return f"{self._text(depth + 1)} like 'a%'"
            case 2:
                return f"{self._text(depth + 1)} is not null"
            case 3:
                return f"({self._condition(depth + 1)} and {self._condition(depth + 1)})"
            case 4:
                return f"not ({self._condition(depth + 1)})"
            case 5:
                return f"{self._number(depth + 1)} in (1, {self._number(depth + 1)})"
            case 6:
                return f"exists ({self._select(depth + 2)})"
            case _:
                return f"{self._number(depth + 1)} between 1 and {self._number(depth + 1)}"

    def _table(self) -> tuple[str, str]:
        return self.random.choice(sorted(TABLES)), self._alias()

    def _from(self, depth: int) -> str:
        """Adds its entries to the innermost level."""
        level = self._sources[-1]
        parts = []
        for n in range(self.random.choice((1, 1, 1, 2, 2, 3))):
            table, alias = self._table()
            text = f"{table} {alias}"
            columns = TABLES[table]
            if depth < 2 and self._chance(5):
                self._sources.pop()
                inner = self._select(depth + 1, columns=("c", "d"))
                self._sources.append(level)
                text, columns = f"({inner}) {alias} (c, d)", ("c", "d")
            elif self._chance(6):
                columns = ("q", *columns[1:])
                text = f"{table} as {alias} (q)"
            level.append((alias, columns))
            if n == 0:
                parts.append(text)
            elif self._chance(2):
                parts.append(f"cross join {text}")
            else:
                parts.append(
                    f"{self.random.choice(('join', 'left join', 'full join'))} {text} on {alias}.{columns[0]} is not null"
                )
        return " ".join(parts)

    def _select(self, depth: int = 0, columns: tuple[str, ...] = ()) -> str:
        self._sources.append([])
        source = self._from(depth)
        if columns:
            targets = ", ".join(self._number(depth) for _ in columns)
        elif depth == 0 and self._chance(6):
            targets = self.random.choice(("*", "count(*)", f"{self._sources[-1][0][0]}.*", self._sources[-1][0][0]))
        else:
            targets = ", ".join(
                self._number(depth) if self._chance(2) else self._text(depth)
                for _ in range(self.random.randrange(1, 4))
            )
        text = f"select {targets} from {source}"
        if self._chance(2):
            text += f" where {self._condition(depth)}"
        if depth == 0 and "count(" not in targets and self._chance(4):
            text += f" order by {self._column()}"
        if self._chance(6):
            text += " limit 3"
        self._sources.pop()
        return text

    def _union(self) -> str:
        operator = self.random.choice(("union", "union all", "intersect", "except"))
        return f"{self._select(1, ('c', 'd'))} {operator} {self._select(1, ('c', 'd'))}"

    def _with(self) -> str:
        name = self.random.choice(("w", "orders", "customers"))
        inner = self._select(1, ("c", "d"))
        return f"with {name} (c, d) as ({inner}) select {name}.c, x.id from {name}, app.tree x where x.id = {name}.d"

    def _insert(self) -> str:
        text = f"insert into app.items (order_id, line, price) {self._select(1, ('c', 'd', 'e')).replace('select ', 'select ', 1)}"
        if self._chance(2):
            text += " on conflict (order_id, line) do update set price = excluded.price + items.line where items.product is null"
        return text + (" returning product" if self._chance(3) else "")

    def _update(self) -> str:
        self._sources.append([("t", TABLES["app.customers"])])
        text = f"update app.customers t set region = {self._text()}, name = {self._text()}"
        if self._chance(2):
            table, alias = self._table()
            self._sources[-1].append((alias, TABLES[table]))
            text += f" from {table} {alias}"
        text += f" where {self._condition()}"
        if self._chance(3):
            text += f" returning {self._column()}"
        self._sources.pop()
        return text

    def _delete(self) -> str:
        self._sources.append([("t", TABLES["app.orders"])])
        text = "delete from app.orders t"
        if self._chance(2):
            table, alias = self._table()
            self._sources[-1].append((alias, TABLES[table]))
            text += f" using {table} {alias}"
        if not self._chance(4):
            text += f" where {self._condition()}"
        self._sources.pop()
        return text

    def _merge(self) -> str:
        return (
            "merge into app.items t using app.orders s on t.order_id = s.id "
            "when matched and s.total > 3 then update set price = s.total "
            "when not matched then insert (order_id, line) values (s.id, 1)"
        )
