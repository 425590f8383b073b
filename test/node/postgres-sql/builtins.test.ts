/** Names that the analysis takes for pg_catalog's own, so that the catalogue can say whether another may be meant (PG-44). */
import { beforeAll, expect, it } from "vitest";
import { loadSqlParser } from "../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import type { AnalyseSql } from "../../../tunnel-agent/protocols/postgres/sql/types.ts";

let analyse: AnalyseSql;
beforeAll(async () => {
  analyse = await loadSqlParser();
});

function builtins(sql: string): string[] {
  const read = analyse(sql, 15);
  if (!read.ok) throw new Error(read.error.reason);
  return read.value.statements
    .flatMap((statement) => statement.builtins.map(({ kind, name, qualified }) => `${kind} ${qualified ? "pg_catalog." : ""}${name}`))
    .toSorted();
}

it.each([
  ["select lower(name) from t", ["function lower"]],
  ["select pg_catalog.lower(name) from t", ["function pg_catalog.lower"]],
  ["select app.lower(name) from t", []],
  ["select a + b, a operator(pg_catalog.-) b from t", ["operator +", "operator pg_catalog.-"]],
  ["select 1 from t where a between 1 and 2", ["operator <=", "operator >="]],
  ["select 1 from t where a not between symmetric 1 and 2", ["operator <", "operator >"]],
  ["select 1 from t where a in (1, 2)", ["operator ="]],
  ["select 1 from t where a in (select b from s)", ["operator ="]],
  ["select 1 from t where a like 'x' or a is distinct from b", ["operator =", "operator ~~"]],
  ["select case a when 1 then 2 end from t", ["operator ="]],
  ["select case when a then 2 end from t", []],
  ["select 1 from t join s using (a)", ["operator ="]],
  ["select 1 from t natural join s", ["operator ="]],
  ["select 1 from t join s on true", []],
  ["select nullif(a, b) from t", ["operator ="]],
  ["select a::int, cast(b as date) from t", ["cast date", "cast pg_catalog.int4"]],
  ["select a::app.state from t", []],
  ["explain select upper(a) from t", ["function upper"]],
  ["prepare p as select upper(a) from t", ["function upper"]],
  ["with x as (select upper(a) from t) select lower(upper) from x", ["function lower", "function upper"]],
  ["insert into t values (upper('x')) on conflict (lower(a)) do nothing", ["function lower", "function upper"]],
  ["create index on t (lower(a))", ["function lower"]],
  ["select (x).upper from t", ["function upper"]],
  ["begin", []],
])("%s", (sql, expected) => {
  expect(builtins(sql)).toEqual(expected);
});
