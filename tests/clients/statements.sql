create table t2 (id int, v text)
insert into t2 values (1,'a'),(2,'b')
create index if not exists ix on t2 (id)
create index if not exists ix on t2 (id)
create table if not exists t2 (id int)
drop index if exists ix, nope2
drop view if exists v1
drop function if exists f1(int)
drop function if exists f1
drop procedure if exists p1(int)
drop type if exists ty1
drop schema if exists s1
drop role if exists r1x
drop extension if exists nopext
drop trigger if exists tr on t2
drop policy if exists po on t2
drop rule if exists ru on t2
drop domain if exists do1
drop aggregate if exists ag1(int)
drop collation if exists co1
drop operator if exists #(int,int)
drop cast if exists (text as nope3)
drop sequence if exists sq
drop foreign table if exists ft
drop server if exists sv
drop database if exists nodb
alter table if exists nope add column x int
alter table t2 add column if not exists v text
alter table t2 drop column if exists zz
alter table t2 rename column v to w
alter table t2 rename to t3
alter index if exists nope rename to x
alter sequence if exists nope restart
alter view if exists nope rename to x
alter table if exists nope rename to x
alter table if exists nope set schema public
alter materialized view if exists nope rename to x
create schema if not exists public
create extension if not exists plpgsql
create or replace function g(int) returns int language sql as 'select $1'
create or replace procedure pp() language sql as 'select 1'
call pp()
do $$ begin perform 1; end $$
select g(3)
create type mood as enum ('a','b')
alter type mood add value if not exists 'a'
alter type mood add value 'c'
select 'a'::mood
select 'z'::mood
create domain pos as int check (value > 0)
select (-1)::pos
create sequence sq start 5
select nextval('sq'), currval('sq'), lastval()
select setval('sq', 10)
create materialized view mv as select 1 as a
refresh materialized view mv
refresh materialized view concurrently mv
create unique index on mv (a)
refresh materialized view concurrently mv
create view vw as select * from t3
select * from vw
create temp table tt as select 1 as x
select * from tt
insert into tt values (2) returning x, x + 1 as y
with a as (insert into tt values (3) returning *) select * from a
truncate tt
create table part (a int, b int) partition by range (a)
create table part1 partition of part for values from (0) to (10)
insert into part values (3, 4)
insert into part values (30, 4)
select * from part
select tableoid::regclass, * from part
alter table part detach partition part1
alter table part attach partition part1 for values from (0) to (10)
explain (costs off) select * from part where a = 3
create rule rr as on insert to tt do nothing
create policy pol on t3 using (true)
alter table t3 enable row level security
comment on table t3 is 'hello'
comment on column t3.w is 'x'
grant select on t3 to public
revoke select on t3 from public
create statistics st on id, w from t3
analyze t3
vacuum t3
cluster t3
reindex table t3
lock table t3
begin; lock table t3 in share mode; commit
prepare q1 as select $1::int + 1
execute q1(2)
execute q1
explain execute q1(2)
deallocate q1
begin; declare cc cursor with hold for select generate_series(1,5); commit
fetch 2 from cc
move 1 in cc
fetch all from cc
close cc
copy (select 1, 'a') to stdout (format csv, header)
copy t3 to stdout
set search_path to public, pg_temp
show search_path
reset search_path
set local work_mem = '5MB'
set statement_timeout = '900ms'
select pg_sleep(5)
reset statement_timeout
set transaction isolation level serializable
begin isolation level serializable; select 1; commit
show transaction_isolation
select current_setting('nope.nope', true), current_setting('nope.nope')
select set_config('my.x', '1', false), current_setting('my.x')
discard temp
discard plans
discard all
listen ch
notify ch, 'x'
unlisten *
select 1 as a union select 2 order by 1
select * from (values (1,'a'),(2,'b')) v(x,y)
select array_agg(x order by x desc) filter (where x > 1) from generate_series(1,3) x
select x, row_number() over (order by x) from generate_series(1,2) x
select * from t3 for update
select json_build_object('a', 1), jsonb_path_query('{"a":1}', '$.a')
select * from json_to_recordset('[{"a":1}]') as x(a int)
select xmlelement(name foo)
select * from generate_series(1,3) with ordinality
select * from t3 tablesample bernoulli (100)
select interval '1 day', date '2020-01-01' + 1
select 1/0
select 'a'::int
select upper('a') collate "C"
select row(1,2) = row(1,2), (row(1,2)).f1
merge into t3 using (values (1)) v(i) on t3.id = v.i when matched then update set w = 'm' when not matched then insert values (v.i, 'n')
insert into t3 values (1, 'z') on conflict do nothing
update t3 set w = 'q' where id = 1 returning *
delete from t3 where id = 2 returning *
select count(*) from pg_stat_activity where pid = pg_backend_pid()
select has_table_privilege('t3', 'select')
select pg_get_viewdef('vw'::regclass)
create table gen (a int generated always as identity, b int generated always as (a * 2) stored)
insert into gen default values returning *
insert into gen (a) values (5)
create table ck (a int check (a > 0), b int not null, c int unique)
insert into ck values (-1, 1, 1)
insert into ck values (1, null, 1)
insert into ck values (1, 1, 1)
insert into ck values (1, 1, 1)
create event trigger et on ddl_command_end execute function nofn()
create publication pb for table t3
drop publication pb
alter role alice set work_mem = '4MB'
alter role alice reset work_mem
create role rr1
grant rr1 to alice
set role rr1
reset role
drop role rr1
checkpoint
load 'plpgsql'
create cast (int as mood) with inout
create operator === (leftarg = int, rightarg = int, function = int4eq)
select 1 === 1
create aggregate sm (int) (sfunc = int4pl, stype = int)
select sm(x) from generate_series(1,3) x
create collation cl from "C"
create foreign data wrapper fw
create server sv foreign data wrapper fw
create text search configuration tsc (copy = simple)
create access method am type index handler bthandler
security label on table t3 is 'x'
import foreign schema x from server sv into public
prepare transaction 'x'
start transaction; commit and chain; rollback
begin; savepoint a; release a; end
abort
values (1),(2)
table t3
select
;
select 1; select 2
drop table t3 cascade
drop table part, gen, ck
