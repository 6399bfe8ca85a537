"""What only one session sees: its temporary relations, and what its open transaction has made, changed and dropped.

Theory of operation. It is asked through the session's own connection (design, section 4), where the client's
search_path is in force: every name is qualified with pg_catalog, so that nothing on that path can answer in the place
of the database. What the transaction has written are the rows of the catalogs whose xmin is its own transaction id or
a later one (savepoints have those). What it has dropped shows in no row: so all that there is of users' objects is
listed, and what the catalog knows beyond that is gone. # INVARIANT: a name must never be taken for an object that is
gone: the database would find the next one on the path.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from pgguard.database.catalog_loader import FIRST_OF_USERS, constrained, function_of, type_of
from pgguard.session.judgement import Answer, Question, Rows
from pgguard.sql.catalog import Cast, Catalog, Operator, Overlay, Relation

_TRANSACTION = "(select pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid::pg_catalog.text::pg_catalog.int8)"
"""As a subquery: computed once, not for each row."""


def _own(row: str) -> str:
    return f"{row}.xmin::pg_catalog.text::pg_catalog.int8 operator(pg_catalog.>=) {_TRANSACTION}"


def _in_namespace(table: str, alias: str, column: str) -> str:
    return f"pg_catalog.{table} {alias} join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) {alias}.{column}"


def _object(**fields: str) -> str:
    parts = ", ".join(f"'{name}', {expression}" for name, expression in fields.items())
    return f"pg_catalog.json_build_object({parts})::pg_catalog.text"


def _number(expression: str) -> str:
    return f"{expression}::pg_catalog.int8"


def _numbers(expression: str) -> str:
    return f"{expression}::pg_catalog.oid[]::pg_catalog.int8[]"


_ATTRIBUTES = (
    "(select pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.attnum,"
    " a.attgenerated) order by a.attnum) from pg_catalog.pg_attribute a"
    " where a.attrelid operator(pg_catalog.=) c.oid and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped)"
)
_CONSTRAINTS = (
    "(select pg_catalog.json_object_agg(k.conname, k.conkey) from pg_catalog.pg_constraint k"
    " where k.conrelid operator(pg_catalog.=) c.oid and k.conkey is not null"
    " and k.contype operator(pg_catalog.=) any (array['p','u','x']::pg_catalog.\"char\"[]))"
)
_PRIMARY_KEY = (
    "(select pg_catalog.to_json(k.conkey) from pg_catalog.pg_constraint k"
    " where k.conrelid operator(pg_catalog.=) c.oid and k.contype operator(pg_catalog.=) 'p'::pg_catalog.\"char\")"
)
_INDEXED = (
    "(select pg_catalog.json_build_array(m.nspname, t.relname) from pg_catalog.pg_index x"
    " join pg_catalog.pg_class t on t.oid operator(pg_catalog.=) x.indrelid"
    " join pg_catalog.pg_namespace m on m.oid operator(pg_catalog.=) t.relnamespace"
    " where x.indexrelid operator(pg_catalog.=) c.oid)"
)
_IS_TEMPORARY = "c.relnamespace operator(pg_catalog.=) pg_catalog.pg_my_temp_schema()"

_IS_INVOKER = (
    "exists (select 1 from pg_catalog.unnest(c.reloptions) o where o operator(pg_catalog.~~) 'security_invoker=%'"
    " and o operator(pg_catalog.<>) all (array['security_invoker=false', 'security_invoker=off', 'security_invoker=no',"
    " 'security_invoker=0']))"
)

_OWN_NUMBERS = (
    f"select c.oid from pg_catalog.pg_class c where {_IS_TEMPORARY} or {_own('c')}"
    f" union all select a.attrelid from pg_catalog.pg_attribute a where {_own('a')}"
)
"""An array of them lets the planner expect few. Where it expects many rows it has the question compiled (PostgreSQL
docs, jit_above_cost), which takes ten times as long as to answer it. So with types.
"""

_RELATIONS = (
    "select "
    + _object(
        schema="n.nspname", name="c.relname", kind="c.relkind", oid=_number("c.oid"), columns=_ATTRIBUTES,
        row_type=_number("c.reltype"), of_type=_number("c.reloftype"), temporary=_IS_TEMPORARY,
        owner="pg_catalog.pg_get_userbyid(c.relowner)", constraints=_CONSTRAINTS, primary_key=_PRIMARY_KEY,
        table=_INDEXED, invoker=_IS_INVOKER,
    )
    + f" from {_in_namespace('pg_class', 'c', 'relnamespace')}"
    " where c.relkind operator(pg_catalog.=) any (array['r','p','v','m','f','S','c','i','I']::pg_catalog.\"char\"[])"
    f" and c.oid operator(pg_catalog.=) any (array({_OWN_NUMBERS}))"
)  # fmt: skip

_FUNCTIONS = (
    "select "
    + _object(
        nspname="n.nspname", proname="p.proname", prokind="p.prokind", oid=_number("p.oid"),
        pronargdefaults="p.pronargdefaults", variadic="p.provariadic operator(pg_catalog.<>) 0::pg_catalog.oid",
        argument_types=_numbers("p.proargtypes"), variadic_type=_number("p.provariadic"), modes="p.proargmodes",
        names="p.proargnames", all_types=_numbers("p.proallargtypes"), proretset="p.proretset",
        result=_number("p.prorettype"), result_relation=_number("y.typrelid"), result_name="y.typname",
        may_set="p.prokind operator(pg_catalog.<>) 'a'::pg_catalog.\"char\"", volatility="p.provolatile",
        lanname="l.lanname", prosecdef="p.prosecdef", owner="pg_catalog.pg_get_userbyid(p.proowner)",
        sets="coalesce(p.proconfig, '{}')", aggregate="coalesce(g.aggkind::pg_catalog.text, '')",
        direct="coalesce(g.aggnumdirectargs, 0::pg_catalog.int2)",
    )
    + f" from {_in_namespace('pg_proc', 'p', 'pronamespace')}"
    " join pg_catalog.pg_language l on l.oid operator(pg_catalog.=) p.prolang"
    " join pg_catalog.pg_type y on y.oid operator(pg_catalog.=) p.prorettype"
    " left join pg_catalog.pg_aggregate g on g.aggfnoid::pg_catalog.oid operator(pg_catalog.=) p.oid"
    f" where {_own('p')}"
)  # fmt: skip

_OPERATORS = (
    "select "
    + _object(
        schema="n.nspname", name="o.oprname", function=_number("o.oprcode::pg_catalog.oid"), left=_number("o.oprleft"),
        right=_number("o.oprright"), result=_number("o.oprresult"), oid=_number("o.oid"),
        owner="pg_catalog.pg_get_userbyid(o.oprowner)",
    )
    + f" from {_in_namespace('pg_operator', 'o', 'oprnamespace')}"
    f" where o.oprcode::pg_catalog.oid operator(pg_catalog.<>) 0::pg_catalog.oid and {_own('o')}"
)  # fmt: skip

_CASTS = (
    "select "
    + _object(
        source=_number("c.castsource"), target=_number("c.casttarget"), function=_number("c.castfunc"),
        context="c.castcontext", method="c.castmethod", own=f"coalesce({_own('c')}, false)",
    )
    + " from pg_catalog.pg_cast c"
    f" where c.oid operator(pg_catalog.>=) {FIRST_OF_USERS}::pg_catalog.oid"
)  # fmt: skip

_TYPES = (
    "select pg_catalog.json_build_array(t.oid::pg_catalog.int8, n.nspname, t.typname, t.typtype,"
    " coalesce((select pg_catalog.format('%I.%I[]', m.nspname, e.typname) from pg_catalog.pg_type e"
    " join pg_catalog.pg_namespace m on m.oid operator(pg_catalog.=) e.typnamespace"
    " where e.typarray operator(pg_catalog.=) t.oid), pg_catalog.format('%I.%I', n.nspname, t.typname)),"
    " t.typcategory, t.typispreferred, t.typelem::pg_catalog.int8,"
    " t.typarray::pg_catalog.int8, t.typbasetype::pg_catalog.int8, t.typrelid::pg_catalog.int8,"
    " t.typcategory operator(pg_catalog.=) 'A'::pg_catalog.\"char\""
    " and t.typlen operator(pg_catalog.=) (-1)::pg_catalog.int2"
    " and t.typelem operator(pg_catalog.<>) 0::pg_catalog.oid,"
    " coalesce((select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid operator(pg_catalog.=) t.oid"
    " limit 1), 0::pg_catalog.oid)::pg_catalog.int8)::pg_catalog.text"
    f" from {_in_namespace('pg_type', 't', 'typnamespace')}"
    f" where t.oid operator(pg_catalog.=) any (array(select o.oid from pg_catalog.pg_type o where {_own('o')}))"
)

_THERE = (
    "select "
    + ", ".join(
        f"(select pg_catalog.json_agg(c.oid::pg_catalog.int8) from pg_catalog.{table} c"
        f" where c.oid operator(pg_catalog.>=) {FIRST_OF_USERS}::pg_catalog.oid)"
        for table in ("pg_class", "pg_proc", "pg_operator", "pg_type")
    )
    + ", (select pg_catalog.json_agg(n.nspname) from pg_catalog.pg_namespace n)"
)

TEMPORARY_QUESTIONS = (Question(_RELATIONS.encode()),)
"""To be asked where the session has temporary relations."""

OWN_QUESTIONS = tuple(Question(text.encode()) for text in (_RELATIONS, _FUNCTIONS, _OPERATORS, _CASTS, _TYPES, _THERE))
"""To be asked where the session's open transaction has changed the catalog."""


class CannotTell(Exception):  # noqa: N818  # it is a fact about the session, not a fault
    """The database did not answer: the session is in a failed transaction, or broken."""


def seen_by_session(answers: Sequence[Answer], catalog: Catalog) -> Catalog | None:
    """The catalog as the session sees it that gave these answers; None where it is no other. Raises CannotTell."""
    overlay = _overlay(answers, catalog)
    nothing = Overlay(schemas=overlay.schemas if set(overlay.schemas) <= catalog.schemas else ())
    return None if overlay == nothing else catalog.seen_with(overlay)


def _overlay(answers: Sequence[Answer], catalog: Catalog) -> Overlay:
    rows = []
    for answer in answers:
        if not isinstance(answer, Rows):
            raise CannotTell(answer.message)
        rows.append(answer.rows)
    own = [json.loads(row[0] or "{}") for row in rows[0]]
    relations = tuple(_relation(row, catalog.relation_by_oid(row["oid"]) or _UNKNOWN) for row in own)
    if len(rows) == len(TEMPORARY_QUESTIONS):
        return Overlay(relations)
    functions, operators, casts, types = ([json.loads(row[0] or "{}") for row in part] for part in rows[1:5])
    own_types = tuple(type_of(row) for row in types)
    formatted = {t.oid: t.formatted for t in (*catalog.snapshot.types, *own_types)}
    columns = {r.oid: (r.columns, r.types) for r in (*catalog.snapshot.relations, *relations)}
    own_functions = tuple(
        function_of(row, columns.get(row["result_relation"], ((), ())), formatted) for row in functions
    )
    named = {f.oid: (f.schema, f.name, f.arguments) for f in (*catalog.snapshot.functions, *own_functions)}
    there = [json.loads(part or "[]") for part in rows[5][0]]
    names = {t.oid: (t.schema, t.name) for t in (*catalog.snapshot.types, *own_types)}
    return Overlay(
        relations,
        own_functions,
        tuple(
            Operator(
                o["schema"], o["name"], named[o["function"]], o["left"], o["right"], o["result"], o["oid"], o["owner"]
            )
            for o in operators
            if o["function"] in named
        ),
        tuple(_casts(casts, names, named)),
        own_types,
        tuple(schema for schema in there[4] if not schema.startswith(("pg_toast", "pg_temp"))),
        _gone((r.oid for r in catalog.snapshot.relations), there[0]),
        _gone((f.oid for f in catalog.snapshot.functions), there[1]),
        _gone((o.oid for o in catalog.snapshot.operators), there[2]),
        _gone((t.oid for t in catalog.snapshot.types), there[3]),
        _gone_casts(catalog, casts),
    )


def _gone(known: Iterable[int], there: list[int]) -> frozenset[int]:
    still = frozenset(there)
    return frozenset(oid for oid in known if oid >= FIRST_OF_USERS and oid not in still)


def _gone_casts(catalog: Catalog, casts: list[dict[str, Any]]) -> frozenset[tuple[int, int]]:
    """Casts have no number in the catalog: one of users' functions or types that is not told of is gone."""
    still = {(c["source"], c["target"]) for c in casts}
    known = {(c.source_type, c.target_type) for c in catalog.user_casts}
    return frozenset(known - still)


def _casts(
    rows: list[dict[str, Any]], names: dict[int, tuple[str, str]], named: dict[int, tuple[str, str, tuple[str, ...]]]
) -> Iterable[Cast]:
    for row in rows:
        source, target = row["source"], row["target"]
        if row["own"] and source in names and target in names:
            function = named.get(row["function"])
            yield Cast(names[source], names[target], function, source, target, row["context"], row["method"])


def _relation(row: dict[str, Any], known: Relation) -> Relation:
    """`known`: as it was before the transaction, if it was; its ties to others and its columns' labels are kept."""
    columns = row["columns"] or []
    by_number = {number: name for name, _, number, _ in columns}
    return msgspec.structs.replace(
        known,
        schema=row["schema"],
        name=row["name"],
        kind=row["kind"],
        columns=tuple(name for name, *_ in columns),
        comments={
            by_number[number]: known.comments[name]
            for name, number in zip(known.columns, known.numbers, strict=True)
            if name in known.comments and number in by_number
        },
        definition="" if row["invoker"] else None,
        temporary=row["temporary"],
        oid=row["oid"],
        types=tuple(type_ for _, type_, *_ in columns),
        numbers=tuple(by_number),
        generated=tuple(name for name, _, _, generated in columns if generated),
        owner=row["owner"],
        row_type=row["row_type"],
        of_type=row["of_type"],
        constraints={name: constrained(keys, by_number) for name, keys in (row["constraints"] or {}).items()},
        primary_key=constrained(row["primary_key"] or (), by_number),
        table=None if row["table"] is None else (row["table"][0], row["table"][1]),
    )


_UNKNOWN = Relation("", "", "r")
