-- Only classified values differ: other texts of other lengths, other numbers, other days of the same years.
alter table app.users disable trigger note_change;
update app.users set email = 'b' || (id * 31) || '-different-local-part@another-place.invalid', ssn = '912-34-5' || (900 - id), card = '5500' || (70000000 - id * 13) || '1881',
  salary = 1000.25 * id, born = born + 40, token = md5('other' || id)::uuid,
  profile = jsonb_set(profile, '{contact,email}', to_jsonb('changed' || id || '@elsewhere.invalid')), tags = array['x' || id, 'something else'];
alter table app.users enable trigger note_change;
update app.people set contact = row('someone-else@another-place.invalid', 'Braga');
update vault.keys set api_secret = 'another secret altogether ' || id;
update app.events set actor_email = 'b31@another-place.invalid';
refresh materialized view app.mail_copy;
analyze;
