"""The queries that read a catalog: system catalogs only, which every role may read.

search_path is emptied before they run, so that every type and view text comes out qualified. Their rows are read in
catalog_loader.py. PostgreSQL docs, chapter 53.
"""

LOCK_TIMEOUT = "set local lock_timeout = '3s'"
"""For a lock that is taken between a look at pg_locks and pg_get_viewdef."""

_LISTED = "c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c', 'i', 'I', 't') and n.nspname !~ '^pg_(toast_)?temp'"

_RELATIONS = """
with attributes as (
  select attrelid, array_agg(attname::text order by attnum) as columns,
         array_agg(atttypid::bigint order by attnum) as types,
         array_agg(attnum::int order by attnum) as numbers,
         array_agg(attname::text order by attnum) filter (where attgenerated <> '') as generated
    from pg_catalog.pg_attribute where attnum > 0 and not attisdropped {some_attributes} group by attrelid
)
select n.nspname, c.relname, c.relkind::text, coalesce(a.columns, '{{}}') as columns,
       coalesce(a.types, '{{}}') as types, coalesce(a.numbers, '{{}}') as numbers,
       coalesce(a.generated, '{{}}') as generated,
       c.relkind = 'v' and coalesce(c.reloptions::text ~ 'security_invoker=(true|on|1|yes|t|y)', false) as invoker,
       c.oid::bigint as oid, c.reltype::bigint as row_type, c.reloftype::bigint as of_type,
       pg_catalog.pg_get_userbyid(c.relowner) as owner, x.indrelid::bigint as indexed
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join attributes a on a.attrelid = c.oid
  left join pg_catalog.pg_index x on x.indexrelid = c.oid
 where {listed} {some}
"""

COMMENTS = """
select d.objoid::bigint as oid, json_object_agg(a.attname, d.description) as comments
  from pg_catalog.pg_description d
  join pg_catalog.pg_attribute a on a.attrelid = d.objoid and a.attnum = d.objsubid
  join pg_catalog.pg_class c on c.oid = d.objoid
 where d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid > 0
   and c.relnamespace <> 'pg_catalog'::pg_catalog.regnamespace
 group by d.objoid
"""

# pg_get_viewdef waits for whoever has locked what the view reads: a migration in an open transaction, whose own next
# statement may wait for this very load. Such views are left out.
DEFINITIONS = """
with locked as (
  select l.relation from pg_catalog.pg_locks l
   where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock'
     and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
), waiting as (
  select r.ev_class
    from pg_catalog.pg_rewrite r
    join pg_catalog.pg_depend d on d.objid = r.oid and d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
   where d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid in (select relation from locked)
)
select c.oid::bigint as oid, case when c.oid not in (select ev_class from waiting)
                                  then pg_catalog.pg_get_viewdef(c.oid) end as definition
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('v', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
   and n.nspname !~ '^pg_(toast_)?temp'
"""

PARENTS = """
select i.inhrelid::bigint, i.inhparent::bigint
  from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid where c.relkind <> 'i'
"""

CONSTRAINTS = """
select conrelid::bigint as relation, conname, conkey::int[] as numbers, contype = 'p' as is_primary
  from pg_catalog.pg_constraint where contype in ('p', 'u', 'x') and conrelid <> 0 and conkey is not null
"""

FOREIGN_KEYS = """
select distinct confrelid::bigint as referenced, conrelid::bigint as referencing
  from pg_catalog.pg_constraint where contype = 'f'
"""

VIEW_DEPENDENTS = """
select distinct d.refobjid::bigint as relation, r.ev_class::bigint as dependent
  from pg_catalog.pg_depend d join pg_catalog.pg_rewrite r on r.oid = d.objid
 where d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
   and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and r.ev_class <> d.refobjid
"""

_FUNCTIONS = """
select n.nspname, p.proname, p.prokind::text, p.oid::bigint, p.pronargdefaults, p.provariadic <> 0 as variadic,
       p.proargtypes::oid[]::bigint[] as argument_types, p.provariadic::bigint as variadic_type,
       p.proargmodes::text[] as modes, p.proargnames as names, p.proallargtypes::oid[]::bigint[] as all_types,
       p.proretset, p.prorettype::bigint as result, ty.typrelid::bigint as result_relation, ty.typname as result_name,
       p.provolatile = 'v' and l.lanname <> 'internal' and n.nspname <> 'pg_catalog'
         and p.prokind <> 'a' as may_set,
       p.provolatile::text as volatility, l.lanname, p.prosecdef, pg_catalog.pg_get_userbyid(p.proowner) as owner,
       coalesce(p.proconfig, '{{}}') as sets, coalesce(g.aggkind::text, '') as aggregate,
       coalesce(g.aggnumdirectargs, 0) as direct
  from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  join pg_catalog.pg_language l on l.oid = p.prolang
  join pg_catalog.pg_type ty on ty.oid = p.prorettype
  left join pg_catalog.pg_aggregate g on g.aggfnoid = p.oid
 {some}
"""

_OPERATORS = """
select n.nspname, o.oprname, o.oprcode::oid::bigint as function, o.oprleft::bigint, o.oprright::bigint,
       o.oprresult::bigint, o.oid::bigint, pg_catalog.pg_get_userbyid(o.oprowner) as owner
  from pg_catalog.pg_operator o join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
 where o.oprcode <> 0 {some}
"""

CASTS = """
select castsource::bigint, casttarget::bigint, castfunc::bigint, castcontext::text, castmethod::text
  from pg_catalog.pg_cast
"""

_TYPES = """
select t.oid::bigint, n.nspname, t.typname, t.typtype::text, pg_catalog.format_type(t.oid, null) as formatted,
       t.typcategory::text, t.typispreferred, t.typelem::bigint, t.typarray::bigint, t.typbasetype::bigint,
       t.typrelid::bigint, t.typcategory = 'A' and t.typlen = -1 and t.typelem <> 0 as is_array,
       coalesce(r.rngsubtype, m.rngsubtype, 0)::bigint as subtype
  from pg_catalog.pg_type t
  join pg_catalog.pg_namespace n on n.oid = t.typnamespace
  left join pg_catalog.pg_range r on r.rngtypid = t.oid
  left join {multiranges} on {multirange_join}
 where (n.nspname !~ '^pg_(toast_)?temp'
        or t.oid in (select pg_catalog.unnest(p.proargtypes) from pg_catalog.pg_proc p)) {some}
"""

EXTENSIONS = "select extname from pg_catalog.pg_extension"

NAMES = """
select 'schema' as kind, oid::bigint, nspname as name from pg_catalog.pg_namespace
union all select 'language', oid::bigint, lanname from pg_catalog.pg_language
union all select 'role', oid::bigint, rolname from pg_catalog.pg_roles
"""
"""What other rows are told by: of a schema, a language, a role."""

SNAPSHOT = """
select pg_catalog.pg_snapshot_xmin(s)::text::bigint as oldest, pg_catalog.pg_snapshot_xmax(s)::text::bigint as next
  from pg_catalog.pg_current_snapshot() s
"""

_MARKED = (
    "pg_class", "pg_attribute", "pg_proc", "pg_namespace", "pg_type", "pg_inherits", "pg_operator", "pg_cast",
    "pg_description", "pg_constraint", "pg_rewrite", "pg_aggregate", "pg_extension", "pg_language", "pg_foreign_server",
)  # fmt: skip

_RECENT = "pg_catalog.age({row}.xmin) <= pg_catalog.age('{since}'::pg_catalog.xid)"
"""Rows that a transaction has written which the snapshot with this oldest transaction may not have seen, or older than
half of all transaction numbers: too many rather than too few."""


def recent(row: str, since: int) -> str:
    return _RECENT.format(row=row, since=since % 2**32)


def changes(since: int) -> str:
    """For each catalog: how many rows it has, and how many of them are recent."""
    counts = f"array[count(*), count(*) filter (where {recent('c', since)})]"
    return "select " + ", ".join(f"(select {counts} from pg_catalog.{table} c) as {table}" for table in _MARKED)  # noqa: S608  # names of this file


_RECENT_RELATIONS = (
    "select c.oid::bigint from pg_catalog.pg_class c where {class_} union"
    " select a.attrelid::bigint from pg_catalog.pg_attribute a where {attribute}"
)

RELATION_NUMBERS = (
    "select c.oid::bigint from pg_catalog.pg_class c"  # noqa: S608  # words of this file
    f" join pg_catalog.pg_namespace n on n.oid = c.relnamespace where {_LISTED}"
)
FUNCTION_NUMBERS = "select oid::bigint from pg_catalog.pg_proc"
OPERATOR_NUMBERS = "select oid::bigint from pg_catalog.pg_operator where oprcode <> 0"
TYPE_NUMBERS = """
select t.oid::bigint from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
 where n.nspname !~ '^pg_(toast_)?temp'
    or t.oid in (select pg_catalog.unnest(p.proargtypes) from pg_catalog.pg_proc p)
"""


def relations(*, some: bool) -> str:
    """All, or those whose numbers are the first parameter."""
    these = "and {} = any($1::bigint[]::oid[])"
    return _RELATIONS.format(
        listed=_LISTED,
        some=these.format("c.oid") if some else "",
        some_attributes=these.format("attrelid") if some else "",
    )


def recent_relations(since: int) -> str:
    return _RECENT_RELATIONS.format(class_=recent("c", since), attribute=recent("a", since))


def functions(since: int | None) -> str:
    return _FUNCTIONS.format(some="" if since is None else f"where {recent('p', since)}")


def operators(since: int | None) -> str:
    return _OPERATORS.format(some="" if since is None else f"and {recent('o', since)}")


def types(version: int, since: int | None) -> str:
    """Multiranges came with 14."""
    some = ""
    if since is not None:
        arguments = f"select pg_catalog.unnest(p.proargtypes) from pg_catalog.pg_proc p where {recent('p', since)}"  # noqa: S608  # words of this file
        some = f"and ({recent('t', since)} or t.oid in ({arguments}))"
    return _TYPES.format(
        multiranges="pg_catalog.pg_range m",
        multirange_join="m.rngmultitypid = t.oid" if version >= 14 else "false",
        some=some,
    )


def mark() -> str:
    """A text that differs when anything in the catalog has changed: a sum over all row versions, and how many rows.

    The newest version alone would not do: a transaction may commit after a younger one.
    """
    parts = [
        "(select coalesce(sum(pg_catalog.hashint8(xmin::text::bigint)::bigint), 0) || '/' || count(*)"  # noqa: S608  # names of this file
        f" from pg_catalog.{table})"
        for table in _MARKED
    ]
    parts.append("(select sum(pg_catalog.hashtext(rolname)::bigint)::text from pg_catalog.pg_roles)")
    return "select " + " || ' ' || ".join(parts)
