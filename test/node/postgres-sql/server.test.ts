/**
 * The analysis against real servers: what it accepts is PostgreSQL's own grammar; the lists of builtins are the
 * catalogues' own; and what psql's \d asks needs no right but reading pg_catalog.
 */
import { spawnSync } from "node:child_process";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectTo } from "../../support/database.ts";
import { availableVersions, startPostgres, type PostgresServer } from "../../support/postgres.ts";
import { findProgram } from "../../support/programs.ts";
import { loadSqlParser } from "../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import { HARMLESS_VOLATILE, isExcluded } from "../../../tunnel-agent/protocols/postgres/sql/builtins/excluded.ts";
import { listed } from "../../../tunnel-agent/protocols/postgres/sql/builtins/lookup.ts";
import type { AnalyseSql } from "../../../tunnel-agent/protocols/postgres/sql/types.ts";
import { allCases, written } from "./support.ts";

let analyse: AnalyseSql;
beforeAll(async () => {
  analyse = await loadSqlParser();
});

const psql = findProgram("psql");

describe.each(availableVersions())("PostgreSQL %i", (version) => {
  let postgres: PostgresServer;
  let client: pg.Client;
  beforeAll(async () => {
    postgres = await startPostgres({ version });
    client = await connectTo(postgres, "postgres");
    await client.query("CREATE ROLE nobody_in_particular LOGIN");
  }, 60_000);
  afterAll(async () => {
    await client.end();
    await postgres.stop();
  });

  it("takes for grammar what the analysis takes", async () => {
    // PostgreSQL 15 lacks some of 18's grammar; the corpus is written for 18.
    if (version !== 18) return;
    // Without rights and without time: only whether it parses matters.
    await client.query("SET SESSION AUTHORIZATION nobody_in_particular; SET statement_timeout = '200ms'");
    const refused: string[] = [];
    for (const { sql, expected } of allCases) {
      if (expected.some((fact) => fact.startsWith("refused"))) continue;
      // Each text on its own, in a transaction that is rolled back; transaction statements may end it early.
      const code = await client.query({ text: `BEGIN;${sql}\n;ROLLBACK` }).then(
        () => "00000",
        (error: unknown) => (error as { code?: string }).code,
      );
      if (code === "42601") refused.push(sql);
      await client.query("ROLLBACK").catch(() => {});
      await client.query(
        "RESET SESSION AUTHORIZATION; RESET ALL; SET SESSION AUTHORIZATION nobody_in_particular; SET statement_timeout = '200ms'",
      );
    }
    await client.query("RESET SESSION AUTHORIZATION; RESET ALL");
    expect(refused).toEqual([]);
  }, 60_000);

  it("has every harmless function as one of its own that neither writes nor runs what it is given", async () => {
    const { rows } = await client.query<{ name: string; volatile: boolean; language: string }>(
      `SELECT proname AS name, bool_or(provolatile = 'v') AS volatile, string_agg(DISTINCT lanname, ',') AS language
         FROM pg_proc JOIN pg_language l ON l.oid = prolang WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY 1`,
    );
    const found = rows.filter(({ name }) => listed("harmless", name, version) === "yes");
    expect(found.length).toBeGreaterThan(1500);
    expect(found.filter(({ name, volatile }) => volatile && !HARMLESS_VOLATILE.has(name))).toEqual([]);
    expect(found.filter(({ name }) => isExcluded(name))).toEqual([]);
    expect(found.filter(({ language }) => !/^(internal|sql|internal,sql)$/.test(language))).toEqual([]);
    // Nothing of the server's own is taken for somebody else's.
    const unknown = rows.filter(({ name }) => listed("harmless", name, version) === "no" && listed("guarded", name, version) === "no");
    expect(unknown).toEqual([]);
  });

  it("runs as many statements as the analysis sees, whatever strings and comments look like", async () => {
    const texts = [
      "SELECT 1 AS a$$; SELECT 2 AS b$$",
      "SELECT E'a'\n'\\'; SELECT 2; --'",
      "SELECT 'a\\'; SELECT 2; --'",
      "SELECT $a$ $A$; SELECT 2; $a$",
      "SELECT 1 -- x\r; SELECT 2",
      "SELECT 1 /* /* */ ; SELECT 2 */",
      "SELECT b'0'''; SELECT 2; --'",
      "SELECT U&'\\0027; SELECT 2'",
      "SELECT N'a''b'; SELECT 1.5e3 AS x; SELECT .5::text",
    ];
    for (const sql of texts) {
      const results: unknown = await client.query(sql).catch(() => null);
      const analysed = analyse(sql, version);
      const ran = results === null ? null : Array.isArray(results) ? results.length : 1;
      if (ran !== null) expect({ sql, statements: analysed.ok && analysed.value.statements.length }).toEqual({ sql, statements: ran });
    }
  });

  it("joins a string that goes on after a comment, which is why such a text is refused", async () => {
    const hidden = "DO E'BEGIN END' -- x\n'-- \\' '; SELECT 2 AS seen; --'";
    const results = (await client.query(hidden)) as unknown as { rows: unknown[] }[];
    expect(results.at(-1)?.rows).toEqual([{ seen: 2 }]);
    expect(written(analyse(hidden, version))).toEqual(["refused unparsable"]);
  });

  it.runIf(psql !== undefined)("answers psql's \\d commands from reading pg_catalog alone", async () => {
    await client.query(
      `CREATE SCHEMA shop CREATE TABLE people (id int PRIMARY KEY, mail text CHECK (mail <> ''), boss int REFERENCES shop.people)
         CREATE VIEW adults AS SELECT * FROM people CREATE INDEX by_mail ON people (lower(mail)) CREATE SEQUENCE numbers;
       CREATE STATISTICS shop.s ON id, boss FROM shop.people;
       CREATE TABLE shop.parts (a int) PARTITION BY RANGE (a); CREATE TABLE shop.part PARTITION OF shop.parts DEFAULT`,
    );
    const commands = `\\d shop.people|\\d+ shop.people|\\d+ shop.adults|\\d shop.by_mail|\\d shop.numbers|\\d+ shop.parts|\\d+ shop.part|\\dt *.*|\\dt+|\\dn+|\\df|\\dT+|\\du|\\l|\\dp|\\di+|\\dv+|\\dm|\\dx|\\ds|\\do|\\dd|\\dC|\\dD|\\dO|\\dF|\\dy|\\ddp|\\dL|\\dAc|\\dRp|\\sf lower(text)|\\sv shop.adults|\\z`;
    const args = ["-XE", "-v", "ON_ERROR_STOP=0", ...commands.split("|").flatMap((command) => ["-c", command])];
    const { host, port, superuser } = postgres;
    const run = spawnSync(psql ?? "psql", ["-h", host, "-p", String(port), "-U", superuser.user, "-d", "postgres", ...args], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"], PGPASSWORD: superuser.password },
    });
    const queries = [...run.stdout.matchAll(/\*{4} QUERY \*{4,}\/?\n(.*?)\n\/?\*{10,}/gs)].map(([, query = ""]) => query);
    expect(queries.length).toBeGreaterThan(40);
    for (const sql of queries) {
      const facts = written(analyse(sql, version)).filter((fact) => fact !== "pg:session" && !/^pg:select pg_catalog\.\w+$/.test(fact));
      expect({ sql, facts }).toEqual({ sql, facts: [] });
    }
  });
});
