/** The hold as a machine: its clock, what it asks of its shell, and answers that come late, twice or not at all. */
import { beforeEach, describe, expect, test } from "vitest";
import {
  HOLD_DEFINITIONS_MS,
  HOLD_FAIL_ANSWER_MS,
  HOLD_GRACE_MS,
  HOLD_IN_TRANSACTION_MAX_MS,
  HOLD_NOTICE_EVERY_MS,
  HOLD_TTL_MS,
} from "../../../../protocol/limits.ts";
import type { SessionEvent } from "../../../../tunnel-agent/protocols/postgres/session/types.ts";
import { errorOf, letters, messagesOf, Rig, say } from "../machine/rig.ts";
import { fieldsOf, serialize } from "../raw-client.ts";
import { decided, type Rule } from "../support.ts";
import { ScriptedApprovals } from "./scripted.ts";

const { parse, bind, execute, sync } = serialize;
const SQL = "alter table held add column m int";
const rule: Rule = (action, resource) => {
  if (resource.type !== "table" || resource.table !== "held") return "allow";
  return { ...decided("hold", action), hold: { inTransaction: true, ttl: HOLD_TTL_MS } };
};

let approvals: ScriptedApprovals;
let rig: Rig;
beforeEach(() => {
  approvals = new ScriptedApprovals();
  rig = new Rig({ rule, approvals });
});

type Of<T extends SessionEvent["type"]> = Extract<SessionEvent, { type: T }>;
const events = <T extends SessionEvent["type"]>(type: T): Of<T>[] => rig.events.filter((event): event is Of<T> => event.type === type);
const last = <T extends SessionEvent["type"]>(type: T): Of<T> => {
  const event = events(type).at(-1);
  if (event === undefined) throw new Error(`no ${type}`);
  return event;
};
/** Answers the last inspection. */
const inspected = (objects = [{ name: "public.held", definition: "a".repeat(64) }], estimate?: string): Rig =>
  rig.do((machine) => machine.inspected(last("inspect").question, { ok: true, objects, estimate }));
const settle = (state: "approved" | "denied", groups = ["dba"]): Rig =>
  rig.do((machine) =>
    machine.approvalNews(last("request-approval").approval, { type: "settled", outcome: { state, at: 1, groups, by: ["anna"] } }),
  );
const held = (): Rig => {
  rig.client(serialize.query(SQL));
  return inspected();
};
/** Lets the clock run, calling expire() whenever it is due. */
function wait(ms: number): void {
  const end = rig.now + ms;
  for (;;) {
    const deadline = rig.machine.deadline();
    if (deadline === null || deadline > end) break;
    rig.now = Math.max(rig.now, deadline);
    rig.do((machine) => machine.expire());
  }
  rig.now = end;
}
const notices = (): Record<string, string>[] =>
  messagesOf(rig.toClient())
    .filter(({ type }) => type === "N")
    .map(({ body }) => fieldsOf(body));

describe("time", () => {
  test("the notice comes at once, and again every 15 s, with how long it has waited", () => {
    held();
    expect(notices()).toHaveLength(1);
    wait(HOLD_NOTICE_EVERY_MS - 1);
    expect(notices()).toEqual([]);
    wait(1);
    const [second] = notices();
    expect(second?.["D"]).toContain("Waiting for 15 s.");
    wait(4 * HOLD_NOTICE_EVERY_MS);
    expect(notices()).toHaveLength(4);
  });

  test("no timer of the gateway fires for a hold, and they count from its end (PG-50)", () => {
    rig = new Rig({ rule, approvals, limits: { statement_s: 10, unsynced_s: 10, idle_in_transaction_s: 10 } });
    rig.client(parse({ text: SQL }), bind({}), execute({}), sync());
    rig.backend(say.parsed, say.ready());
    inspected();
    wait(200_000);
    expect([rig.end, rig.cancels]).toEqual([undefined, 0]);
    settle("approved");
    inspected();
    expect(letters(rig.toTarget())).toBe("PSBES");
    rig.backend(say.bound, say.complete("ALTER TABLE"), say.ready());
    // Control: the same pipeline without its Sync is ended.
    rig.setRule(() => "allow");
    rig.client(parse({ text: SQL }));
    rig.backend(say.parsed);
    wait(10_000);
    expect(rig.end?.reason).toContain("25P03");
  });

  test("in a transaction neither", () => {
    rig = new Rig({ rule, approvals, limits: { idle_in_transaction_s: 10 } });
    rig.client(serialize.query("begin")).backend(say.complete("BEGIN"), say.ready("T"));
    held();
    wait(100_000);
    expect(rig.end).toBeUndefined();
    settle("denied");
    rig.backend(say.error("26000"), say.ready("E"));
    wait(10_000);
    expect(rig.end?.reason).toContain("25P03");
  });

  test("it ends by itself when nothing is heard: refused as expired, and withdrawn", () => {
    held();
    rig.toClient();
    wait(HOLD_TTL_MS + HOLD_GRACE_MS - 1);
    expect(errorOf(rig.toClient())).toBeUndefined();
    wait(1);
    expect(errorOf(rig.toClient())).toMatchObject({ C: "42501", M: expect.stringContaining("expired") });
    expect(last("withdraw-approval").approval).toBe(last("request-approval").approval);
    settle("approved");
    expect(rig.toTarget()).toHaveLength(0);
  });

  test("the gateway may give it less time than was asked for", () => {
    held();
    rig.toClient();
    const expiresAt = Date.now() + 60_000;
    rig.do((machine) => machine.approvalNews(last("request-approval").approval, { type: "opened", expiresAt, url: "u" }));
    wait(60_000 + HOLD_GRACE_MS);
    expect(errorOf(rig.toClient())).toMatchObject({ C: "42501" });
  });

  test("in a transaction it is bounded whatever the policy says", () => {
    rig.client(serialize.query("begin")).backend(say.complete("BEGIN"), say.ready("T"));
    held();
    rig.toClient();
    expect(last("request-approval").request).toMatchObject({ ttl: HOLD_IN_TRANSACTION_MAX_MS, in_transaction: true });
    wait(HOLD_IN_TRANSACTION_MAX_MS + HOLD_GRACE_MS);
    expect(letters(rig.toTarget())).toBe("QDS");
    rig.backend(say.error("26000"), say.ready("E"));
    expect(errorOf(rig.toClient())).toMatchObject({ C: "42501", M: expect.stringContaining("expired") });
  });

  test("a client that does not wait is refused when the gateway says nothing; the request stands", () => {
    approvals.mode = "fail";
    held();
    wait(HOLD_FAIL_ANSWER_MS);
    expect(errorOf(rig.toClient())).toMatchObject({ C: "42501", M: expect.stringContaining("was requested") });
    expect(events("withdraw-approval")).toEqual([]);
    settle("approved");
    expect(rig.toTarget()).toHaveLength(0);
  });
});

describe("PG-48 what it names is looked at again", () => {
  test("unchanged: it runs", () => {
    held();
    settle("approved");
    expect(rig.toTarget()).toHaveLength(0);
    inspected();
    expect(letters(rig.toTarget())).toBe("Q");
  });

  test.each([
    ["changed", [{ name: "public.held", definition: "b".repeat(64) }]],
    ["gone", []],
    ["joined by another", ["held", "more"].map((name) => ({ name: `public.${name}`, definition: "a".repeat(64) }))],
  ])("%s: 42501, and nothing runs", (_, objects) => {
    held();
    settle("approved");
    inspected(objects);
    expect(errorOf(rig.toClient())).toMatchObject({ C: "42501", M: expect.stringContaining("has changed") });
    expect(rig.toTarget()).toHaveLength(0);
  });

  test("they are part of what is asked", () => {
    held();
    expect(last("request-approval").request.subject.objects).toEqual([{ name: "public.held", definition: "a".repeat(64) }]);
  });

  test.each(["before it is asked", "after it is approved"])("they cannot be read %s: 42501, and nothing runs", (when) => {
    rig.client(serialize.query(SQL));
    if (when.startsWith("after")) {
      inspected();
      settle("approved");
    }
    rig.do((machine) => machine.inspected(last("inspect").question, { ok: false }));
    expect(errorOf(rig.toClient())).toMatchObject({ C: "42501", M: expect.stringContaining("could not be read") });
    expect(rig.toTarget()).toHaveLength(0);
  });

  test("an answer that never comes is one that cannot be read; one to an older question is none", () => {
    rig.client(serialize.query(SQL));
    rig.do((machine) => machine.inspected(last("inspect").question - 1, { ok: true, objects: [] }));
    expect(events("request-approval")).toEqual([]);
    wait(HOLD_DEFINITIONS_MS);
    expect(errorOf(rig.toClient())).toMatchObject({ C: "42501" });
    inspected();
    expect(events("request-approval")).toEqual([]);
  });

  test("a search_path that moved meanwhile makes it stale", () => {
    held();
    rig.backend(say.status("search_path", "evil, public"));
    settle("approved");
    inspected();
    expect(errorOf(rig.toClient())).toMatchObject({ C: "42501", M: expect.stringContaining("has changed") });
  });

  test("a policy that denies at the last moment is heeded, and so is one that asks for more", () => {
    held();
    settle("approved");
    rig.setRule((action) => (action === "pg:alter" ? "deny" : "allow"));
    inspected();
    expect(errorOf(rig.toClient())).toMatchObject({ C: "42501", D: "Decided by test-deny." });
    rig.setRule(rule);
    held();
    settle("approved", ["interns"]);
    inspected();
    expect(errorOf(rig.toClient())).toMatchObject({ C: "42501", M: expect.stringContaining("does not suffice") });
    expect(rig.toTarget()).toHaveLength(0);
  });
});

describe("the estimate is asked for only where planning runs nothing of anyone's (PG-39)", () => {
  test.each([
    ["update held set n = 2", true],
    ["delete from held", true],
    ["select * from held", true],
    ["select f(n) from held", false],
    ["select n from held where n operator(public.===) 1", false],
    ["select 1::public.mood from held", false],
    [SQL, false],
    ["insert into held values (1)", false],
    ["update held set n = 2; select 1", false],
    ["explain analyze delete from held", false],
  ])("%s: %s", (sql, estimable) => {
    rig.client(serialize.query(sql));
    expect(last("inspect").estimate).toBe(estimable ? sql : null);
  });

  test("nor with parameters, or under a search_path that the side connection does not have", () => {
    rig.client(parse({ text: "delete from held where n = $1" }), bind({ values: ["1"] }));
    rig.backend(say.parsed, say.ready());
    expect(last("inspect").estimate).toBeNull();
    rig = new Rig({ rule, approvals });
    rig.client(serialize.query("set search_path = other")).backend(say.complete("SET"), say.ready());
    rig.client(serialize.query("delete from held"));
    expect(last("inspect").estimate).toBeNull();
  });

  test("it is shown to the approver, and is not part of what must stay the same", () => {
    rig.client(serialize.query("delete from held"));
    inspected(undefined, "Delete on held  (rows=12)");
    expect(last("request-approval").request.estimate).toBe("Delete on held  (rows=12)");
    settle("approved");
    expect(last("inspect").estimate).toBeNull();
    inspected();
    expect(letters(rig.toTarget())).toBe("Q");
  });
});

describe("secrets", () => {
  test("a password in the text is not shown, that is said, and another password is another subject", () => {
    rig.setRule((action) => (action === "pg:create" || action === "pg:role" || action === "pg:admin" ? "hold" : "allow"));
    const ask = (password: string) => {
      rig.client(serialize.query(`create user mapping for app server s options (password '${password}')`));
      inspected([]);
      settle("denied");
      return last("request-approval").request.subject;
    };
    rig.setRule(() => decided("hold", "it"));
    const [first, second] = [ask("hunter2"), ask("hunter3")];
    expect(JSON.stringify([first, second])).not.toMatch(/hunter/);
    expect(first.environment["not shown"]).toMatch(/^a secret in the text; HMAC-SHA-256 of the whole: [0-9a-f]{64}$/);
    expect(first.environment["not shown"]).not.toBe(second.environment["not shown"]);
    expect(first.statements).toEqual(second.statements);
  });
});

test("the spool is full: a held command cannot be recorded, so nobody is asked", () => {
  rig.recorder.unavailable = true;
  rig.client(serialize.query(SQL));
  inspected();
  expect(errorOf(rig.toClient())).toMatchObject({ C: "58030" });
  expect(events("request-approval")).toEqual([]);
});

test("the spool is full when consent comes: it does not run", () => {
  held();
  settle("approved");
  rig.recorder.unavailable = true;
  inspected();
  expect(errorOf(rig.toClient())).toMatchObject({ C: "58030" });
  expect(letters(rig.toTarget())).toBe("X");
});

test("while it waits, what the client sends after it is neither read nor lost", () => {
  held();
  rig.client(serialize.query("select 1"), serialize.query("select 2"));
  expect(rig.toTarget()).toHaveLength(0);
  settle("approved");
  inspected();
  rig.backend(say.complete("ALTER TABLE"), say.ready());
  expect(messagesOf(rig.toTarget()).map(({ body }) => body.toString())).toEqual([`${SQL}\0`, "select 1\0"]);
});
