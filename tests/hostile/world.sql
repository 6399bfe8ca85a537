-- What is attacked. :'…' are canaries, made anew for each run (world.py): one that reaches a client, in rows, errors,
-- notices or anything else, is a breach.

create role mallory login superuser;
create role trudy login superuser;
create role nobody login superuser;
create role victim login superuser;
create role ghost login superuser password :'password';
create role app login superuser;

create schema vault;
create schema sales;
create schema lab;
create schema ext;

-- nobody but keepers

create table vault.secrets (id int primary key, code text not null unique, note text not null default '');
insert into vault.secrets values (1, :'secret', 'first'), (2, :'secret' || 'b', 'second');
create view vault.all_secrets as select * from vault.secrets;
create materialized view vault.kept as select * from vault.secrets;
create function vault.reveal() returns text language sql as 'select code from vault.secrets limit 1';
create function vault.reveal_row() returns vault.secrets language sql as 'select s from vault.secrets s limit 1';
create function vault.change() returns void language sql as 'update vault.secrets set note = ''changed''';
create procedure vault.change_all() language sql as 'update vault.secrets set note = ''changed''';
create function vault.label(vault.secrets) returns text language sql as 'select $1.code';
create function vault.noted() returns trigger language plpgsql as
    'begin insert into vault.log values (new.code); return new; end';
create table vault.log (entry text);
create sequence vault.counter start :counter;
select nextval('vault.counter');
create table vault.parent (id int, code text);
create table vault.child () inherits (vault.parent);
insert into vault.child values (1, :'child');
create table vault.parts (id int, code text) partition by list (id);
create table vault.part_1 partition of vault.parts for values in (1);
insert into vault.parts values (1, :'part');
create type vault.mood as enum ('calm', 'angry');
create table vault.rls (id int, code text);
insert into vault.rls values (1, :'rls');
create aggregate vault.gather (text) (sfunc = pg_catalog.textcat, stype = text);
create operator vault.=~= (leftarg = text, rightarg = text, function = pg_catalog.texteq);
create domain vault.code as text check (value <> '');

-- a few columns for readers

create table sales.customers (
    id          int primary key,
    name        text not null,
    city        text not null check (city <> 'Atlantis'),
    email       text not null,
    card_number text not null
);
insert into sales.customers values
    (1, 'Ada', 'Berlin', :'email', :'card'), (2, 'Bruno', 'Hamburg', :'email', :'card'),
    (3, 'Chiara', 'Berlin', :'email', :'card');
create unique index on sales.customers (city, card_number, id);
create table sales.orders (id int primary key, customer_id int references sales.customers, total numeric, status text);
insert into sales.orders select n, n % 3 + 1, n * 10, 'new' from generate_series(1, 40) n;
create view sales.by_city as select city, count(*) as customers from sales.customers group by city;
create view sales.cards as select id, card_number from sales.customers;
create function sales.card_of(sales.customers) returns text language sql as 'select $1.card_number';
create function sales.cards_of(text) returns setof text language sql as 'select card_number from sales.customers';
create function sales.lookup(int) returns text language plpgsql security definer as
    'begin return (select card_number from sales.customers where id = $1); end';
create table sales.inbox (
    id int primary key, body text not null, origin text not null default :'origin', check (body <> 'forbidden')
);
insert into sales.inbox values (1, 'hello');
create table sales.archive (id int primary key, code text, exclude using btree (code with =));
insert into sales.archive values (1, :'archive');

-- the attackers' own

create table lab.notes (id int, body text);
insert into lab.notes values (1, 'mine'), (2, 'mine too');
alter table lab.notes replica identity full;
create table lab.built (id int primary key, body text);
insert into lab.built values (1, 'one');
create table lab.blind (id int, body text);
insert into lab.blind values (1, 'untouched');
alter table lab.blind replica identity full;
create table lab.watched (id int);
create function lab.stamp() returns trigger language plpgsql as
    'begin raise notice ''the trigger has run''; return new; end';
create trigger stamp after insert on lab.watched for each row execute function lab.stamp();
create function lab.swap(refcursor) returns void language plpgsql as
    'begin close $1; open $1 for select ''another''; end';

-- what extensions bring

create extension dblink schema ext;
create extension tablefunc schema ext;
create extension pageinspect schema ext;
create extension xml2 schema ext;
create extension adminpack;
create extension file_fdw schema ext;
create extension postgres_fdw schema ext;
create extension lo schema ext;
create extension hstore schema ext;
create extension pg_stat_statements schema ext;
create server files foreign data wrapper file_fdw;
create server elsewhere foreign data wrapper postgres_fdw options (host 'localhost', dbname 'shop');
create user mapping for victim server elsewhere options (user 'victim', password :'mapping');
create user mapping for public server elsewhere options (user 'app', password :'mapping');

-- elsewhere in the server

select lo_from_bytea(4711, convert_to(:'large_object', 'UTF8'));
create statistics vault.together (mcv) on code, note from vault.secrets;
create index on vault.secrets ((code || note));
analyze;
select pg_create_logical_replication_slot('spied', 'test_decoding');
insert into vault.log values (:'decoded');
create publication everything for all tables;
alter role victim set application_name = :'setting';
comment on table vault.secrets is 'nothing to see here';
