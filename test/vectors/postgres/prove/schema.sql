-- More ways for a relation to be made of another.
create type app.status as enum ('open', 'closed');
create domain app.short as text check (length(value) < 100);
create table app.accounts (
  id int primary key,
  state app.status not null default 'open',
  label app.short,
  email text not null,
  shout text generated always as (upper(email)) stored,
  doubled int generated always as (id * 2) stored
);
insert into app.accounts (id, label, email) select i, 'account ' || i, 'zq7x' || i || '@sentinel-corp.example' from generate_series(1, 5) i;
create table app.totals (id int, amount numeric, at date) partition by list (id);
create table app.totals_1 partition of app.totals for values in (1, 2);
create table app.totals_2 (at date, amount numeric, id int);
alter table app.totals attach partition app.totals_2 for values in (3, 4);
insert into app.totals select 1 + i % 4, i, date '2025-01-01' + i from generate_series(1, 8) i;
create view app.joined as select u.id, u.email as mail, o.total from app.users u join app.orders o on o.user_id = u.id;
create view app.counted as select team, count(*) as members from app.users group by team;
create view app.grouped as select email, count(*) as n from app.users group by email;
create view app.united as select email from app.users union all select actor_email from app.events;
create view app.mixed as select id, upper(email) as loud, name from app.users;
create view app.over_mixed as select id, loud as same, name from app.mixed;
create view app.ordered as select id from app.users order by salary;
create view app.latest as select id, name from app.users order by born desc limit 3;
create view app.called as select id, app.echo(note) as said from app.orders;
create view app.texted as select query_to_xml('select email from app.users', true, false, '') as x;
create view app.named_alike as select id, note as email from app.orders;
create materialized view app.stored as select id, name, ssn from app.users;
create schema "Odd";
create table "Odd"."Table Name" (id int, "E Mail" text, email text);
insert into "Odd"."Table Name" values (1, 'zq7x@sentinel-corp.example', 'plain');
-- What a trigger says is not the statement's own doing: messages are cut where classes are (PG-27), which is tested elsewhere.
alter table app.users disable trigger note_change;
insert into app.scratch (id, name) values (1, 'kept');
