update app.accounts set email = 'b' || (id * 31) || '-different@another-place.invalid';
update "Odd"."Table Name" set "E Mail" = 'someone-else@another-place.invalid';
refresh materialized view app.stored;
analyze;
