-- A small shop: what the demo and the example rules speak of.
--
-- The roles of its people may do everything in it by GRANT: so that in the demo it is pgguard alone who refuses.
-- In real use keep your GRANTs as tight as they are; pgguard adds to them and replaces none of them.

create role alice login;
create role bob login;
create role carol login;
create role dora login;
create role eve login;

create schema sales;
create schema hr;

create table sales.customers (
    id          integer generated always as identity primary key,
    name        text not null,
    email       text not null unique,
    city        text not null,
    card_number text not null,
    created_at  timestamptz not null default now()
);
comment on column sales.customers.card_number is 'number of the card on file @pii';

create table sales.products (
    id    integer generated always as identity primary key,
    name  text not null unique,
    price numeric(10, 2) not null check (price > 0)
);

create table sales.orders (
    id          integer generated always as identity primary key,
    customer_id integer not null references sales.customers,
    product_id  integer not null references sales.products,
    total       numeric(10, 2) not null,
    status      text not null default 'new' check (status in ('new', 'paid', 'shipped', 'returned')),
    created_at  timestamptz not null default now()
);

create view sales.revenue_by_city as
    select c.city, count(*) as orders, sum(o.total) as revenue
    from sales.orders o join sales.customers c on c.id = o.customer_id
    group by c.city;

create table hr.employees (
    id   integer generated always as identity primary key,
    name text not null,
    role text not null
);

create table hr.salaries (
    employee_id integer primary key references hr.employees,
    amount      numeric(10, 2) not null,
    ssn         text not null
);

insert into sales.customers (name, email, city, card_number) values
    ('Ada Lindgren',   'ada@example.com',    'Berlin',  '4111-1111-1111-1111'),
    ('Bruno Keller',   'bruno@example.com',  'Hamburg', '5500-0000-0000-0004'),
    ('Chiara Rossi',   'chiara@example.com', 'Berlin',  '3400-0000-0000-009'),
    ('Dimitri Vassos', 'dimi@example.com',   'Köln',    '6011-0000-0000-0004');

insert into sales.products (name, price) values
    ('field notebook', 12.50), ('fountain pen', 48.00), ('desk lamp', 79.90);

insert into sales.orders (customer_id, product_id, total, status) values
    (1, 1, 25.00, 'shipped'), (1, 2, 48.00, 'paid'), (2, 3, 79.90, 'new'),
    (3, 1, 12.50, 'new'), (3, 2, 96.00, 'shipped'), (4, 3, 79.90, 'returned');

insert into hr.employees (name, role) values ('Erik Holm', 'warehouse'), ('Fatima Aziz', 'finance');
insert into hr.salaries values (1, 41000.00, '123-45-6789'), (2, 58000.00, '987-65-4321');

grant usage on schema sales, hr to public;
grant select, insert, update, delete on all tables in schema sales, hr to public;
grant usage on all sequences in schema sales, hr to public;
