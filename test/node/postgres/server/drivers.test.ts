/** Unmodified clients through the gateway: psql, pgbench, pg_dump, node-postgres, postgres.js; on every server version there is. */
import { execFile, spawnSync } from "node:child_process";
import { promisify } from "node:util";
import { Client, Pool } from "pg";
import postgresJs from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { availableVersions, startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { makeVerifier } from "../../../../tunnel-agent/protocols/postgres/scram.ts";
import { startGateway, type Gateway } from "../support.ts";

const run = promisify(execFile);
const PASSWORD = "per-run secret";
/** Of an installed client, e.g. 15; 0 where there is none. Every machine tests with what it has. */
const majorOf = (command: string): number => Number(/(\d+)/.exec(String(spawnSync(command, ["--version"]).stdout))?.[1] ?? 0);
const installed = (command: string): boolean => majorOf(command) > 0;

describe.each(availableVersions())("PostgreSQL %i", (version) => {
  let postgres: PostgresServer;
  let gateway: Gateway;
  beforeAll(async () => {
    postgres = await startPostgres({ version });
    gateway = await startGateway({ postgres, auth: { method: "scram-sha-256", ...(await makeVerifier(PASSWORD)) } });
    const setup = await node();
    await setup.query(
      "create table people (id int primary key, name text, born date); insert into people values (1, 'Ada', '1815-12-10'), (2, 'Æðelstān', null)",
    );
    await setup.end();
  }, 60_000);
  afterAll(async () => {
    await gateway.stop();
    await postgres.stop();
  });

  const connection = () => ({ host: "127.0.0.1", port: gateway.port, user: "job", password: PASSWORD, database: "postgres" });
  async function node(): Promise<Client> {
    const client = new Client(connection());
    await client.connect();
    return client;
  }
  async function cli(command: string, args: readonly string[], input?: string): Promise<string> {
    const { host, port, user, password, database } = connection();
    const env = {
      PATH: process.env["PATH"] ?? "",
      PGHOST: host,
      PGPORT: String(port),
      PGUSER: user,
      PGPASSWORD: password,
      PGDATABASE: database,
    };
    const child = run(command, args, { env, maxBuffer: 64 * 1024 * 1024 });
    child.child.stdin?.end(input ?? "");
    return (await child).stdout;
  }

  const withPsql = (): void => {
    test("runs a script with transactions, errors, cursors and both directions of COPY", async () => {
      const script = `
        create temp table s (n int, t text);
        \\copy s from stdin
1\ta
2\tb
\\.
        begin; insert into s values (3, 'c'); savepoint x; select 1/0; rollback to x; commit;
        begin; declare c cursor for select n from s order by n; fetch 2 from c; close c; commit;
        \\copy (select * from s order by n) to stdout
        \\set n 2
        select t from s where n = :n \\gexec
        select :'n' as x \\g
      `;
      const out = await cli("psql", ["-XAtq"], script);
      expect(out.split("\n")).toEqual(["1", "2", "1\ta", "2\tb", "3\tc", "2", ""]);
    });

    test("describes: \\d, \\dt, \\df", async () => {
      expect(await cli("psql", ["-XAt", "-c", "\\d people", "-c", "\\dt", "-c", "\\df"])).toContain("id|integer||not null|");
    });

    test("the extended protocol: \\bind and a pipeline", async () => {
      const help = await cli("psql", ["--help=commands"]);
      if (!help.includes("\\bind")) return;
      expect(await cli("psql", ["-XAt"], "select $1::int + 1 \\bind 41 \\g\n")).toBe("42\n");
    });
  };
  if (installed("psql")) describe("psql", withPsql);

  const withPgbench = (): void => {
    test("initialises by COPY, then runs in all three protocols with none failing", async () => {
      await cli("pgbench", ["-i", "-q", "-I", "dtgp", "-s", "1"]);
      for (const protocol of ["simple", "extended", "prepared"]) {
        const out = await cli("pgbench", ["-n", "-M", protocol, "-c", "2", "-t", "20"]);
        expect(out).toContain("number of transactions actually processed: 40/40");
      }
    });
  };
  if (installed("pgbench")) describe("pgbench", withPgbench);

  const dumps = async (): Promise<void> => {
    const dump = await cli("pg_dump", ["-t", "people", "--no-owner"]);
    expect(dump).toContain("1\tAda\t1815-12-10\n2\tÆðelstān\t\\N\n");
  };
  // A pg_dump refuses a server that is newer than itself.
  if (majorOf("pg_dump") >= version) test("pg_dump", dumps);

  test("node-postgres: text and binary, prepared statements, errors, many at once", async () => {
    const client = await node();
    expect((await client.query("select * from people where id = $1", [2])).rows).toEqual([{ id: 2, name: "Æðelstān", born: null }]);
    for (let i = 0; i < 3; i++) {
      const { rows } = await client.query({ name: "by-id", text: "select name from people where id = $1", values: [1] });
      expect(rows).toEqual([{ name: "Ada" }]);
    }
    await expect(client.query("select * from people where id = $1", ["x"])).rejects.toMatchObject({ code: "22P02" });
    await expect(client.query("select nothing")).rejects.toMatchObject({ code: "42703" });
    await client.end();
    const pool = new Pool({ ...connection(), max: 4 });
    const all = await Promise.all(Array.from({ length: 50 }, (_, i) => pool.query("select $1::int as n", [i])));
    expect(all.map(({ rows }) => (rows[0] as { n: number }).n)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    await pool.end();
  });

  test("postgres.js: pipelining, transactions, cursors, COPY both ways, refusals", async () => {
    const { host, port, user, password, database } = connection();
    const sql = postgresJs({ host, port, username: user, password, database, max: 1, fetch_types: false });
    const numbers = await Promise.all(Array.from({ length: 50 }, (_, i) => sql`select ${i}::int as n`));
    expect(numbers.map(([row]) => row?.["n"] as number)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    await sql.begin(async (tx) => {
      await tx`create table if not exists js (n int)`;
      await tx`insert into js select generate_series(1, 10)`;
    });
    const seen: number[] = [];
    for await (const rows of sql`select n from js order by n`.cursor(3)) seen.push(...rows.map((row) => row["n"] as number));
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const out = await sql`copy js to stdout`.readable();
    let text = "";
    for await (const chunk of out) text += String(chunk);
    expect(text.split("\n")).toHaveLength(11);
    const into = await sql`copy js from stdin`.writable();
    await new Promise<void>((resolve, reject) => {
      into.once("error", reject);
      into.once("finish", resolve);
      into.end("11\n12\n");
    });
    expect(await sql`select max(n) as n from js`).toMatchObject([{ n: 12 }]);
    gateway.setRule((action) => (action === "pg:drop" ? "deny" : "allow"));
    await expect(sql`drop table js`).rejects.toMatchObject({ code: "42501" });
    expect(await sql`select 1 as n`).toMatchObject([{ n: 1 }]);
    gateway.setRule(() => "allow");
    await sql.end();
  });

  test("every command of every client was recorded, and none is without an outcome", () => {
    const { commands, outcomes } = gateway.recorder;
    expect(commands.length).toBeGreaterThan(100);
    const ended = new Set(outcomes.map(({ command }) => command));
    expect(commands.filter(({ command }) => !ended.has(command)).map(({ text }) => text)).toEqual([]);
    expect(outcomes.filter(({ status }) => status === "unknown")).toEqual([]);
    expect(gateway.recorder.opened.length).toBe(gateway.recorder.closed.length);
  });
});
