update app.accounts set email = email;
update "Odd"."Table Name" set "E Mail" = "E Mail";
refresh materialized view app.stored;
analyze;
