"""Loading the catalog of one database, in a handful of queries through asyncpg.

The queries read pg_catalog only, which every role may; search_path is emptied first, so that every type and view text
comes out qualified.
"""

import json

import asyncpg

from pgguard.sql.catalog import Cast, Catalog, Function, Operator, Relation, Snapshot

_SCHEMAS = "select nspname from pg_catalog.pg_namespace where nspname !~ '^pg_(toast|temp)'"

_RELATIONS = """
select n.nspname, c.relname, c.relkind::text,
       coalesce((select array_agg(a.attname::text order by a.attnum) from pg_catalog.pg_attribute a
                 where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '{}') as columns,
       (select json_object_agg(a.attname, d.description) from pg_catalog.pg_description d
          join pg_catalog.pg_attribute a on a.attrelid = d.objoid and a.attnum = d.objsubid
         where d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objoid = c.oid and d.objsubid > 0
           and n.nspname <> 'pg_catalog') as comments,
       case when c.relkind = 'v' and c.reloptions::text ~ 'security_invoker=(true|on|1|yes)'
            then pg_catalog.pg_get_viewdef(c.oid) end as definition,
       c.oid::bigint as oid
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c', 'i', 'I') and n.nspname !~ '^pg_(toast|temp)'
"""

_PARENTS = "select inhrelid::bigint, inhparent::bigint from pg_catalog.pg_inherits"

_FUNCTIONS = """
select n.nspname, p.proname, p.prokind::text, p.oid::bigint, p.pronargdefaults, p.provariadic <> 0 as variadic,
       array(select pg_catalog.format_type(t, null)
               from unnest(p.proargtypes) with ordinality u(t, o) order by o) as arguments,
       p.proargmodes::text[] as modes, p.proargnames as names, p.proretset,
       ty.typtype::text as result, ty.typrelid::bigint as result_relation, ty.typname as result_name,
       p.provolatile = 'v' and l.lanname <> 'internal' and n.nspname <> 'pg_catalog'
         and (p.prokind <> 'a') as may_set
  from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  join pg_catalog.pg_language l on l.oid = p.prolang
  join pg_catalog.pg_type ty on ty.oid = p.prorettype
"""

_FUNCTION_NAME = """
  n.nspname || '' as fn_schema, p.proname || '' as fn_name,
  array(select pg_catalog.format_type(t, null)
          from unnest(p.proargtypes) with ordinality u(t, o) order by o) as fn_arguments
"""

_OPERATORS = f"""
select ns.nspname, o.oprname, {_FUNCTION_NAME}
  from pg_catalog.pg_operator o
  join pg_catalog.pg_namespace ns on ns.oid = o.oprnamespace
  join pg_catalog.pg_proc p on p.oid = o.oprcode
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
 where n.nspname <> 'pg_catalog'
"""  # noqa: S608  # constant text

_CASTS = f"""
select sn.nspname as source_schema, st.typname as source, tn.nspname as target_schema, tt.typname as target,
  {_FUNCTION_NAME}
  from pg_catalog.pg_cast c
  join pg_catalog.pg_type st on st.oid = c.castsource join pg_catalog.pg_namespace sn on sn.oid = st.typnamespace
  join pg_catalog.pg_type tt on tt.oid = c.casttarget join pg_catalog.pg_namespace tn on tn.oid = tt.typnamespace
  join pg_catalog.pg_proc p on p.oid = c.castfunc join pg_catalog.pg_namespace n on n.oid = p.pronamespace
 where n.nspname <> 'pg_catalog'
"""  # noqa: S608  # constant text

_TYPES = """
select n.nspname, t.typname from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
 where n.nspname !~ '^pg_(toast|temp)'
"""

_MARK = """
select (select coalesce(max(xmin::text::bigint), 0) || '/' || count(*) from pg_catalog.pg_class)
    || ' ' || (select coalesce(max(xmin::text::bigint), 0) || '/' || count(*) from pg_catalog.pg_attribute)
    || ' ' || (select coalesce(max(xmin::text::bigint), 0) || '/' || count(*) from pg_catalog.pg_proc)
    || ' ' || (select coalesce(max(xmin::text::bigint), 0) || '/' || count(*) from pg_catalog.pg_namespace)
    || ' ' || (select coalesce(max(xmin::text::bigint), 0) || '/' || count(*) from pg_catalog.pg_type)
    || ' ' || (select coalesce(max(xmin::text::bigint), 0) || '/' || count(*) from pg_catalog.pg_inherits)
    || ' ' || (select coalesce(max(xmin::text::bigint), 0) || '/' || count(*) from pg_catalog.pg_operator)
    || ' ' || (select coalesce(max(xmin::text::bigint), 0) || '/' || count(*) from pg_catalog.pg_cast)
    || ' ' || (select coalesce(max(xmin::text::bigint), 0) || '/' || count(*) from pg_catalog.pg_description)
"""


async def change_mark(connection: asyncpg.Connection) -> str:
    """A text that differs when anything in the catalog has changed: newest row versions, and how many rows."""
    mark: str = await connection.fetchval(_MARK)
    return mark


async def load_catalog(connection: asyncpg.Connection) -> Catalog:
    """The whole catalog, in one snapshot of the database."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("set local search_path = ''")
        relations = await connection.fetch(_RELATIONS)
        parents = await connection.fetch(_PARENTS)
        columns = {row["oid"]: tuple(row["columns"]) for row in relations}
        return Catalog(
            Snapshot(
                database=await connection.fetchval("select pg_catalog.current_database()"),
                version=connection.get_server_version().major,
                schemas=tuple(row[0] for row in await connection.fetch(_SCHEMAS)),
                relations=_relations(relations, parents),
                functions=tuple(_function(row, columns) for row in await connection.fetch(_FUNCTIONS)),
                operators=tuple(
                    Operator(row["nspname"], row["oprname"], _name(row)) for row in await connection.fetch(_OPERATORS)
                ),
                casts=tuple(
                    Cast((row["source_schema"], row["source"]), (row["target_schema"], row["target"]), _name(row))
                    for row in await connection.fetch(_CASTS)
                ),
                types=tuple((row[0], row[1]) for row in await connection.fetch(_TYPES)),
            )
        )


def _relations(rows: list[asyncpg.Record], parents: list[asyncpg.Record]) -> tuple[Relation, ...]:
    names = {row["oid"]: (row["nspname"], row["relname"]) for row in rows}
    above: dict[int, list[int]] = {}
    for child, parent in parents:
        above.setdefault(child, []).append(parent)

    def ancestors(oid: int) -> tuple[tuple[str, str], ...]:
        found: dict[int, None] = {}
        waiting = list(above.get(oid, ()))
        while waiting:
            parent = waiting.pop()
            if parent not in found:
                found[parent] = None
                waiting += above.get(parent, ())
        return tuple(sorted(names[parent] for parent in found if parent in names))

    return tuple(
        Relation(
            schema=row["nspname"],
            name=row["relname"],
            kind=row["relkind"],
            columns=tuple(row["columns"]),
            comments=json.loads(row["comments"]) if row["comments"] else {},
            ancestors=ancestors(row["oid"]),
            definition=row["definition"],
        )
        for row in rows
    )


def _name(row: asyncpg.Record) -> tuple[str, str, tuple[str, ...]]:
    return row["fn_schema"], row["fn_name"], tuple(row["fn_arguments"])


def _function(row: asyncpg.Record, columns: dict[int, tuple[str, ...]]) -> Function:
    arguments = tuple(row["arguments"])
    required = len(arguments) - row["pronargdefaults"] - (1 if row["variadic"] else 0)
    return Function(
        schema=row["nspname"],
        name=row["proname"],
        arguments=arguments,
        kind=row["prokind"],
        required=max(required, 0),
        oid=row["oid"],
        variadic=row["variadic"],
        columns=_result_columns(row, columns),
        may_set=row["may_set"],
    )


def _result_columns(row: asyncpg.Record, columns: dict[int, tuple[str, ...]]) -> tuple[str, ...] | None:
    """What the function gives in FROM: its OUT and TABLE arguments, the columns of its row type, or a scalar."""
    if row["modes"]:
        names = row["names"] or []
        out = [
            (names[i] if i < len(names) else "") or f"column{n}"
            for n, i in enumerate((i for i, mode in enumerate(row["modes"]) if mode in "obt"), 1)
        ]
        if len(out) > 1 or (out and "t" in row["modes"]):
            return tuple(out)
        return (out[0],) if out and names else None
    if row["result_relation"]:
        return columns.get(row["result_relation"], ())
    return () if row["result_name"] == "record" else None
