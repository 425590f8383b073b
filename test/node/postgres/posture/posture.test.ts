/**
 * Posture against real servers: each excess that a role can have is found, and the SQL that is printed for it, run as
 * superuser, makes the finding go away. A role without excess has no finding: the control of all of them.
 */
import { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { MaskingRules } from "../../../../policy/types.ts";
import { Posture, type PostureFinding } from "../../../../protocol/posture.ts";
import { posture, type PostureSettings } from "../../../../tunnel-agent/protocols/postgres/ask/posture.ts";
import { readTextArray, type RunQuery } from "../../../../tunnel-agent/protocols/postgres/ask/posture-facts.ts";
import { connectTo } from "../../../support/database.ts";
import { availableVersions, startPostgres, type PostgresServer } from "../../../support/postgres.ts";

const RULES: MaskingRules = {
  classes: [
    {
      name: "email",
      columns: [{ target: "orders-db", schema: "shop", table: "customers", column: "email" }],
      names: ["*card*"],
      targets: [],
      detectors: [],
      paths: [],
      mask: { kind: "redact" },
    },
  ],
};

const SCHEMA = `
  CREATE SCHEMA shop;
  CREATE TABLE shop.customers (id int PRIMARY KEY, name text, email text, "Card No" text);
  CREATE TABLE shop.orders (id int PRIMARY KEY, total numeric);
  REVOKE ALL ON SCHEMA public FROM PUBLIC;
  REVOKE TEMPORARY ON DATABASE shop FROM PUBLIC;
  REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
  CREATE ROLE low LOGIN PASSWORD 'secret'; CREATE ROLE high LOGIN PASSWORD 'secret'; CREATE ROLE other;
  GRANT USAGE ON SCHEMA shop TO low, high;
  GRANT SELECT ON shop.orders, shop.customers TO high;
  GRANT SELECT ON shop.orders TO low; GRANT SELECT (id, name) ON shop.customers TO low;`;

/** What is given to the role, and which finding it must be. The newer server gets those whose rules changed. */
const CASES = (version: number) => {
  const all = [
    { check: "superuser", status: "fail", make: "ALTER ROLE low SUPERUSER" },
    { check: "replication", status: "fail", make: "ALTER ROLE low REPLICATION" },
    { check: "bypassrls", status: "warn", make: "ALTER ROLE low BYPASSRLS" },
    { check: "createrole", status: version < 16 ? "fail" : "warn", make: "ALTER ROLE low CREATEROLE" },
    { check: "createdb", status: "warn", make: "ALTER ROLE low CREATEDB" },
    { check: "membership", status: "warn", make: "GRANT other TO low" },
    { check: "membership", status: "warn", make: "GRANT pg_monitor TO low" },
    { check: "escalation", status: "fail", make: "GRANT pg_execute_server_program TO low" },
    { check: "escalation", status: "fail", make: "ALTER ROLE other SUPERUSER; GRANT other TO low" },
    { check: "escalation", status: "fail", make: "GRANT other TO low WITH ADMIN OPTION" },
    {
      check: "security-definer",
      status: "warn",
      make: `CREATE FUNCTION shop.leak(a text, "B" int) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'select email from shop.customers limit 1'`,
    },
    { check: "schema-create", status: "warn", make: "GRANT CREATE ON SCHEMA shop TO low" },
    { check: "schema-create", status: "warn", make: "GRANT ALL ON SCHEMA public TO PUBLIC" },
    { check: "temporary", status: "warn", make: "GRANT TEMPORARY ON DATABASE shop TO PUBLIC" },
    { check: "plpgsql", status: "warn", make: "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC" },
    { check: "classified-columns", status: "fail", make: "GRANT SELECT ON shop.customers TO low" },
    { check: "classified-columns", status: "fail", make: "GRANT SELECT ON shop.customers TO PUBLIC" },
    { check: "classified-columns", status: "fail", make: `GRANT SELECT ("Card No") ON shop.customers TO low` },
    { check: "classified-columns", status: "fail", make: "GRANT other TO low; GRANT SELECT ON shop.customers TO other" },
    {
      check: "classified-views",
      status: "fail",
      make: "CREATE VIEW shop.v AS SELECT id, lower(email) AS e FROM shop.customers; GRANT SELECT ON shop.v TO low",
    },
    {
      check: "classified-views",
      status: "fail",
      make: "CREATE VIEW shop.v AS SELECT c FROM shop.customers c; CREATE VIEW shop.w AS SELECT * FROM shop.v; GRANT SELECT ON shop.w TO PUBLIC",
    },
    {
      check: "classified-views",
      status: "fail",
      make: "CREATE MATERIALIZED VIEW shop.m AS SELECT email AS e FROM shop.customers; GRANT SELECT ON shop.m TO low",
    },
  ];
  return version < 16 ? all : all.filter(({ check }) => ["superuser", "createrole", "membership", "escalation"].includes(check));
};

describe.each(availableVersions())("PostgreSQL %i", (version) => {
  let server: PostgresServer;
  let root: Client;
  let low: Client;

  beforeAll(async () => {
    server = await startPostgres({ version });
  });
  afterAll(() => server.stop());

  beforeEach(async () => {
    const admin = await connectTo(server, "postgres");
    await admin.query("DROP DATABASE IF EXISTS shop WITH (FORCE)");
    for (const role of ["low", "high", "other"]) await admin.query(`DROP ROLE IF EXISTS ${role}`);
    await admin.query("CREATE DATABASE shop");
    await admin.end();
    root = await connectTo(server, "shop");
    await root.query(SCHEMA);
    low = new Client({ host: server.host, port: server.port, database: "shop", user: "low", password: "secret" });
    await low.connect();
    return async () => {
      await low.end();
      await root.end();
    };
  });

  const run: RunQuery = async (text, values = []) => {
    const { rows } = await low.query({
      text,
      values: [...values],
      rowMode: "array",
      types: { getTypeParser: () => (value: string) => value },
    });
    return rows as (string | null)[][];
  };
  const look = async (more: Partial<PostureSettings> = {}): Promise<Posture> => {
    const settings = { target: "orders-db", ordinary: "low", unmasked: "high", masking: "strict", ...more } as const;
    const answer = await posture(run, RULES, settings, 3);
    expect(Posture.parse(answer)).toEqual(answer);
    return answer;
  };
  const excess = ({ findings }: Posture, check?: string): PostureFinding[] =>
    findings.filter((finding) => finding.status !== "ok" && (check === undefined || finding.check === check));
  /** Runs what is printed for these findings, as psql would with the variable set. */
  const mend = async (findings: readonly PostureFinding[]): Promise<void> => {
    for (const statement of findings.flatMap(({ sql }) => sql)) {
      if (!statement.startsWith("--")) await root.query(statement.replaceAll(":'classified_password'", "'secret'"));
    }
  };

  test("roles without excess: level A, and nothing but ok", async () => {
    const answer = await look();
    expect(excess(answer)).toEqual([]);
    expect(answer).toMatchObject({ level: "A", bundle: 3, database: "shop" });
    expect(answer.classified).toEqual([
      { column: "shop.customers.email", class: "email" },
      { column: "shop.customers.Card No", class: "email" },
    ]);
  });

  test.each(CASES(version))("$check: after $make", async ({ check, status, make }) => {
    await root.query(make);
    const found = excess(await look(), check);
    expect(new Set(found.map((finding) => finding.status))).toEqual(new Set([status]));
    await mend(found);
    expect(excess(await look(), check)).toEqual([]);
  });
  test("what fails takes level A away; mended, it comes back", async () => {
    await root.query("GRANT SELECT ON shop.customers TO low");
    const before = await look();
    expect(before).toMatchObject({ level: "B", why: expect.stringContaining("shop.customers.email") });
    await mend(excess(before));
    expect((await look()).level).toBe("A");
    // The columns that are not classified are still its own.
    await low.query("SELECT id, name FROM shop.customers");
    await expect(low.query("SELECT email FROM shop.customers")).rejects.toMatchObject({ code: "42501" });
  });

  test("an owner can grant itself anything: a fail with two logins, and no statement pretends to know the new owner", async () => {
    await root.query("ALTER TABLE shop.customers OWNER TO low");
    const [owner] = excess(await look(), "classified-owner");
    expect(owner).toMatchObject({ status: "fail", message: expect.stringContaining("shop.customers") });
    expect(owner?.sql.every((line) => line.startsWith("--"))).toBe(true);
    await root.query("ALTER TABLE shop.customers OWNER TO CURRENT_USER");
    expect(excess(await look(), "classified-owner")).toEqual([]);
  });

  test("an untrusted language is found by the functions that use it", async () => {
    await root.query("CREATE LANGUAGE raw HANDLER plpgsql_call_handler");
    await root.query("CREATE FUNCTION shop.os() RETURNS int LANGUAGE raw AS 'begin return 1; end'");
    const found = excess(await look(), "untrusted-language");
    const raw = { status: "warn", message: expect.stringContaining("shop.os() (raw)") };
    expect(found).toMatchObject([
      { ...raw, login: "low" },
      { ...raw, login: "high" },
    ]);
    await mend(found);
    expect(excess(await look(), "untrusted-language")).toEqual([]);
  });

  test("a view of its own rights, or with the reader's, shows nothing more: no finding", async () => {
    if (version >= 15) {
      await root.query(
        "CREATE VIEW shop.v WITH (security_invoker = true) AS SELECT email FROM shop.customers; GRANT SELECT ON shop.v TO low",
      );
    }
    await root.query("CREATE VIEW shop.w AS SELECT id, name FROM shop.customers; GRANT SELECT ON shop.w TO low");
    expect(excess(await look())).toEqual([]);
  });

  test("one login: level B; the printed statements make the second login and level A of it", async () => {
    await root.query("GRANT SELECT ON shop.customers TO low");
    const before = await look({ unmasked: undefined });
    expect(before).toMatchObject({ level: "B", why: expect.stringContaining("one login") });
    const found = excess(before);
    expect(found).toMatchObject([{ check: "classified-columns", status: "warn" }]);
    expect(JSON.stringify(found)).not.toContain("secret");
    await mend(found);
    const after = await look({ unmasked: "low_classified" });
    expect(excess(after)).toEqual([]);
    expect(after.level).toBe("A");
    const high = new Client({ host: server.host, port: server.port, database: "shop", user: "low_classified", password: "secret" });
    await high.connect();
    await high.query('SELECT id, email, "Card No" FROM shop.customers');
    await expect(high.query("DELETE FROM shop.customers")).rejects.toMatchObject({ code: "25006" });
    await high.end();
    await root.query("DROP OWNED BY low_classified; DROP ROLE low_classified");
  });

  test("the second login is judged too: what it may change, and what it is", async () => {
    await root.query("GRANT INSERT ON shop.orders TO high; ALTER ROLE high REPLICATION");
    expect(excess(await look())).toMatchObject([
      { check: "replication", status: "fail", login: "high" },
      { check: "writes", status: "warn", login: "high" },
    ]);
    expect((await look()).level).toBe("A");
  });

  test("best effort is level C, and no classified column is none", async () => {
    expect(await look({ masking: "best-effort" })).toMatchObject({ level: "C" });
    expect(await look({ target: "another-db" })).toMatchObject({ level: "A" });
    await root.query("DROP TABLE shop.customers CASCADE");
    expect(await look()).toMatchObject({ level: "none", classified: [] });
  });

  test("names that would break a line, a comment or a terminal are escaped in the statements, which still run", async () => {
    const evil = 'a"\n; DROP TABLE shop.orders; --\u001b[31m\u202e';
    const quoted = `"${evil.replaceAll('"', '""')}"`;
    await root.query(`CREATE SCHEMA ${quoted}; GRANT USAGE, CREATE ON SCHEMA ${quoted} TO low`);
    await root.query(`CREATE TABLE ${quoted}.${quoted} (email text, card text, ${quoted} int); GRANT SELECT ON ${quoted}.${quoted} TO low`);
    const found = excess(await look());
    for (const line of found.flatMap(({ sql }) => sql)) expect(line).not.toMatch(/[\u0000-\u001f\u202e]/);
    await mend(found);
    await root.query("SELECT FROM shop.orders");
    expect(excess(await look())).toEqual([]);
  });
});

test("text arrays as the server prints them", () => {
  expect(readTextArray("{}")).toEqual([]);
  expect(readTextArray("{PUBLIC,low}")).toEqual(["PUBLIC", "low"]);
  expect(readTextArray('{"a,b","c\\"d","e\\\\f",g h}')).toEqual(["a,b", 'c"d', "e\\f", "g h"]);
  expect(readTextArray(null)).toEqual([]);
});
