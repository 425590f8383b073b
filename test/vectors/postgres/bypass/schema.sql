-- The database that the bypass attempts are run against. Classified: what rules.yaml names. The second database is a
-- copy in which only classified values differ (variant.sql), so an output that differs has said something of them.
create schema app;
create schema vault;
create schema evil;
create domain app.mail as text check (value like '%@%');
create type app.contact as (mail text, city text);
create table app.users (
  id int primary key,
  name text not null,
  email app.mail not null unique,
  ssn text not null check (ssn like '9%'),
  card text not null,
  salary numeric not null,
  born date not null,
  token uuid not null,
  profile jsonb not null,
  tags text[] not null,
  team int not null
);
insert into app.users
select i, 'user ' || i, 'zq7x' || i || '@sentinel-corp.example', '987-65-4' || (100 + i), '4929' || (10000000 + i * 7) || '1881', 71234.56 + i * 3,
       date '1971-03-05' + i, md5('sentinel-token' || i)::uuid, jsonb_build_object('city', 'Lisbon', 'contact', jsonb_build_object('email', 'pq9w' || i || '@sentinel-json.example')),
       array['vip', 'tagsentinel' || i], i % 3
from generate_series(1, 9) i;
create table app.orders (id int primary key, user_id int not null references app.users (id), total numeric not null, note text);
insert into app.orders select i, 1 + i % 9, i * 10, 'order ' || i from generate_series(1, 30) i;
create table app.scratch (id int, name text, other text, n int, unique (name));
create table app.people (id int primary key, contact app.contact);
insert into app.people values (1, row('cq5v1@sentinel-composite.example', 'Porto'));
create table vault.keys (id int primary key, label text, api_secret text not null);
insert into vault.keys values (1, 'stripe', 'sk_sentinel_kq8w7e6r5t4y'), (2, 'mail', 'sk_sentinel_zz1y2x3w4v5u');
-- Relations made of others
create view app.user_names as select id, name from app.users;
create view app.user_mails as select id, email as address from app.users;
create view app.user_domains as select id, split_part(email, '@', 2) as domain from app.users;
create view app.user_filtered as select id, name from app.users where ssn like '987-65-41%' and salary > 71240;
create view app.user_all as select * from app.users;
create view app.nested as select address as inner_address from app.user_mails;
create materialized view app.mail_copy as select id, email from app.users;
create table app.events (at date not null, actor_email text, what text) partition by range (at);
create table app.events_2025 partition of app.events for values from ('2025-01-01') to ('2026-01-01');
insert into app.events values ('2025-05-05', 'zq7x1@sentinel-corp.example', 'login');
create table app.customers () inherits (app.users);
insert into app.customers
select 90, 'child', 'zq7x90@sentinel-corp.example', '987-65-4190', '4929100006301881', 99999.99, date '1988-08-08', md5('sentinel-child')::uuid,
       '{"city": "Faro", "contact": {"email": "pq9w90@sentinel-json.example"}}', array['vip', 'tagsentinel90'], 2;
-- Code of others
create function app.reveal(u app.users) returns text language sql stable as 'select u.email::text';
create function app.any_mail() returns text language sql stable security definer as 'select email::text from app.users where id = 1';
create function app.echo(t text) returns text language plpgsql immutable as $$ begin raise notice 'echo %', t; return t; end $$;
create function app.note_change() returns trigger language plpgsql as $$ begin raise notice 'changed %', old.email; return new; end $$;
create trigger note_change before update on app.users for each row execute function app.note_change();
create function evil.lower(t app.mail) returns text language sql immutable as 'select ''evil '' || t';
create function evil.left_of(t text, u text) returns boolean language sql immutable as 'select t < u';
create operator evil.<<< (leftarg = text, rightarg = text, function = evil.left_of);
create function app.refc() returns refcursor language plpgsql as $$ declare c refcursor := 'mails'; begin open c for select email from app.users; return c; end $$;
analyze;
