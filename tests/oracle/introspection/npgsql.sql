select version()
--
select n.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.typelem, t.typbasetype, r.rngsubtype, r.rngmultitypid, p.proname
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_class c on c.oid = t.typrelid
left join pg_catalog.pg_proc p on p.oid = t.typreceive
left join pg_catalog.pg_range r on r.rngtypid = t.oid
left join pg_catalog.pg_type e on e.oid = t.typelem
where t.typtype in ('b', 'r', 'm', 'e', 'd') or (t.typtype = 'c' and c.relkind = 'c') or t.typname in ('record', 'void')
order by case when t.typtype in ('b', 'e', 'p') then 0 else 1 end
--
select t.oid, a.attname, a.atttypid
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
join pg_catalog.pg_class c on c.oid = t.typrelid
join pg_catalog.pg_attribute a on a.attrelid = t.typrelid
where t.typtype = 'c' and c.relkind = 'c' and a.attnum > 0 and not a.attisdropped
order by t.oid, a.attnum
--
select t.oid, e.enumlabel from pg_catalog.pg_enum e join pg_catalog.pg_type t on t.oid = e.enumtypid order by t.oid, e.enumsortorder
--
select attnum, attname, attrelid, attidentity, attgenerated, typname, typnamespace, pg_get_expr(d.adbin, d.adrelid) from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_type t on t.oid = a.atttypid left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum where a.attnum > 0
--
select pg_is_in_recovery()
--
set session authorization default
--
reset all
--
close all
--
unlisten *
--
select pg_advisory_unlock_all()
--
discard sequences
--
discard temp
