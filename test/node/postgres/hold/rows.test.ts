/** Held commands against a real server: nothing of them runs before consent, and the session goes on whatever is decided. */
import { Client } from "pg";
import { beforeEach, describe, expect, test } from "vitest";
import type { ApprovalOutcome } from "../../../../protocol/approval.ts";
import { CANCEL, errorOf, int32, letters, RawClient, serialize, statusOf } from "../raw-client.ts";
import { decided } from "../support.ts";
import { HoldRig, INSERT, quietly, rule } from "./rig.ts";

const rig = HoldRig.declare();

describe("a held Query", () => {
  test("the client is told with the link, waits, and the command runs on approval", async () => {
    const { asked, notice } = await rig.hold();
    expect(notice).toMatchObject({ S: "NOTICE", V: "NOTICE", C: "01000" });
    expect(notice["M"]).toBe(`sallyport: held for approval ${asked.approval}: https://gate.example.com/approvals/${asked.approval}`);
    expect(notice["D"]).toContain("It needs the approval of dba");
    expect(await rig.rows()).toEqual([]);
    asked.settle("approved");
    expect(letters(await rig.client.until("Z"))).toBe("CZ");
    expect(await rig.rows()).toEqual([1]);
    expect(letters(await rig.client.query("select 1"))).toBe("TDCZ");
  });

  test("what is asked is exactly what would run", async () => {
    await rig.client.query("set search_path = public, other");
    const { asked } = await rig.hold("insert into held values (1); -- all of it\n select 'dba@example.com'");
    expect(asked.request).toMatchObject({
      subject: {
        kind: "command",
        target: "orders-db",
        protocol: "postgres",
        statements: [{ text: "insert into held values (1); -- all of it\n select 'dba@example.com'" }],
        environment: { database: "postgres", role: rig.postgres.superuser.user, search_path: "public; public, other" },
      },
      needs: [{ group: "dba", min: 1 }],
      effects: expect.arrayContaining([{ action: "pg:insert", resource: "orders-db/public.held" }]),
      in_transaction: false,
    });
    rig.client.destroy();
  });

  test("the record: held, its approval, then the command that ran by it", async () => {
    const { asked } = await rig.hold();
    asked.settle("approved");
    await rig.client.until("Z");
    const { commands, outcomes } = rig.gateway.recorder;
    const two = commands.filter(({ text }) => text === INSERT);
    expect(two).toMatchObject([
      { decision: "hold", approval: asked.approval },
      { decision: "allow", approval: asked.approval },
    ]);
    expect(rig.gateway.recorder.approvals).toEqual([
      { approval: asked.approval, command: two[0]?.command, state: "pending" },
      { approval: asked.approval, command: two[0]?.command, state: "approved", by: ["anna"] },
    ]);
    expect(outcomes.filter(({ command }) => two.some((one) => one.command === command))).toMatchObject([
      { command: two[0]?.command, status: "ok" },
      { command: two[1]?.command, status: "ok", tag: "INSERT 0 1" },
    ]);
    expect(rig.approvals.told.map((line) => line.split(":")[0])).toEqual(["waiting", "approved"]);
  });

  test("control: where policy holds nothing, the table changes and nobody is asked", async () => {
    rig.gateway.setRule(() => "allow");
    await rig.client.query(INSERT);
    expect(await rig.rows()).toEqual([1]);
    expect(rig.approvals.asked).toEqual([]);
  });

  test.each<[ApprovalOutcome["state"], Partial<ApprovalOutcome>, string, RegExp]>([
    ["denied", { reason: "not on a Friday" }, "42501", /was denied by anna: not on a Friday/],
    ["expired", { by: [] }, "42501", /expired/],
    ["withdrawn", { by: [], reason: "by an operator" }, "57014", /was withdrawn: by an operator/],
  ])("%s: refused with who and why, and the session goes on", async (state, more, code, words) => {
    const { asked } = await rig.hold();
    asked.settle(state, more);
    const answer = await rig.client.until("Z");
    expect(letters(answer)).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ C: code, M: expect.stringMatching(words) });
    expect(statusOf(answer)).toBe("I");
    expect(await rig.rows()).toEqual([]);
    expect(rig.gateway.recorder.outcomeOf(/into held/)).toMatchObject({ status: code === "57014" ? "cancelled" : "refused", code });
    expect(letters(await rig.client.query("select 1"))).toBe("TDCZ");
  });

  test("an approval that comes twice, or after the denial, runs nothing", async () => {
    const { asked } = await rig.hold();
    asked.settle("denied");
    asked.settle("approved");
    await rig.client.until("Z");
    const again = await rig.hold("insert into held values (2)");
    asked.settle("approved");
    again.asked.settle("approved");
    again.asked.settle("approved");
    await rig.client.until("Z");
    expect(await rig.rows()).toEqual([2]);
  });

  test("two held ones in a row are two approvals", async () => {
    rig.client.send(serialize.query(INSERT), serialize.query("insert into held values (2)"));
    (await rig.approvals.at(0)).settle("approved");
    expect(quietly(await rig.client.until("Z"))).toBe("CZ");
    const second = await rig.approvals.at(1);
    expect(await rig.rows()).toEqual([1]);
    second.settle("denied");
    expect(quietly(await rig.client.until("Z"))).toBe("EZ");
    expect(await rig.rows()).toEqual([1]);
  });

  test("a held statement among others of one text: the approval is for the whole, and nothing of it runs before", async () => {
    const { asked } = await rig.hold("insert into t values (1); insert into held values (1); select 1");
    expect(await rig.rows("t")).toEqual([]);
    asked.settle("approved");
    expect(letters(await rig.client.until("Z"))).toBe("CCTDCZ");
    expect([await rig.rows("t"), await rig.rows()]).toEqual([[1], [1]]);
  });

  test("other connections of the session go on meanwhile", async () => {
    const { asked } = await rig.hold();
    expect(letters(await (await rig.connect()).query("select 1"))).toBe("TDCZ");
    asked.settle("approved");
    await rig.client.until("Z");
  });

  test("what cannot be asked for is refused with why", async () => {
    const { asked } = await rig.hold();
    asked.news({ type: "refused", code: "too_many", message: "the session has 20 approvals open" });
    const answer = await rig.client.until("Z");
    expect(errorOf(answer)).toMatchObject({ C: "42501", M: expect.stringContaining("20 approvals open"), D: "too_many" });
  });
});

describe("ends of a hold from the client's side", () => {
  test("PG-11 CancelRequest ends it: 57014, withdrawn, and a later approval runs nothing", async () => {
    const key = rig.client.greeting.find(({ type }) => type === "K")?.body ?? Buffer.alloc(0);
    const { asked } = await rig.hold();
    const canceller = await RawClient.open(rig.gateway.port);
    canceller.send(Buffer.concat([int32(8 + key.length), int32(CANCEL), key]));
    const answer = await rig.client.until("Z");
    expect(errorOf(answer)).toMatchObject({ C: "57014" });
    expect(asked.withdrawn).toContain("cancelled");
    asked.settle("approved");
    expect(await rig.rows()).toEqual([]);
    expect(rig.gateway.recorder.approvals.at(-1)).toMatchObject({ state: "withdrawn" });
    canceller.destroy();
  });

  test("the client's connection is gone: withdrawn, nothing runs", async () => {
    const { asked } = await rig.hold();
    rig.client.destroy();
    await expect.poll(() => asked.withdrawn).toContain("disconnected");
    asked.settle("approved");
    expect(await rig.rows()).toEqual([]);
    expect(rig.gateway.recorder.outcomeOf(/into held/)).toMatchObject({ status: "cancelled" });
  });

  test("the session is killed: withdrawn, 57P01", async () => {
    const { asked } = await rig.hold();
    rig.gateway.kill({ code: "session_killed", message: "ended by anna" });
    expect(errorOf(await rig.client.untilClosed())).toMatchObject({ S: "FATAL", C: "57P01" });
    expect(asked.withdrawn).toContain("ended by anna");
  });

  test("the target ends the connection meanwhile: withdrawn", async () => {
    const { asked } = await rig.hold();
    await rig.direct(
      "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'",
    );
    await rig.client.untilClosed();
    expect(asked.withdrawn).toBeDefined();
  });
});

describe("GW-18 the policy changes while a command is held", () => {
  test("it denies now: refused at once, and withdrawn", async () => {
    const { asked } = await rig.hold();
    rig.gateway.setRule((action) => (action === "pg:insert" ? "deny" : "allow"));
    expect(errorOf(await rig.client.until("Z"))).toMatchObject({ C: "42501", D: "Decided by test-deny." });
    expect(asked.withdrawn).toContain("denies");
    asked.settle("approved");
    expect(await rig.rows()).toEqual([]);
  });

  test("it allows now: runs, and the request is withdrawn", async () => {
    const { asked } = await rig.hold();
    rig.gateway.setRule(() => "allow");
    expect(quietly(await rig.client.until("Z"))).toBe("CZ");
    expect(asked.withdrawn).toContain("allows");
    expect(await rig.rows()).toEqual([1]);
  });

  test("it asks others now: withdrawn, and asked anew; the first group's consent is worth nothing", async () => {
    const { asked } = await rig.hold();
    const sre = { ...decided("hold", "pg:insert"), approvals: [{ group: "sre", min: 2 }] };
    rig.gateway.setRule((action) => (action === "pg:insert" ? sre : "allow"));
    const anew = await rig.approvals.at(1);
    expect(asked.withdrawn).toContain("others");
    expect(anew.request.needs).toEqual([{ group: "sre", min: 2 }]);
    asked.settle("approved");
    anew.settle("approved", { groups: ["dba"] });
    expect(errorOf(await rig.client.until("Z"))).toMatchObject({ C: "42501", M: expect.stringContaining("does not suffice") });
    expect(await rig.rows()).toEqual([]);
  });

  test("it is the same for this command: nothing happens to the hold", async () => {
    const { asked } = await rig.hold();
    rig.gateway.setRule((action, resource) => rule(action, resource));
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect([asked.withdrawn, rig.approvals.asked.length]).toEqual([undefined, 1]);
    asked.settle("approved");
    expect(quietly(await rig.client.until("Z"))).toBe("CZ");
  });
});

describe("a client that does not wait (mode fail)", () => {
  beforeEach(() => {
    rig.approvals.mode = "fail";
  });

  test("is refused with the id and the link once the request is kept; the request stands", async () => {
    rig.client.send(serialize.query(INSERT));
    const asked = await rig.approvals.at(0);
    asked.news({ type: "opened", expiresAt: Date.now() + 60_000, url: "u" });
    const answer = await rig.client.until("Z");
    expect(letters(answer)).toBe("EZ");
    expect(errorOf(answer)).toMatchObject({ C: "42501", M: expect.stringContaining(`${asked.approval} was requested: https://`) });
    expect(rig.approvals.told).toEqual([expect.stringMatching(/^refused: /)]);
    expect([asked.withdrawn, await rig.rows()]).toEqual([undefined, []]);
  });

  test("runs what was approved before", async () => {
    rig.client.send(serialize.query(INSERT));
    (await rig.approvals.at(0)).settle("approved");
    expect(letters(await rig.client.until("Z"))).toBe("CZ");
    expect(await rig.rows()).toEqual([1]);
  });

  test("inside a transaction too, since nobody waits there", async () => {
    await rig.client.query("begin");
    rig.client.send(serialize.query(INSERT));
    const asked = await rig.approvals.at(0);
    expect(asked.request.in_transaction).toBe(false);
    asked.settle("approved");
    expect(letters(await rig.client.until("Z"))).toBe("CZ");
  });
});

test("node-postgres: the notice is an event, the promise waits, and a refusal is its error", async () => {
  const driver = new Client({ host: "127.0.0.1", port: rig.gateway.port, user: "ci", database: "postgres" });
  await driver.connect();
  try {
    const noticed = new Promise<string | undefined>((resolve) => driver.once("notice", ({ message }) => resolve(message)));
    const inserted = driver.query("insert into held values ($1) returning n", [5]);
    expect(await noticed).toContain("held for approval");
    rig.approvals.last.settle("approved");
    expect((await inserted).rows).toEqual([{ n: 5 }]);
    const refused = driver.query("insert into held values ($1)", [6]);
    (await rig.approvals.at(1)).settle("denied", { reason: "no" });
    await expect(refused).rejects.toMatchObject({ code: "42501", message: expect.stringContaining("denied by anna: no") });
    expect((await driver.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  } finally {
    await driver.end();
  }
  expect(await rig.rows()).toEqual([5]);
});

test("COPY FROM STDIN: the copy is held, its rows are said not to be part of it, and they follow once it is approved", async () => {
  const { asked } = await rig.hold("copy held from stdin");
  expect(asked.request.subject.environment["rows"]).toContain("not part of what is approved");
  asked.settle("approved");
  await rig.client.until("G");
  rig.client.send(serialize.copyData(Buffer.from("7\n")), serialize.copyDone());
  expect(letters(await rig.client.until("Z"))).toBe("CZ");
  expect(await rig.rows()).toEqual([7]);
});

describe("names", () => {
  test("EXECUTE of a prepared statement shows what it runs", async () => {
    rig.gateway.setRule(() => "allow");
    await rig.client.query("prepare p as insert into held values ($1)");
    rig.gateway.setRule(rule);
    const { asked } = await rig.hold("execute p(3)");
    expect(asked.request.subject.environment["named 1"]).toBe("p = prepare p as insert into held values ($1)");
    asked.settle("approved");
    await rig.client.until("Z");
    expect(await rig.rows()).toEqual([3]);
  });

  test("PG-36 PG-37 a function of one's own and DO are held like any other command", async () => {
    await rig.direct("create or replace function purge() returns int language sql as 'delete from held returning 1'");
    rig.gateway.setRule((action) => (action === "pg:call" || action === "pg:do" ? "hold" : "allow"));
    for (const sql of ["select purge()", "do $$ begin delete from held; end $$"]) {
      const { asked } = await rig.hold(sql);
      expect(asked.request.estimate).toBeUndefined();
      asked.settle("denied");
      expect(errorOf(await rig.client.until("Z"))).toMatchObject({ C: "42501" });
    }
  });
});
