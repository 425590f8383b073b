-- The same writes without a change, so that both databases have the same row versions in the same order.
alter table app.users disable trigger note_change;
update app.users set email = email, ssn = ssn, card = card, salary = salary, born = born, token = token, profile = profile, tags = tags;
alter table app.users enable trigger note_change;
update app.people set contact = contact;
update vault.keys set api_secret = api_secret;
update app.events set actor_email = actor_email;
refresh materialized view app.mail_copy;
analyze;
