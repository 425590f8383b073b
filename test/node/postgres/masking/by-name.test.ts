/** PG-29, PG-36 Statements that run others by name: what they do beside that is proven as well. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectTo } from "../../../support/database.ts";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { errorOf, letters, RawClient, type Message } from "../raw-client.ts";
import { startGateway, type Gateway } from "../support.ts";
import { masked, rulesOf } from "./rules.ts";

const SENTINEL = "sentinel@example.com";
const RULES = rulesOf(`classes:
  email:
    columns: ["*/*.users.email"]
    mask: redact
`);

let postgres: PostgresServer;
let gateway: Gateway;
let client: RawClient;
beforeAll(async () => {
  postgres = await startPostgres();
  const admin = await connectTo(postgres, "postgres");
  await admin.query(`CREATE TABLE users (id int, email text); INSERT INTO users VALUES (1, '${SENTINEL}')`);
  await admin.end();
  gateway = await startGateway({ postgres, rule: masked, masking: RULES });
  client = await RawClient.ready(gateway.port);
}, 60_000);
afterAll(async () => {
  client.destroy();
  await gateway.stop();
  await postgres.stop();
});

const text = (answer: readonly Message[]): string => answer.map(({ body }) => body.toString("latin1")).join("");
const READ = "query_to_xml('select email from users', false, false, '')::text";

test("control: without a class the same statements show the value", async () => {
  const open = await startGateway({ postgres });
  const other = await RawClient.ready(open.port);
  await other.query("prepare echo(text) as select $1");
  expect(text(await other.query(`execute echo(${READ})`))).toContain(SENTINEL);
  other.destroy();
  await open.stop();
});

test("EXECUTE whose arguments read on their own account is refused, though what it runs is harmless", async () => {
  await client.query("prepare echo(text) as select $1");
  expect(letters(await client.query("execute echo('x')"))).toBe("TDCZ");
  const answer = await client.query(`execute echo(${READ})`);
  expect(errorOf(answer)?.["C"]).toBe("42501");
  expect(text(answer)).not.toContain(SENTINEL);
});

test("EXECUTE of a projection is masked; CREATE TABLE AS EXECUTE and EXPLAIN ANALYZE EXECUTE are no projections", async () => {
  await client.query("prepare emails as select email from users");
  const answer = await client.query("execute emails");
  expect([letters(answer), text(answer).includes(SENTINEL)]).toEqual(["TDCZ", false]);
  expect(errorOf(await client.query("create table kept as execute emails"))?.["C"]).toBe("42501");
  expect(errorOf(await client.query("explain (analyze) execute emails"))?.["C"]).toBe("42501");
});

test("WHERE CURRENT OF: what the UPDATE itself reads counts", async () => {
  await client.query("begin");
  await client.query("declare c cursor for select id, email from users for update");
  expect(text(await client.query("fetch c"))).not.toContain(SENTINEL);
  expect(errorOf(await client.query("update users set id = 2 where current of c"))).toBeUndefined();
  await client.query("rollback");
  await client.query("begin");
  await client.query("declare c cursor for select id from users for update");
  await client.query("fetch c");
  expect(errorOf(await client.query("update users set id = length(email) where current of c returning id"))?.["C"]).toBe("42501");
  await client.query("rollback");
});
