/**
 * What is kept of a text: shapes without literals, and texts without secrets (GW-23).
 */
import { beforeAll, describe, expect, it } from "vitest";
import { loadSqlParser } from "../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import type { AnalysedSql, AnalyseSql } from "../../../tunnel-agent/protocols/postgres/sql/types.ts";
import { allCases } from "./support.ts";

let analyse: AnalyseSql;
beforeAll(async () => {
  analyse = await loadSqlParser();
});

function analysed(sql: string): AnalysedSql {
  const result = analyse(sql);
  if (!result.ok) throw new Error(`${sql}: ${JSON.stringify(result.error)}`);
  return result.value;
}

describe("shape", () => {
  it.each([
    ["SELECT * FROM t WHERE a = 'x' AND b = 5", "SELECT * FROM t WHERE a = $1 AND b = $2"],
    ["select  a,\n\tb -- comment 'x'\nfrom t /* y */ where c = $2 and d = 1.5e3", "select a, b from t where c = $2 and d = $3"],
    ["EXECUTE p('secret', 5)", "EXECUTE p($1, $2)"],
    ["COMMENT ON TABLE t IS 'x'", "COMMENT ON TABLE t IS $1"],
    ["SELECT E'a\\'b', U&'d\\0061' UESCAPE '!', $q$x$q$, x'1F', N'a'", "SELECT $1, $2 UESCAPE $3, $4, $5, N$6"],
    ["", ""],
  ])("%s", (sql, shape) => {
    expect(analysed(sql).shape).toBe(shape);
  });

  it("is the same for other literals, and analyses alike where it parses", () => {
    for (const { sql } of allCases) {
      const result = analyse(sql);
      if (!result.ok) continue;
      expect(result.value.shape).not.toMatch(/'|--|\/\*/);
    }
  });
});

const SECRET = "hunter2";

describe("redacted", () => {
  it.each([
    `ALTER ROLE x PASSWORD '${SECRET}'`,
    `ALTER USER x WITH ENCRYPTED PASSWORD E'${SECRET}\\n' VALID UNTIL 'tomorrow'`,
    `CREATE ROLE x LOGIN PASSWORD $$${SECRET}$$`,
    `CREATE USER x PASSWORD U&'${SECRET}'`,
    `SELECT 1; CREATE GROUP x PASSWORD '${SECRET}' /* ${SECRET} */`,
    `CREATE USER MAPPING FOR x SERVER s OPTIONS (user 'u', password '${SECRET}')`,
    `ALTER USER MAPPING FOR x SERVER s OPTIONS (SET password '${SECRET}')`,
    `CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'h', passwd '${SECRET}')`,
    `CREATE SUBSCRIPTION s CONNECTION 'host=h password=${SECRET}' PUBLICATION p`,
    `ALTER SUBSCRIPTION s CONNECTION 'host=h password=${SECRET}'`,
    `CREATE FOREIGN TABLE f (a int) SERVER s OPTIONS (dsn '${SECRET}')`,
    `ALTER FOREIGN TABLE f OPTIONS (SET dsn '${SECRET}')`,
    `ALTER SYSTEM SET primary_conninfo = 'password=${SECRET}'`,
    `SELECT * FROM dblink('host=h password=${SECRET}', 'select 1') AS x(a int)`,
    `SELECT app.dblink_connect_u('c', 'password=${SECRET}')`,
    `SET app.token = '${SECRET}'`,
    `SELECT set_config('app.token', '${SECRET}', false)`,
    `DO $$BEGIN CREATE ROLE x PASSWORD '${SECRET}'; END$$`,
    `DO 'BEGIN CREATE ROLE x PASSWORD ''${SECRET}''; END'`,
    `DO $a$BEGIN EXECUTE format('ALTER ROLE x PASSWORD %L', $b$${SECRET}$b$); END$a$`,
    `CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $f$BEGIN PERFORM dblink('password=${SECRET}', 'x'); END$f$`,
    `PREPARE p AS SELECT dblink('${SECRET}', $1)`,
  ])("%s", (sql) => {
    const { redacted, shape } = analysed(sql);
    expect(redacted).not.toContain(SECRET);
    expect(shape).not.toContain(SECRET);
    expect(redacted).toContain("[secret]");
  });

  it("leaves every other text as it is", () => {
    const sql = "SELECT 'x' FROM t -- c\nWHERE a = $1";
    expect(analysed(sql).redacted).toBe(sql);
    expect(analysed("DO $$BEGIN RAISE NOTICE 'hello'; END$$").redacted).toBe("DO $$BEGIN RAISE NOTICE 'hello'; END$$");
    expect(analysed("DO $$BEGIN CREATE ROLE x PASSWORD 'y'; END$$").redacted).toBe("DO $$BEGIN CREATE ROLE x PASSWORD '[secret]'; END$$");
  });
});
