"""PostgreSQL's own answer: what its analysed tree says a statement touches.

`debug_print_parse` makes the server send the tree of a PREPAREd statement: requiredPerms, selectedCols, insertedCols and
updatedCols of each range table entry (column numbers offset by 7, 0 for the whole row: PostgreSQL source, parsenodes.h),
the function behind each call, operator and aggregate. Up to PostgreSQL 15 they are in the entries, since 16 in nodes of
their own (RTEPermissionInfo).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg

_TOKEN = re.compile(r"[(){}]|(?:\\.|[^\s(){}\\])+")
_PERMS = ((1, "insert", "insertedCols"), (2, "select", "selectedCols"), (4, "update", "updatedCols"), (8, "delete", ""))
_SYSTEM = {-1: "ctid", -2: "xmin", -3: "cmin", -4: "xmax", -5: "cmax", -6: "tableoid"}
_OFFSET = 7
_CASTS = {"1", "2"}  # CoercionForm: COERCE_EXPLICIT_CAST, COERCE_IMPLICIT_CAST

Touched = tuple[str, str, str, tuple[str, ...] | None]
"""(schema, relation, privilege, columns); no columns for delete."""

Called = tuple[str, str, tuple[str, ...]]
"""(schema, function, argument types)."""


def _read(text: str) -> Any:
    """A tree of dicts ({NODE :field value}) and lists."""
    tokens = _TOKEN.findall(text)
    position = 0

    def value() -> Any:
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "{":
            node: dict[str, Any] = {"node": tokens[position]}
            position += 1
            field = ""
            while tokens[position] != "}":
                if tokens[position].startswith(":"):
                    field = tokens[position][1:]
                    node[field] = []
                    position += 1
                else:
                    node[field].append(value())
            position += 1
            return node
        if token == "(":
            items = []
            while tokens[position] != ")":
                items.append(value())
            position += 1
            return items
        return token

    return value()


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for field in tree.values():
            yield from _nodes(field)
    elif isinstance(tree, list):
        for item in tree:
            yield from _nodes(item)


class Oracle:
    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=None)
        self._details: list[str] = []
        self.connection.add_notice_handler(lambda notice: self._details.append(notice.message_detail or ""))
        self.connection.execute("set debug_pretty_print = off; set client_min_messages = log")
        self.look_up()
        self.connection.execute("set debug_print_parse = on")

    def look_up(self) -> None:
        """What OIDs stand for; to be called again when anything has been made since."""
        path = self.connection.execute("show search_path").fetchone()
        self.connection.execute("set search_path = ''")  # types come out qualified
        self._columns: dict[int, tuple[str, str, dict[int, str]]] = {}
        for oid, schema, name, number, column in self.connection.execute(
            "select c.oid, n.nspname, c.relname, a.attnum, a.attname from pg_class c "
            "join pg_namespace n on n.oid = c.relnamespace left join pg_attribute a on a.attrelid = c.oid "
            "and a.attnum > 0 and not a.attisdropped"
        ):
            self._columns.setdefault(oid, (schema, name, {}))[2][number] = column
        self._functions = {
            str(oid): (schema, name, tuple(arguments))
            for oid, schema, name, arguments in self.connection.execute(
                "select p.oid, n.nspname, p.proname, array(select format_type(t, null) from unnest(p.proargtypes) "
                "with ordinality u(t, o) order by o)::text[] from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
            )
        }

        self._operators = {
            str(oid): str(function)
            for oid, function in self.connection.execute("select oid, oprcode::oid from pg_operator")
        }
        self.connection.execute("select set_config('search_path', %s, false)", path)

    def close(self) -> None:
        self.connection.close()

    def ask(self, statement: str) -> tuple[set[Touched], set[Called]]:
        """Relations and functions that the statement touches. Raises psycopg.Error where PostgreSQL refuses it."""
        self._details.clear()
        self.connection.execute(f"prepare oracle as {statement}".encode())
        tree = next(_read(d) for d in self._details if d.startswith("{QUERY") and ":commandType 6" not in d)
        self.connection.execute("deallocate oracle")
        relations, functions = set(), set()
        for node in _nodes(tree):
            if "requiredPerms" in node:
                relations |= set(self._touched(node))
            else:
                functions |= set(self._called(node))
        return relations, functions

    def _touched(self, entry: dict[str, Any]) -> Iterator[Touched]:
        if entry.get("rtekind", ["0"]) != ["0"]:
            return
        schema, name, columns = self._columns[int(entry["relid"][0])]
        perms = int(entry["requiredPerms"][0])
        for bit, privilege, field in _PERMS:
            if not perms & bit:
                continue
            found: set[str] = set()
            for number in entry[field][0][1:] if field else ():
                attribute = int(number) - _OFFSET
                found |= set(columns.values()) if attribute == 0 else {columns.get(attribute) or _SYSTEM[attribute]}
            yield schema, name, privilege, tuple(sorted(found)) if field else None

    def _called(self, node: dict[str, Any]) -> Iterator[Called]:
        match node["node"]:
            case "FUNCEXPR":
                found = self._functions[node["funcid"][0]]
                if found[0] != "pg_catalog" or node["funcformat"][0] not in _CASTS:
                    yield found
            case "AGGREF":
                yield self._functions[node["aggfnoid"][0]]
            case "WINDOWFUNC":
                yield self._functions[node["winfnoid"][0]]
            case "OPEXPR" | "DISTINCTEXPR" | "NULLIFEXPR" | "SCALARARRAYOPEXPR":
                yield from self._users(node["opfuncid"])
            case "ROWCOMPAREEXPR":
                yield from self._users(self._operators.get(oid, "") for oid in node["opnos"][0])
            case "TABLESAMPLECLAUSE":
                yield self._functions[node["tsmhandler"][0]]
            case _:
                pass

    def _users(self, oids: Iterable[str]) -> Iterator[Called]:
        """The functions of operators, where they are users': operators of PostgreSQL's own are no accesses."""
        for oid in oids:
            found = self._functions.get(oid)
            if found is not None and found[0] != "pg_catalog":
                yield found
