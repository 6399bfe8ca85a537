select 1
select id from customers
select c.id, c.name from customers c where c.region = 'x'
select * from customers
select count(*) from customers
select c from customers c
select c.* from customers c
select (c).name from customers c
select (c).* from customers c
select customers from customers
select ctid, xmin from customers
select tableoid::regclass, c.ctid from customers c
select full_name(c) from customers c
select c.full_name from customers c
select (c).full_name from customers c
select row(c.*) from customers c
select id from app.customers where app.customers.region = 'q'
select o.id from orders o join customers c on c.id = o.customer_id
select total, name from orders join customers on customers.id = customer_id
select * from orders o join items i on i.order_id = o.id
select id from orders join (select id, name from customers) c using (id)
select o.id from orders o join customers c using (id)
select c.id from orders o left join customers c using (id)
select id from orders o full join customers c using (id)
select * from orders natural join customers
select name from customers natural join tree
select x.id from (orders o join customers c using (id)) x
select * from (orders o join customers c using (id)) x
select x.name from (orders o join customers c on o.customer_id = c.id) as x (a, b, c2, d, e, f, g, h, name)
select o.total, u.id from orders o join customers c using (id) as u
select 1 from orders o cross join customers c
select 1 from orders a, orders b where a.id = b.customer_id
select a from (select id as a, name from customers) s
select count(*) from (select * from customers) s
select s.name from (select * from customers) s where s.id = 1
select s from (select id, name from customers) s
select * from orders o, lateral (select name from customers c where c.id = o.customer_id) l
select * from orders o left join lateral (select c.name from customers c where c.id = o.customer_id) l on true
select id from customers where id in (select customer_id from orders)
select id from customers where exists (select 1 from orders where customer_id = customers.id)
select id, (select max(total) from orders o where o.customer_id = c.id) from customers c
select id from customers c where (id, name) = (select id, status from orders limit 1)
select id from customers c where id = any (select customer_id from orders where total > 5)
select array(select total from orders)
select region, count(*) from customers group by region having count(*) > 1 order by 2
select region r, count(*) from customers group by r
select name as region, region as x from customers order by region
select name as region from customers order by customers.region
select name as region from customers group by region, name
select region from customers group by grouping sets ((region), (name), ())
select region, grouping(region) from customers group by rollup (region, name)
select distinct on (region) name from customers order by region, since
select sum(total) filter (where status = 'x') from orders
select percentile_cont(0.5) within group (order by total) from orders
select mode() within group (order by status) from orders
select row_number() over (partition by status order by made) from orders
select sum(total) over w from orders window w as (partition by customer_id order by id)
select string_agg(name, ',' order by since) from customers
select array_agg(c) from customers c
select id from customers union select customer_id from orders order by 1
select id as k from customers union all select id from other.orders order by k
select id from customers intersect select id from orders except select id from items i(id)
(select id from customers order by name limit 1) union all (select id from orders order by made)
values (1, 'a'), (2, 'b')
values ((select max(id) from orders))
select * from (values (1, 'a')) v(a, b) where a = 1
table customers
select * from orders, customers where orders.id = customers.id limit (select 3) offset 1
with c as (select id from customers) select * from c
with c as (select id, name from customers) select id from c
with c as (select * from customers) select 1
with customers as (select id from orders) select * from customers
with customers as (select id from customers) select * from customers
with a as (select id from orders), b as (select id from a) select * from b join customers using (id)
with recursive t as (select id, parent from tree where parent is null union all select c.id, c.parent from tree c join t on c.parent = t.id) select * from t
with recursive t(n) as (values (1) union all select n + 1 from t where n < 5) select sum(n) from t
with recursive t as (select id, parent from tree union all select c.id, c.parent from tree c join t on c.parent = t.id) search depth first by id set ord select id, ord from t
with recursive t as (select id, parent from tree union all select c.id, c.parent from tree c join t on c.parent = t.id) cycle id set is_cycle using path select id, is_cycle, path from t
with d as (delete from orders where id = 1 returning *) select * from d
with d as (delete from orders where id = 1 returning id, total) insert into items (order_id, price) select * from d
with orders as (select 1 as id) update orders set total = 1
with orders as (select 1 as id) delete from orders
with orders as (select 1 as id) insert into orders (id) select id from orders
with u as (update customers set name = 'x' where id = 1 returning id) select 1
with x as (insert into customers (id) values (1) returning id) select id from x
with c as (select id from customers) select (with c as (select total from orders) select max(total) from c) from c
select * from orders where id in (with q as (select order_id from items) select order_id from q)
insert into customers values (1, 'x')
insert into customers (id, name) values (1, 'x')
insert into customers default values
insert into customers values (1, default, 'c')
insert into customers (name, id) select status, id from orders
insert into customers select id, status from orders
insert into customers (id) values ((select max(id) from orders)) returning id
insert into customers (id) values (1) returning *
insert into customers as c (id) values (1) returning c.name, c.id + 1
insert into customers (id, name) values (1, 'a') on conflict do nothing
insert into customers (id, name) values (1, 'a') on conflict (id) do nothing
insert into customers (id, name) values (1, 'a') on conflict (id) do update set name = excluded.name
insert into customers (id, name) values (1, 'a') on conflict (id) do update set name = excluded.name, region = customers.region where customers.since < now()
insert into customers as c (id, name) values (1, 'a') on conflict (id) do update set name = c.name || excluded.name where excluded.region is null returning c.id
insert into customers (id, name) values (1, 'a') on conflict (id) do update set (name, card) = (excluded.name, 'x')
insert into customers (id, name) values (1, 'a') on conflict (id) do update set (name, card) = (select status, status from orders limit 1)
insert into customers (id, name) values (1, 'a') on conflict on constraint customers_pkey do update set name = 'b'
insert into customers (id, name) values (1, 'a') on conflict on constraint customers_pkey do nothing
insert into items (order_id, line) values (1, 1) on conflict on constraint items_pkey do nothing
insert into pairs (id, p.a) values (1, 2)
insert into pairs (id, ps[1]) values (1, row(1, 'a')::pair)
insert into events (id, at) values (1, '2026-01-02')
with c as (select 1 as id) insert into customers (id) select id from c returning (select count(*) from c)
update customers set name = 'x'
update customers set name = 'x' where id = 1
update customers set name = region where id = $1
update customers set (name, region) = ('a', card)
update customers set (name, region) = (select status, status from orders where customer_id = customers.id limit 1)
update customers c set name = o.status from orders o where o.customer_id = c.id
update customers set name = default
update customers set name = 'x' returning *
update customers set name = 'x' returning id
update customers c set name = 'x' from orders o returning c.id, o.total
update customers c set name = 'x' from orders o where o.id = c.id returning *
update pairs set p.a = 1
update pairs set p.a = (p).a + 1, ps[id] = null
update only base set note = 'x'
delete from customers
delete from customers where id = 1
delete from customers where region = 'x' returning *
delete from customers c using orders o where o.customer_id = c.id and o.total > 3
delete from customers using orders where orders.customer_id = customers.id returning orders.status
delete from customers where id in (select customer_id from orders)
merge into customers c using orders o on c.id = o.customer_id when matched then update set name = o.status when not matched then insert (id, name) values (o.customer_id, o.status)
merge into customers c using orders o on c.id = o.customer_id when matched and c.region = 'x' then delete when matched then do nothing
merge into customers c using (select customer_id, max(total) t from orders group by 1) o on c.id = o.customer_id when not matched and o.t > 1 then insert values (o.customer_id, 'x')
merge into customers using items on id = order_id when not matched then insert default values
merge into customers using items on true when matched then update set (name, region) = (product, card)
with s as (select id from orders) merge into customers c using s on c.id = s.id when matched then delete
select id from customers for update
select c.id from customers c, orders o for update of c
select * from customers for share
select id from (select id from customers) s for update
select id from customers c, (select id as oid from orders) o for update of o
select count(*) from (select 1 from customers for no key update) s
select name from customers c where exists (select 1 from orders o where o.id = c.id for key share)
select id from open_orders for update
with q as (select id from customers) select * from orders o, q for update
with q as (select id from customers) select * from orders o, q for update of o
select id from open_orders
select * from open_orders
select customer_id from summary
select id from events
select id from events_2026
select note from base
select note from only base
select extra from child
select f(1), f('a'::text), f('a')
select f(id), f(name) from customers
select g(1), g(1, 2), g(a => 1), g(1, c => 'y')
select v(1, 2, 3), v(variadic array[1, 2])
select poly(id), poly(name) from customers
select my_sum(id) from customers
select my_sum(id) over (order by name) from customers
select pair_sum(p), (p).a, (p).pair_sum from pairs
select p === p from pairs
select p operator(app.===) p from pairs
select name operator(app.+) 'x' from customers
select name + 'a' from customers
select 1 + 2
select 'x'::text::pair
select name::pair from customers
select cast(name as app.pair) from customers
select * from rows(3)
select x from rows(3) r
select r.y, r from rows(3) r
select r.q from rows(3) r(q, w)
select * from people()
select name from people()
select people() from orders
select p.name, c.id from people() p join customers c using (id)
select * from rec() as r(a int, b int)
select a from rec() as r(a int, b int)
select * from scalar_set(1)
select scalar_set from scalar_set(1)
select s from scalar_set(1) s
select z from scalar_set(1) s(z)
select * from out2()
select a from out2()
select * from rows from (rows(1), scalar_set(2)) with ordinality as t(a, b, c, o)
select ordinality from scalar_set(1) with ordinality
select * from customers c, rows(c.id) r
select * from customers c, rows((select max(total)::int from orders)) r
select generate_series(1, id) from customers
select g from generate_series(1, 3) g
select g.g from generate_series(1, 3) as g(g)
select * from unnest(array[1, 2], array['a', 'b']) u(a, b)
select unnest(tags) from orders
select t from orders, unnest(tags) t
select jsonb_array_elements(data) from orders
select e.value, e.key from orders, jsonb_each(data) e
select * from orders, jsonb_to_recordset(data) as j(a int, b text)
select data ->> 'a', data #> '{a}' from orders
select xt.* from xmltable('/r' passing ('<r/>'::xml) columns a int path 'a', o for ordinality) xt
select xt.a from orders o, xmltable('/r' passing (o.status::xml) columns a int path 'a') xt
select id from customers tablesample system (10)
select id from customers tablesample bernoulli (10) repeatable (3)
select case when id = 1 then name else region end from customers
select case region when 'x' then name end from customers
select coalesce(name, card), nullif(region, 'x'), greatest(id, 2), least(id, 3) from customers
select name like 'a%', name ilike 'b', name similar to 'c', name not like 'd' from customers
select id between 1 and 3, id between symmetric 3 and 1 from customers
select id in (1, 2), id not in (3), id = any (array[1]), id <> all ('{1}') from customers
select id is distinct from 3, name is null, (id = 1) is not true from customers
select current_user, current_date, current_timestamp, session_user, current_schema, localtime
select extract(year from since), since at time zone 'utc', position('a' in name), substring(name from 1 for 2), trim(both 'x' from name), overlay(name placing 'x' from 1) from customers
select upper(name), lower(name), length(name), now() - since from customers
select abs(total), round(total, 2), round(total) from orders
select count(id), max(since), min(name), avg(id), sum(id) from customers
select to_char(made, 'YYYY'), date_trunc('day', made), age(made) from orders
select coalesce(sum(total), 0), count(distinct status) from orders
select concat(name, 1), format('%s', name), concat_ws(',', name, card) from customers
select md5(name), encode(name::bytea, 'hex'), left(name, 2), replace(name, 'a', 'b') from customers
select lag(total) over (order by id), lead(total, 2) over (order by id), first_value(id) over (order by id), rank() over (order by total), ntile(4) over (order by id) from orders
select jsonb_build_object('a', id), to_jsonb(c), row_to_json(c) from customers c
select json_agg(c.*), jsonb_agg(c.name), json_object_agg(id, name) from customers c
select (select c.name) from customers c
select (select count(*) from orders where customer_id = c.id and status = c.region) from customers c
select (p).b, (ps[1]).a, ps[1:2] from pairs
select tags[1], tags[1:2], data['a'] from orders
select array[id, 2], array[[1], [id]] from customers
select row(id, name), (id, name) = (1, 'x'), (id, name) < (1, 'x') from customers
select (row(1, 'a')::pair).b
select xmlelement(name a, name), xmlforest(id, name as n), xmlconcat('<a/>'::xml) from customers
select not exists (select from orders)
select from customers
select customers.* from customers, orders where orders.id = customers.id
select o.* from orders o order by o.total
select c.region from customers c order by c.since desc nulls last
select id from customers order by name collate "C", lower(name)
select id as name from customers order by name
select id from customers order by name using <
select name from customers where name collate "C" > 'a'
select m = 'sad', m::text from pairs
select date '2020-01-01' + 1, interval '1 day' * 2
select id from customers where since > now() - interval '1 day' and name = $1::text
select $1::int + id from customers
select nextval('app.numbers'), currval('app.numbers')
select c.name from open_orders, customers c
select relname from pg_class
select a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid where c.relname = 'x' and pg_table_is_visible(c.oid)
select table_name from information_schema.tables
select pg_get_userbyid(relowner), pg_catalog.format_type(1, 2) from pg_catalog.pg_class
select o.id from other.orders o
select other.orders.secret from other.orders, app.orders
select app.orders.id, o2.id from app.orders, other.orders o2
select * from app.orders o join other.orders p on o.id = p.id join customers c on c.id = p.id
select * from app.orders join other.orders using (id)
select region, count(*) from other.orders join customers using (id, region) group by region
select x from (select id from customers) as s(x)
select s.x from (select id, name from customers) as s(x)
select s.name from (select id, name from customers) as s(x)
select c.a, c.name from customers c(a)
select a from customers as c(a, b) where b = 'x'
select c.name from customers c(a, name)
select * from customers c(a, b) where a = 1
select q.n from (select name as n from customers union select status from orders) q
select id from customers where name = (select status from orders where orders.id = customers.id)
select 1 where (select true from orders limit 1)
select max(id) from customers having max(region) > 'x'
select customers.name from customers group by customers.id
select c.* from customers c group by c.id
select count(c) from customers c
select count(c.*) from customers c
select c is null, c = c, c::text from customers c
select pg_typeof(c), c.name::varchar(3), c.id::bigint from customers c
select sum(i.price * o.total) from orders o join items i on i.order_id = o.id group by rollup (o.status), cube (i.product)
select o from (select o from orders o) q
select (q.o).total from (select o from orders o) q
select (o).total from (select o from orders o) q
select (q).total from (select total from orders) q
select r.* from orders o cross join lateral (select o.total, o.id) r
select * from orders o, lateral rows(o.id) r(a, b) where r.a = 1
select j.id from (orders o join customers c using (id)) j where j.region = 'x'
select * from (orders join customers using (id)) join items on order_id = id
select * from orders left join (customers join items on items.line = customers.id) on orders.id = items.order_id
select f(id) from people() p
select p.full_name, (p).name from people() p
select (select c from customers c limit 1).full_name
select (array_agg(c))[1].full_name from customers c
select (people()).name
select (people()).*
select (out2()).a, (out2()).*
select (q.c).name from (select c from customers c) q
select (q.c).full_name from (select c from customers c) q
select name(c) from customers c
select full_name(p) from people() p
select x.full_name from (select * from customers) x, customers y where x.id = full_name(y)::int
select f(case when true then 1 else 2 end), f(case when true then 'a' else 'b' end)
select f(coalesce(null, 1)), f(null::int), f(null)
select f((select 1)), f((select name from customers limit 1)), f((array[1, 2])[1])
select f(x) from (select 1 as x union select 2) s
select f(x) from (values (1), (2)) v(x)
select f(x) from (select 'a' as x) s
select f(count(*)::int), f(max(name)) from customers
select f(n) from generate_series(1, 3) n
with c as (select 1 as x, 'a' as y) select f(x), f(y) from c
with recursive t(n) as (select 1 union all select f(n) from t) select f(n) from t
select f(t) from unnest(array[1, 2]) t
select f(a), f(b) from unnest(array[1, 2], array['a', 'b']) as u(a, b)
select f(a), f(b) from jsonb_to_recordset('[]') as j(a int, b text)
select f(s.value) from orders o, jsonb_each_text(o.data) s
select f(extract(year from since)::int) from customers
select f(id + 1), f(name || 'x'), f(id || name) from customers
select id + 1.5, total * id, since + 1, since - since, made - interval '1 h' from customers c join orders using (id)
select poly(array[1, 2]), poly(p), poly(ps[1]) from pairs
select f(poly(1)), f(poly('a'::text)), f((poly(p)).a) from pairs
select pair_sum(row(1, 'x')), pair_sum(p) from pairs
select pair_sum(p) from (select p from pairs) q
select name + 'a' || 'b', 'a' + name, name + region from customers
select 'a' + 'b'
select id from customers where name + 'a' = any (array['b'])
select id from pairs where p === any (ps)
select id from pairs a where exists (select 1 from pairs b where a.p === b.p)
select id from pairs where p === row(1, 'a')
select id from pairs where p === '(1,a)'
insert into pairs (id, p) select id, name from customers
insert into pairs (id, p) values (1, '(1,a)')
insert into pairs (id, p) values (1, row(1, 'a'))
update pairs set p = 'x'::text
update pairs set p = name from customers
update pairs set (id, p) = (1, 'x'::text)
insert into pairs values (1, 'a'::text)
select my_sum(id) filter (where name + 'a' is not null) from customers
select my_sum(distinct id) from customers
select v(id, 1) from customers
select v(variadic tags::int[]) from orders
select g(b => 2, a => id) from customers
select app.g(c => name, a => id) from customers
select pg_catalog.lower(name), app.f(id) from customers
select lower('A'), length('abc'), substr('abc', 1), coalesce(length(name), 0) from customers
select date_part('year', since), date_trunc('month', now()), to_date('x', 'y'), make_date(1, 2, 3) from customers
select sum(1), avg(total), stddev(total), bool_and(true), every(id > 1), corr(id, id) from orders
select min(made), max(tags), array_agg(tags), array_agg(id order by id) from orders
select array_length(tags, 1), array_append(tags, 'x'), array_position(tags, 'a'), tags || '{b}', cardinality(tags), array_to_string(tags, ',') from orders
select data -> 'a' -> 'b', data @> '{}', data ? 'x', jsonb_set(data, '{a}', '1'), jsonb_path_query(data, '$') from orders
select data || '{"a": 1}', data - 'a', jsonb_typeof(data) from orders
select percent_rank(1) within group (order by id), percentile_disc(array[0.5]) within group (order by total) from orders
select rank(5) within group (order by id) from orders
select nth_value(id, 2) over w, lag(status, 1, 'x') over w, count(*) over w, sum(total) over (w rows 1 preceding) from orders window w as (order by id)
select regexp_replace(name, 'a', 'b'), regexp_matches(name, 'x'), split_part(name, ',', 1), name ~ 'x', name !~* 'y' from customers
select random(), pi(), power(2, 3), sqrt(4), ceil(1.5), floor(total), mod(id, 2), trunc(1.5), sign(total) from orders
select greatest(made, now()), made at time zone 'utc', timezone('utc', now()), now()::date from orders
select (now() - made) > interval '1 day', extract(epoch from now() - made), justify_hours(now() - made) from orders
select string_to_array(name, ','), unnest(string_to_array(name, ',')), ascii(name), chr(65), repeat(name, 2), lpad(name, 3) from customers
select pg_size_pretty(pg_relation_size('app.customers')), pg_total_relation_size('app.customers'::regclass)
select has_table_privilege('app.customers', 'select'), obj_description('app.customers'::regclass), col_description(1, 1)
select int4range(1, 3) @> 2, lower(int4range(1, 3)), daterange('2020-01-01', null) && daterange(null, null), range_agg(int4range(1, id)) from customers
select overlay('a' placing 'b' from 1 for 1), position('a' in 'b'), trim('x '), trim(leading 'x' from 'y'), substring('abc' from 'b'), substring('abc' similar 'b' escape '#')
select (now(), now()) overlaps (now(), now())
select 'a' like 'b' escape 'c', name like 'x' escape '!' from customers
select normalize('x'), 'x' is normalized, collation for (name) from customers
select xmlparse(document '<a/>'), xmlpi(name a), xmlroot('<a/>'::xml, version '1'), xmlserialize(content '<a/>'::xml as text), '<a/>'::xml is document
select current_catalog, current_role, user, current_time, localtimestamp(2)
select inet '10.0.0.1' << '10.0.0.0/8', host('1.1.1.1'), '\x00'::bytea, bit_length('a'), b'101' & b'111'
select to_tsvector('a'), to_tsvector('english', name) @@ to_tsquery('a'), ts_rank(to_tsvector(name), plainto_tsquery('x')) from customers
select gen_random_uuid(), hashtext('a'), txid_current(), pg_backend_pid(), version()
select -id, +id, - total, @ id, !!'a'::tsquery, ~ 1 from orders
select * from pg_stat_activity
select * from generate_series('2020-01-01'::timestamp, '2020-02-01', '1 day') d
select * from pg_get_keywords(), json_each('{}'), json_populate_record(null::pair, '{}'), jsonb_populate_recordset(null::customers, '[]') p
select p.a, r.name from json_populate_record(null::pair, '{}') p, jsonb_populate_recordset(null::customers, '[]') r
select count(*) from customers c where (c.id, c.name) in (select id, status from orders)
select count(*) from customers c where (c.id, c.name) in ((1, 'a'), (2, 'b'))
select count(*) from customers where row(id, name) is not null and row(id) = row(1)
select c.id from customers c order by (select max(o.total) from orders o where o.customer_id = c.id)
select distinct on (n) name as n, region from customers order by n
select case when exists (select 1 from orders) then (select max(name) from customers) end
select sum(s.total) over (partition by c.region order by s.made range between unbounded preceding and current row) from orders s join customers c on c.id = s.customer_id
select o.*, c.name from orders o join customers c on o.customer_id = c.id where c.region in ('a', 'b') and o.made >= now() - interval '7 days' order by o.made desc limit 10 offset 5
select a.id from customers a left join customers b on a.id = b.id right join customers c on b.id = c.id full join orders o on o.id = c.id
select * from customers a join customers b using (id, name) join orders using (id)
select id from customers a join customers b using (id) where a.name = 'x' order by id
select a.*, b.region from customers a natural join customers b
select t.id from customers t where t.id = (select max(t.id) from orders t)
select (select t.total from orders t where t.id = u.id limit 1) from customers u
update customers c set name = (select max(o.status) from orders o where o.customer_id = c.id) where c.region = 'x' and c.id = 5
update customers c set name = s.name from (select id, name from customers where region = 'x') s where s.id = c.id
update customers set name = d.name from (with q as (select * from tree) select * from q) d where d.id = customers.id
update orders set tags[1] = 'x', data['a'] = '1'
with q as (select id from orders where total > 5 for update) update customers set name = 'x' from q where q.id = customers.id
delete from orders o using customers c join items i on i.order_id = c.id where o.id = i.order_id
delete from customers as c where c.ctid = '(0,1)'
delete from events where at < '2026-01-01'
insert into open_orders (id) values (1) returning total
update open_orders set total = 1 where id = 3
insert into items select o.id, 1, 'x', o.total from orders o where o.status = 'x' on conflict (order_id, line) where true do update set price = items.price + excluded.price returning *
insert into items (order_id, line, price) values (1, 2, (select max(total) from orders)), (2, default, 3)
insert into customers overriding system value values (1)
insert into customers (id) select 1 returning (select count(*) from orders where customer_id = customers.id)
merge into items i using (values (1, 2, 3)) v(o, l, p) on i.order_id = v.o and i.line = v.l when matched and i.price > 5 then update set price = v.p when matched then delete when not matched then insert (order_id, line, price) values (v.o, v.l, v.p)
merge into items using orders on order_id = id when matched then update set price = default
with x as (update customers set name = 'a' returning id, name), y as (delete from orders using x where orders.customer_id = x.id returning orders.*) select y.total, x.name from y join x on x.id = y.customer_id
with x as materialized (select * from customers), y as not materialized (select id from x) select * from y
with recursive a as (select 1 as n), b as (select n from a union all select n + 1 from b where n < (select count(*) from customers)) select * from b
with recursive t as (select id from tree union select t.id from t, customers c where c.id = t.id) delete from orders using t where orders.id = t.id
select * from (select 1 as a) x, (select 2 as b) y, lateral (select x.a + y.b as c) z where z.c = 3
select * from orders o where o.total > all (select price from items i where i.order_id = o.id)
select json_build_object('a', c.id, 'b', (select json_agg(o.*) from orders o where o.customer_id = c.id)) from customers c
select json_agg(row_to_json(t)) from (select id, name from customers) t
select to_json(t.*), t from (select c.id, o.total from customers c, orders o) t
select coalesce(t, null) from customers t
select customers.name, orders.status from app.customers, app.orders
select app.customers.name from app.customers join app.orders on app.customers.id = app.orders.customer_id
select app.customers.* from app.customers
select r from (select row(id, name) as r from customers) q
select grouping(region, name), region from customers group by cube (region, name) having grouping(region) = 0
select c.region, count(*) filter (where o.total > 5) from customers c left join orders o on o.customer_id = c.id group by 1 order by 2 desc
select 1 from customers group by (region), (name, id)
select id::text::int, id::numeric(10, 2), cast(name as varchar(5)), name::"char", id::regclass from customers
select full_name(zz), zz.id from customers zz cross join (select (people()).*) q where zz.region is not null
select full_name(zz) from customers zz cross join (select (out2()).*) q
select * from (select (c).* from customers c) q natural join tree
with recursive a as (select q.id from orders q), orders as (select id, name from customers) select id from a
select (c.name).length from app.customers c
select (c.name).upper, ((c.id)::text).md5 from app.customers c
select card(c), length(card(c)) from customers c
select b(p), pair_sum(p) from pairs
merge into customers using (select 1) s on true when matched then do nothing
merge into customers using (select 1) s on true when not matched then insert (id) values (1)
merge into customers using (select 1) s on true when matched then delete
merge into customers t using (select id, name from customers) s on t.id = s.id when not matched and name is null then insert (id, name) values (id, name) when matched then update set region = s.name
select now($1::void)
select date_trunc('day', $1::void, now()), date_trunc($2, $3::pg_catalog.void::void, now())
select (select int4 from (select 1::int::text) v) from named
select (select text from (select 1::int::text) v) from named
select (select int4 from (select case when true then 2 else 1::int end) v) from named
select (select "case" from (select case when true then 2 else 1::int end) v) from named
select (select text from (select (select 1)::text) v) from named
select (select "?column?" from (select (select 1)::text) v) from named
select (select int4 from (select case when true then 2 else (select 1::int) end) v) from named
select (select text from (select (select * from single)::text) v) from named
select (select column1 from (select (values (1))) v) from named
select (select "case" from (select (select "?column?" from (select 1) q)) v) from named
select (select text from (select (1::int)::text collate "C") v) from named
select (select nullif from (select nullif(1, 2)) v) from named
select (select nullif from (select nullif(1, 2)::text) v) from named
select (select "user" from (select user) v) from named
select (select "localtime" from (select localtime(3)) v) from named
select (select xmlpi from (select xmlpi(name a)) v) from named
select (select "?column?" from (select ('<a/>'::xml) is document) v) from named
select (select greatest from greatest(1, 2)) from named
select (select nullif from nullif(1, 2)) from named
select (select text from cast(1 as text)) from named
select (select int4 from named()) from named
select (select named from named()) from app.named t
insert into circles (c1, c2) values ('<(0,0),1>', 'x') on conflict on constraint circles_c1_c2_excl do nothing
merge into base t using orders o on o.status = 'x' when matched then do nothing when not matched then insert (note) values (o.status)
select upper(name) as n, (c).*, c.* from customers c order by n
select distinct on (n) (r).*, t.name as n from rec() as r (id int, total int), tree t order by n, total
select name(c), x(s), id(c.*), region(o.*), id(o), f(id(o)), x(s.*) from customers c, other.orders o, (select 1 as x) s
select full_name(c.*), to_jsonb(c.*) -> 'a', count(c.*), (c.*).name from customers c group by c.id
