/** What reaches the client beside rows, against a real server: COPY, errors, notices, EXPLAIN, messages; and levels B and C. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { errorOf, fieldsOf, letters, RawClient, serialize, type Message } from "../raw-client.ts";
import type { Gateway } from "../support.ts";
import { rulesOf } from "./rules.ts";
import { heard, rowsOf, SENTINELS, startWorld, type World } from "./world.ts";

const { parse, bind, execute, sync } = serialize;

let world: World;
let gateway: Gateway;
/** The same target for one who may see everything. */
let open: Gateway;
let client: RawClient;
let seeing: RawClient;
beforeAll(async () => {
  world = await startWorld();
  gateway = await world.gateway();
  open = await world.gateway({ rule: () => "allow" });
}, 60_000);
afterAll(async () => world.stop());
beforeEach(async () => {
  client?.destroy();
  seeing?.destroy();
  client = await RawClient.ready(gateway.port);
  seeing = await RawClient.ready(open.port);
  gateway.recorder.clear();
  gateway.recorder.results.length = 0;
});

const copied = (messages: readonly Message[]): string =>
  messages
    .filter(({ type }) => type === "d")
    .map(({ body }) => body.toString())
    .join("");

describe("PG-20 COPY TO STDOUT", () => {
  test.each([
    ["copy users (id, email, ssn) to stdout", "1\t[email]\t\\N\n"],
    ["copy users (card, id) to stdout with (format csv, header, delimiter ';')", "card;id\n****0001;1\n"],
    ["copy (select email, name from users order by id) to stdout csv force quote *", '"[email]","name 1"\n'],
    ["copy (select id, address from mails order by id) to stdout (null 'none', delimiter '|')", "1|[email]\n"],
  ])("%s is masked", async (sql, begins) => {
    const answer = await client.query(sql);
    expect(copied(answer).startsWith(begins)).toBe(true);
    expect(heard(answer)).not.toMatch(SENTINELS);
    expect(Object.keys(gateway.recorder.outcomes[0]?.masked ?? {}).length).toBeGreaterThan(0);
    expect(JSON.stringify(gateway.recorder.results)).not.toMatch(SENTINELS);
    expect(heard(await seeing.query(sql))).toMatch(SENTINELS);
  });

  test("of other columns it passes, binary too", async () => {
    expect(copied(await client.query("copy users (id, name) to stdout"))).toContain("1\tname 1\n");
    expect(letters(await client.query("copy users (id) to stdout binary"))).toMatch(/^Hd+cCZ$/);
  });

  test.each([
    "copy users to stdout binary",
    "copy users to stdout (encoding 'latin1')",
    "copy (select lower(email) from users) to stdout",
    "copy (update users set name = email returning name) to stdout",
  ])("%s is refused, and the session goes on", async (sql) => {
    const answer = await client.query(sql);
    expect(letters(answer)).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ C: "42501" });
    expect(rowsOf(await client.query("select 1"))).toEqual([["1"]]);
  });

  test("ten thousand lines arrive masked and in order, beyond what is recorded", async () => {
    const answer = await client.query(
      "copy (select o.id, u.email, p.id from orders o, users u, orders p, orders q order by 1, 3) to stdout",
    );
    const lines = copied(answer).trimEnd().split("\n");
    expect(lines).toHaveLength(40_000);
    expect(lines.every((line) => line.includes("\t[email]\t"))).toBe(true);
    expect(lines[0]).toBe("1\t[email]\t1");
    expect(letters(answer).replace(/d+/, "d")).toBe("HdcCZ");
  });
});

describe("PG-26 errors", () => {
  test.each([
    ["select 'x'::date, email from users", "22007", "invalid datetime format"],
    ["insert into users values (900, 'x', 'u1@sentinel.example', null, null, 0)", "23505", "unique violation"],
    ["insert into users select 901, 'x', null, null, null, 0", "23502", "not null violation"],
  ])("%s says its condition, and no value", async (sql, code, condition) => {
    const answer = await client.query(sql);
    const error = errorOf(answer) ?? {};
    expect(error).toMatchObject({ C: code, M: condition });
    expect(error["D"] ?? error["H"]).toBeUndefined();
    expect(heard(answer)).not.toMatch(SENTINELS);
    expect(errorOf(await seeing.query(sql))?.["M"]).not.toBe(condition);
  });

  test("names of the catalogue stay, position too", async () => {
    const error = errorOf(await client.query("insert into users select 902, null, 'x', null, null, 0"));
    expect(error).toMatchObject({ C: "23502", s: "public", t: "users", c: "name" });
    expect(errorOf(await client.query("select 'x'::date, email from users"))).toMatchObject({ P: "8" });
  });

  test("where nothing classified is touched, errors keep their words", async () => {
    expect(errorOf(await client.query("select 'x'::date from orders"))).toMatchObject({ M: 'invalid input syntax for type date: "x"' });
    expect(errorOf(await client.query("insert into orders values (1, 1, 1)"))).toMatchObject({
      C: "23505",
      D: "Key (id)=(1) already exists.",
    });
  });

  test("what is not in the catalogue is refused with the server's own codes", async () => {
    expect(errorOf(await client.query("select nothing from users"))).toMatchObject({
      C: "42703",
      M: expect.stringContaining("nothing") as string,
    });
    expect(errorOf(await client.query("select 1 from nowhere"))).toMatchObject({
      C: "42P01",
      M: expect.stringContaining("nowhere") as string,
    });
  });

  test("after a touch, errors are cut to the end of the transaction", async () => {
    await client.query("begin; select email from users where id = 1");
    expect(errorOf(await client.query("insert into orders values (1, 1, 1)"))).toMatchObject({ M: "unique violation" });
    await client.query("rollback");
    expect(errorOf(await client.query("insert into orders values (1, 1, 1)"))?.["D"]).toBeDefined();
  });

  test("in the extended protocol too", async () => {
    client.send(parse({ text: "select id / $1, email from users" }), bind({ values: ["0"] }), execute({}), sync());
    const answer = await client.until("Z");
    expect(letters(answer)).toBe("12EZ");
    expect(errorOf(answer)).toMatchObject({ M: "division by zero" });
  });
});

describe("PG-27 notices and PG-25 messages", () => {
  const notices = (messages: readonly Message[]) => messages.filter(({ type }) => type === "N").map(({ body }) => fieldsOf(body));

  test("a trigger's words are not heard; a code of its own is, by its condition", async () => {
    const sql = "update users set name = 'renamed' where id = 1";
    const answer = await client.query(sql);
    expect(notices(answer)).toEqual([expect.objectContaining({ C: "01P01", M: "deprecated feature" })]);
    expect(heard(answer)).not.toMatch(SENTINELS);
    expect(heard(await seeing.query(sql))).toMatch(SENTINELS);
  });

  test("other statements' notices keep their words", async () => {
    expect(notices(await client.query("drop table if exists nowhere"))).toMatchObject([
      { M: expect.stringContaining("nowhere") as string },
    ]);
  });
});

describe("EXPLAIN", () => {
  test("of what touches nothing passes; of classified columns, it tells widths, and of what cannot be proven, more", async () => {
    expect(errorOf(await client.query("explain select id, name from users where id = 1"))).toBeUndefined();
    expect(errorOf(await client.query("explain select email from users where id = 1"))).toMatchObject({ C: "42501" });
    expect(errorOf(await client.query("explain select 1 from users where email like 'u1%'"))).toMatchObject({ C: "42501" });
    expect(errorOf(await client.query("explain analyze select lower(email) from users"))).toMatchObject({ C: "42501" });
  });
});

describe("level C, best effort", () => {
  let loose: Gateway;
  let raw: RawClient;
  beforeAll(async () => {
    loose = await world.gateway({ config: { masking: "best-effort" } });
    raw = await RawClient.ready(loose.port);
  });

  test("what cannot be proven runs; columns of unknown origin are masked, bare ones by their class", async () => {
    const answer = await raw.query("select lower(email), length(email), email, id from users where email like 'u1@%'");
    expect(rowsOf(answer)).toEqual([["[email]", null, "[email]", "1"]]);
    expect(loose.recorder.outcomes.at(-1)).toMatchObject({ masked: { email: 3 } });
  });

  test("the extended protocol does the same; untouched statements pass", async () => {
    raw.send(parse({ text: "select upper(email), id from users where email like $1" }), bind({ values: ["u2@%"] }), execute({}), sync());
    expect(rowsOf(await raw.until("Z"))).toEqual([["[email]", "2"]]);
    expect(rowsOf(await raw.query("select count(*), max(total) from orders"))).toEqual([["20", "200"]]);
  });

  test("a COPY that cannot be masked is refused all the same", async () => {
    expect(errorOf(await raw.query("copy (select lower(email) from users) to stdout"))).toMatchObject({ C: "42501" });
    expect(errorOf(await raw.query("copy users to stdout binary"))).toMatchObject({ C: "42501" });
  });
});

describe("detectors alone", () => {
  const masking = rulesOf("classes:\n  mail: { detectors: [email], mask: redact }\n");

  test("find values inside text of any origin, need no catalogue, and refuse nothing", async () => {
    const found = await world.gateway({ masking });
    const raw = await RawClient.ready(found.port);
    const answer = await raw.query("select 'to ' || email || ' and on', id, lower(email) from users where email like 'u1@%'");
    expect(rowsOf(answer)).toEqual([["to [mail] and on", "1", "[mail]"]]);
    expect(found.recorder.outcomes[0]).toMatchObject({ masked: { mail: 2 } });
    expect(copied(await raw.query("copy (select email, id from users where id = 1) to stdout"))).toBe("[mail]\t1\n");
    raw.send(parse({ text: "select email from users where id = 1" }), bind({ binary: true }), execute({}), sync());
    expect(rowsOf(await raw.until("Z"))).toEqual([["[mail]"]]);
    raw.destroy();
  });
});

test("no rules, no messages of our own: nothing differs from a target without masking", async () => {
  const plain = await world.gateway({ masking: { classes: [] } });
  const raw = await RawClient.ready(plain.port);
  expect(heard(await raw.query("select email from users where email like 'u1@%'"))).toMatch(SENTINELS);
  const { commands } = plain.recorder;
  expect(commands).toHaveLength(1);
  raw.destroy();
});
