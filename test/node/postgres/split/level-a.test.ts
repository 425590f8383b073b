/**
 * Guarantee A from end to end: data classes, the catalogue's proof, two real logins. What the ordinary login may not read,
 * its own server refuses; what is proven a bare projection comes from the second login, masked.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { DataClass } from "../../../../policy/types.ts";
import { connectTo } from "../../../support/database.ts";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { errorOf, firstColumn, letters, RawClient, serialize, statusOf, type Message } from "../raw-client.ts";
import { startGateway, TARGET, type Gateway, type Rule } from "../support.ts";
import { logins, PASSWORDS, prepareDatabase, SENTINEL } from "./two-logins.ts";
import { createPostgresTarget } from "../../../../tunnel-agent/protocols/postgres/index.ts";

const email: DataClass = {
  name: "email",
  columns: ["users", "secured", "staff", "members"].map((table) => ({ target: TARGET, schema: "*", table, column: "email" })),
  names: [],
  targets: [],
  detectors: [],
  paths: [],
  mask: { kind: "redact" },
};
const noUnmask: Rule = (action) => (action === "unmask" ? "deny" : "allow");

let postgres: PostgresServer;
/** Of the tests that change nothing of it: its catalogue is loaded once. */
let common: Gateway | undefined;
const gateways: Gateway[] = [];
const clients: RawClient[] = [];
beforeAll(async () => {
  postgres = await startPostgres();
  await prepareDatabase(postgres);
  await asOwner(`
    CREATE TABLE secured (id int, email text); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
    CREATE POLICY one ON secured TO app USING (id = 1);
    INSERT INTO secured VALUES (1, '${SENTINEL}'), (2, '${SENTINEL}');
    GRANT SELECT (id) ON secured TO app; GRANT SELECT ON secured TO app_classified; ALTER ROLE app_classified BYPASSRLS;
    CREATE TABLE staff (id int, email text, salary int); INSERT INTO staff VALUES (1, '${SENTINEL}', 4711);
    GRANT SELECT (id) ON staff TO app; GRANT SELECT ON staff TO app_classified;
    CREATE VIEW members AS SELECT id, email FROM users; GRANT SELECT (id) ON members TO app; GRANT SELECT ON members TO app_classified;
    CREATE SCHEMA closed; CREATE TABLE closed.users (id int, email text); INSERT INTO closed.users VALUES (1, '${SENTINEL}');
    GRANT SELECT (id) ON closed.users TO app; GRANT SELECT ON closed.users TO app_classified; GRANT USAGE ON SCHEMA closed TO app_classified;
  `);
}, 60_000);
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  for (const gateway of gateways.splice(0)) await gateway.stop();
  common?.recorder.clear();
});
afterAll(async () => {
  await common?.stop();
  await postgres.stop();
});

async function asOwner(sql: string): Promise<void> {
  const admin = await connectTo(postgres, "postgres");
  await admin.query(sql);
  await admin.end();
}

const classes = { classes: [email] };

/** A gateway that looks at the database as it is now. */
async function anew(rule: Rule = noUnmask): Promise<Gateway> {
  const create: typeof createPostgresTarget = (config, deps) =>
    createPostgresTarget(config, {
      ...deps,
      credential: (reference) => ({ reference, read: async () => PASSWORDS[reference.replace("env:", "")] ?? "" }),
    });
  return await startGateway({ postgres, config: logins, create, rule, masking: classes });
}

async function start(own?: Promise<Gateway>): Promise<{ client: RawClient; gateway: Gateway }> {
  const gateway = (await own) ?? (common ??= await anew());
  if (own !== undefined) gateways.push(gateway);
  const client = await RawClient.ready(gateway.port);
  clients.push(client);
  return { client, gateway };
}

const text = (answer: readonly Message[]): string => answer.map(({ body }) => body.toString("latin1")).join("");
/** Refused by the server itself: its own words, not the gateway's. */
const byServer = (answer: readonly Message[]): boolean =>
  errorOf(answer)?.["C"] === "42501" && !(errorOf(answer)?.["M"] ?? "").startsWith("sallyport");

const ORACLES = [
  "select id from users where email = 'x'",
  "select id from users order by email",
  "select count(*) from users group by email",
  "select upper(email) from users",
  "select u from users u",
  "select 1/(case when email like 's%' then 0 else 1 end) from users",
  "select email::int from users",
  "select row_to_json(u) from users u",
  "select id from users u where exists (select 1 from users v where v.email like 's%')",
  "update users set name = email where id = 1",
  "update users set name = 'x' where email = 'x'",
  "insert into notes (text) select email from users",
  "delete from users where email = 'x'",
  "update users set name = name where id = 1 returning email",
  "select query_to_xml('select email from users', false, false, '')",
  "select name from users union select email from users",
  "explain analyze select id from users where email = 'x'",
];

describe("guarantee A", () => {
  test("a bare projection comes from the second login, masked; the rest of the session from the first", async () => {
    const { client, gateway } = await start();
    const answer = await client.query("select id, email, name from users where id = 1");
    expect(letters(answer)).toBe("TDCZ");
    expect(text(answer)).not.toContain(SENTINEL);
    expect(text(answer)).toContain("name 1");
    expect(firstColumn(await client.query("select name from users where id = 2"))).toEqual(["name 2"]);
    expect(gateway.recorder.commands.map(({ login }) => login)).toEqual(["classified", undefined]);
    expect(gateway.recorder.outcomeOf(/email/)).toMatchObject({ status: "ok", masked: { email: 1 } });
  });

  test.each(ORACLES)("the server itself refuses: %s", async (sql) => {
    const { client } = await start();
    const answer = await client.query(sql);
    expect(letters(answer)).toMatch(/^T?EZ$/);
    expect(byServer(answer)).toBe(true);
    expect(text(answer)).not.toContain(SENTINEL);
    expect(statusOf(answer)).toBe("I");
  });

  test("a refusal by the server comes with a hint", async () => {
    const { client } = await start();
    expect(errorOf(await client.query("select upper(email) from users"))?.["H"]).toMatch(/another login/);
  });

  test("COPY, prepared statements, binary results and cursors of projections", async () => {
    const { client } = await start();
    const copied = await client.query("copy (select id, email from users where id = 1) to stdout");
    expect([letters(copied), errorOf(copied)]).toEqual(["HdcCZ", undefined]);
    expect(text(copied)).not.toContain(SENTINEL);
    const { parse, bind, execute, sync } = serialize;
    client.send(
      parse({ name: "p", text: "select email from users where id = $1" }),
      bind({ statement: "p", values: ["1"], binary: true }),
      execute({}),
      sync(),
    );
    const bound = await client.until("Z");
    expect(letters(bound)).toBe("12DCZ");
    expect(text(bound)).not.toContain(SENTINEL);
    await client.query("begin");
    const declared = await client.query("declare c cursor for select email from users");
    expect([errorOf(declared)?.["C"], text(declared).includes(SENTINEL)]).toEqual(["42501", false]);
  });

  test("what nothing can be proven of is left to the server, which lets code run that reads nothing classified", async () => {
    const { client } = await start();
    expect(letters(await client.query("do $$ begin perform name from users; end $$"))).toBe("CZ");
    const read = await client.query("do $$ begin perform email from users; end $$");
    expect(byServer(read)).toBe(true);
    const raised = await client.query("do $$ declare x text; begin select email into x from users limit 1; raise exception '%', x; end $$");
    expect(text(raised)).not.toContain(SENTINEL);
  });

  test("unmask: who may see a class gets its values, from the second login", async () => {
    const { client, gateway } = await start(anew(() => "allow"));
    expect(firstColumn(await client.query("select email from users where id = 1"))).toEqual([SENTINEL]);
    expect(gateway.recorder.commands[0]).toMatchObject({ login: "classified" });
    expect(byServer(await client.query("select id from users where email = 'x'"))).toBe(true);
  });
});

describe("the second login adds nothing but masked columns", () => {
  test.each([
    ["an unclassified column that the first may not read", "select email, salary from staff"],
    ["a condition on such a column", "select email from staff where salary > 4000"],
    ["a table with row security, which the second bypasses", "select id, email from secured"],
    ["a view", "select id, email from members"],
    ["a schema that is closed to the first", "select id, email from closed.users"],
    ["what depends on who asks", "select email from users where current_user = 'app_classified'"],
    ["a write behind a read", "with x as (insert into notes (text) values ('x')) select email from users"],
  ])("%s", async (_what, sql) => {
    const { client, gateway } = await start();
    const answer = await client.query(sql);
    expect(errorOf(answer)?.["C"]).toBe("42501");
    expect(text(answer)).not.toMatch(/sentinel|4711/);
    expect(gateway.recorder.commands.map(({ login }) => login)).toEqual([undefined]);
  });

  test("a statement that was prepared there does not outlive its class", async () => {
    const { client, gateway } = await start(anew());
    const { parse, bind, execute, sync } = serialize;
    client.send(parse({ name: "p", text: "select email from users where id = 1" }), sync());
    await client.until("Z");
    gateway.setMasking({ classes: [] });
    client.send(bind({ statement: "p" }), execute({}), sync());
    const answer = await client.until("Z");
    expect(errorOf(answer)?.["C"]).toBe("42501");
    expect(text(answer)).not.toContain(SENTINEL);
  });
});

describe("control: where the ordinary login may read a classified column, the target has guarantee B", () => {
  const opened = async (sql: string, undo: string, then: (client: RawClient) => Promise<void>): Promise<void> => {
    await asOwner(sql);
    try {
      await then((await start(anew())).client);
    } finally {
      await asOwner(undo);
    }
  };
  const byGateway = (answer: readonly Message[]): boolean => (errorOf(answer)?.["M"] ?? "").startsWith("sallyport");

  test("by a grant on the column", async () => {
    await opened("GRANT SELECT (email) ON users TO app", "REVOKE SELECT (email) ON users FROM app", async (client) => {
      expect(byGateway(await client.query("select id from users where email = 'x'"))).toBe(true);
      expect(byGateway(await client.query("do $$ begin perform name from users; end $$"))).toBe(true);
      const answer = await client.query("select id, email from users where id = 1");
      expect([letters(answer), text(answer).includes(SENTINEL)]).toEqual(["TDCZ", false]);
    });
  });

  test("by a view with its owner's rights, computed from the column or chosen by it", async () => {
    for (const view of ["select id, reverse(email) as x from users", "select id from users where email like 's%'"]) {
      await opened(`CREATE VIEW shown AS ${view}; GRANT SELECT ON shown TO app`, "DROP VIEW shown", async (client) => {
        expect(byGateway(await client.query("select * from shown"))).toBe(true);
        expect(byGateway(await client.query("do $$ begin perform name from users; end $$"))).toBe(true);
      });
    }
  });
});
