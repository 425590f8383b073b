/** An approval from request to outcome, through the real Worker and its real objects, each step also after an eviction. */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { APPROVALS_PER_SESSION, MAX_APPROVAL_BYTES } from "../../../protocol/limits.ts";
import { findConsents, listApprovals } from "../../../store/approvals.ts";
import { Agent, site } from "../objects/world.ts";
import { asking, bundleFiles, eventually, objectOf, prepareApprovals, problem, read, republish, request, vote } from "./world.ts";

beforeAll(() => prepareApprovals("approval"));
afterEach(() => vi.restoreAllMocks());

const siteOf = (agent: Agent) => env.SITES.getByName(agent.site);
const row = async (session: string) => (await listApprovals(env.DB, { session }, null, { limit: 10, cursor: null }, Date.now())).rows[0];

/** Each test as it is, and again with the objects evicted between its steps. */
const twins = describe.each([
  ["", async () => undefined],
  [
    ", objects evicted in between",
    async (approval: string, agent: Agent) => {
      await evictDurableObject(objectOf(approval));
      await evictDurableObject(siteOf(agent));
    },
  ],
] as const);

twins("a held command%s", (_, evict) => {
  test("is asked for, approved by a human, and its agent hears so", async () => {
    const asks = await asking();
    const { request: made, answer } = await asks.ask();
    expect(answer).toMatchObject({ type: "approval_opened", url: `https://gate.test/approvals/${made.approval}` });
    expect(await row(asks.id)).toMatchObject({ id: made.approval, state: "pending", identity: "ci", command: 3, groups: ["dba"] });
    await evict(made.approval, asks.session.agent);
    const answered = await vote("mira", made);
    expect(await answered.json()).toEqual({ approval: made.approval, state: "approved", needs: [] });
    expect(await asks.heard(made.approval)).toMatchObject({
      type: "approval_settled",
      outcome: { state: "approved", groups: ["dba"], by: ["mira"] },
    });
    await eventually(async () => (await row(asks.id))?.state === "approved", "the index says approved");
    expect(await read(made.approval)).toMatchObject({ ...made, identity: "ci", state: "approved", agent: asks.session.agent.id });
  });

  test("is denied with a reason", async () => {
    const asks = await asking();
    const { request: made } = await asks.ask();
    await evict(made.approval, asks.session.agent);
    await vote("mira", made, "deny", "not before the backup");
    expect(await asks.heard(made.approval)).toMatchObject({ outcome: { state: "denied", by: ["mira"], reason: "not before the backup" } });
  });

  test("expires by its alarm, and a vote after that comes too late", async () => {
    const asks = await asking();
    const { request: made } = await asks.ask({ more: { ttl: 30 } });
    await evict(made.approval, asks.session.agent);
    await scheduler.wait(40);
    // Whoever comes first, the runtime's own alarm or this one: the outcome is the same.
    await runDurableObjectAlarm(objectOf(made.approval));
    expect(await asks.heard(made.approval)).toMatchObject({ type: "approval_settled", outcome: { state: "expired" } });
    const late = await vote("mira", made);
    expect(late.status).toBe(409);
    expect(await problem(late)).toMatchObject({ code: "approval_over", detail: "The approval has ended: it is expired." });
    expect((await read(made.approval)).votes).toMatchObject([{ voter: "mira", refused: "late" }]);
  });

  test("is withdrawn by its agent; a vote after that comes too late", async () => {
    const asks = await asking();
    const { request: made } = await asks.ask();
    await evict(made.approval, asks.session.agent);
    asks.withdraw(made.approval);
    await eventually(async () => (await read(made.approval)).state === "withdrawn", "withdrawn");
    expect((await vote("mira", made)).status).toBe(409);
  });

  test("is withdrawn when its session ends", async () => {
    const asks = await asking();
    const { request: made } = await asks.ask();
    const later = (await asks.ask({ text: "ALTER TABLE orders ADD later text", more: { mode: "later" } })).request;
    await evict(made.approval, asks.session.agent);
    await env.SESSIONS.getByName(asks.id).kill("session_killed", "test");
    await eventually(async () => (await read(made.approval)).state === "withdrawn", "withdrawn");
    expect((await read(made.approval)).outcome).toMatchObject({ reason: "the session ended" });
    // What the session does not wait for stands on its own.
    expect((await read(later.approval)).state).toBe("pending");
  });
});

describe("the agent's word", () => {
  test("repeating a request finds the same approval, and its outcome if it has one", async () => {
    const asks = await asking();
    const { request: made, answer } = await asks.ask();
    expect(await asks.send(made)).toEqual(answer);
    await vote("mira", made);
    await asks.heard(made.approval, "approval_settled");
    await asks.session.agent.connect([asks.session.target], [asks.id]);
    expect(await asks.send(made)).toMatchObject({ type: "approval_opened" });
    expect(await asks.heard(made.approval)).toMatchObject({ type: "approval_settled", outcome: { state: "approved" } });
  });

  test("an outcome while the agent is away reaches it when it asks again", async () => {
    const asks = await asking();
    const { request: made } = await asks.ask();
    asks.session.agent.control?.close((1006 as number) === 1006 ? 4000 : 1000, "cut");
    await asks.session.agent.control?.closed;
    await vote("mira", made);
    await asks.session.agent.connect([asks.session.target], [asks.id]);
    asks.session.agent.say({ type: "approval_request", request: made });
    expect(await asks.heard(made.approval, "approval_settled")).toMatchObject({ outcome: { state: "approved", by: ["mira"] } });
  });

  test("another command under the same id is refused", async () => {
    const asks = await asking();
    const { request: made } = await asks.ask();
    const other = { ...(await asks.request({ text: "DROP TABLE orders" })), approval: made.approval };
    expect(await asks.send(other)).toMatchObject({ type: "approval_refused", code: "conflict" });
    expect((await read(made.approval)).subject).toEqual(made.subject);
  });

  test("a digest that is not the command's is refused", async () => {
    const asks = await asking();
    const harmless = await asks.request({ text: "SELECT 1" });
    const made = { ...(await asks.request({ text: "DROP TABLE orders" })), digest: harmless.digest };
    expect(await asks.send(made)).toMatchObject({ type: "approval_refused", code: "bad_request" });
    expect(await objectOf(made.approval).read()).toBeNull();
  });

  test("GW-14: it asks for no session of another agent, no other target, and never for a plan; alarmed", async () => {
    const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const { agent, target } = await site();
    const asks = await asking({ agent, target });
    const other = await Agent.enrol(agent.site);
    await other.connect([target]);
    const made = await asks.request();
    other.say({ type: "approval_request", request: made });
    expect(await other.control?.message((message) => message["approval"] === made.approval)).toMatchObject({
      type: "approval_refused",
      code: "not_found",
    });
    const elsewhere = await request(asks.id, "billing-db");
    expect(await asks.send(elsewhere)).toMatchObject({ type: "approval_refused", code: "not_found" });
    const plan = await request(asks.id, target, { subject: { kind: "plan" } });
    expect(await asks.send(plan)).toMatchObject({ type: "approval_refused", code: "not_found" });
    const said = logged.mock.calls.flat().join("\n");
    expect(said).toContain('"event":"approval_not_of_agent"');
    expect(said.match(/"event":"approval_not_of_session"/g)).toHaveLength(2);
    for (const { approval } of [made, elsewhere, plan]) expect(await objectOf(approval).read()).toBeNull();
  });

  test("another agent cannot withdraw it", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const { agent, target } = await site();
    const asks = await asking({ agent, target });
    const { request: made } = await asks.ask();
    const other = await Agent.enrol(agent.site);
    await other.connect([target]);
    other.say({ type: "approval_withdraw", session: asks.id, approval: made.approval, reason: "x" });
    // Answered after the withdrawal, on the same socket.
    other.say({ type: "approval_request", request: made });
    await other.control?.message((message) => message["approval"] === made.approval);
    expect((await read(made.approval)).state).toBe("pending");
  });

  test("time to live is capped by the bundle", async () => {
    const asks = await asking();
    const { request: made } = await asks.ask({ more: { ttl: 9_000_000_000 } });
    const { requested_at, expires_at } = await read(made.approval);
    expect(expires_at - requested_at).toBe(3_600_000);
  });

  test("GW-26 quotas: of one session; others are unaffected", async () => {
    const asks = await asking();
    for (let n = 0; n < APPROVALS_PER_SESSION; n += 1) {
      expect((await asks.ask({ text: `ALTER TABLE t${n} ADD c int` })).answer["type"]).toBe("approval_opened");
    }
    const over = await asks.ask();
    expect(over.answer).toMatchObject({ type: "approval_refused", code: "too_many" });
    expect((await (await asking()).ask()).answer["type"]).toBe("approval_opened");
    // One that has ended makes room.
    const { rows } = await listApprovals(env.DB, { session: asks.id }, null, { limit: 1, cursor: null }, Date.now());
    asks.withdraw(rows[0]?.id ?? "");
    await eventually(
      async () =>
        (await row(asks.id))?.state !== "pending" ||
        (await listApprovals(env.DB, { session: asks.id, state: "withdrawn" }, null, { limit: 1, cursor: null }, Date.now())).rows.length >
          0,
      "withdrawn in the index",
    );
    expect((await asks.ask()).answer["type"]).toBe("approval_opened");
  });

  test("a command of a megabyte is kept whole, a larger request refused", async () => {
    const asks = await asking();
    // Each of these characters is three bytes: more in bytes than in characters.
    const large = await asks.request({ text: "字".repeat(300_000) });
    expect(await objectOf(large.approval).open(large, { ...ASKER, agent: "agt_x" })).toMatchObject({ ok: true });
    expect((await read(large.approval)).subject.statements[0]?.text).toHaveLength(300_000);
    const larger = await asks.request({ text: "字".repeat(MAX_APPROVAL_BYTES / 3) });
    expect(await objectOf(larger.approval).open(larger, ASKER)).toMatchObject({ ok: false, code: "too_large" });
  });
});

const ASKER = {
  identity: "ci",
  workload: { provider: "oidc", issuer: "https://issuer.test", subject: "job:ci" },
  site: "s",
  agent: "a",
  gateway: "https://gate.test",
  tell: "nobody",
} as const;

describe("GW-18 and GW-12: people change while votes are taken", () => {
  test("who is removed from the group by a new bundle does not count any more; who comes new may vote", async () => {
    const asks = await asking();
    const { request: made } = await asks.ask({ more: { needs: [{ group: "dba", min: 2 }] } });
    expect(await (await vote("mira", made)).json()).toMatchObject({ state: "pending", needs: [{ group: "dba", missing: 1 }] });
    const files = bundleFiles("approval");
    await republish({
      ...files,
      "identities/mira.yaml": files["identities/mira.yaml"]?.replace("groups: [dba]", "groups: [others]") ?? "",
      "identities/otis.yaml": files["identities/otis.yaml"]?.replace("[security]", "[dba]") ?? "",
    });
    expect(await (await vote("noor", made)).json()).toMatchObject({ state: "pending", needs: [{ group: "dba", missing: 1 }] });
    expect(await (await vote("otis", made)).json()).toMatchObject({ state: "approved" });
    expect((await read(made.approval)).outcome?.by).toEqual(["noor", "otis"]);
    await republish(files);
  });

  test("a revoked human does not count", async () => {
    const asks = await asking();
    const { request: made } = await asks.ask({ more: { needs: [{ group: "dba", min: 2 }] } });
    await vote("mira", made);
    await env.IDENTITIES.getByName("mira").revoke("left", "admin");
    expect(await (await vote("noor", made)).json()).toMatchObject({ state: "pending" });
    await env.IDENTITIES.getByName("mira").restore();
  });

  test("who published the active bundle, or the one that held the command, has no vote", async () => {
    const files = bundleFiles("approval");
    const held = await republish(files, "noor");
    const asks = await asking();
    const { request: made } = await asks.ask({ more: { bundle: held } });
    await republish(files, "mira");
    for (const editor of ["mira", "noor"]) {
      expect(await problem(await vote(editor, made))).toMatchObject({
        code: "vote_refused",
        detail: expect.stringContaining("published the policy"),
      });
    }
    await republish(files);
    expect((await vote("mira", made)).status).toBe(200);
  });
});

describe("later", () => {
  const text = (): string => `ALTER TABLE t_${crypto.randomUUID().slice(0, 8)} ADD c int`;

  test("one approval, one later run: by the same identity, once, and both are linked", async () => {
    const at = await site();
    const first = await asking(at);
    const command = text();
    const { request: asked, answer } = await first.ask({ text: command, more: { mode: "later" } });
    expect(answer["type"]).toBe("approval_opened");
    await vote("mira", asked);
    // The agent's session does not wait: it is not told.
    expect(first.session.agent.control?.unread().join()).not.toContain("approval_settled");
    const again = await asking(at);
    const { request: used, answer: settled } = await again.ask({ text: command, more: { mode: "later" } });
    expect(settled).toMatchObject({ type: "approval_settled", outcome: { state: "approved", groups: ["dba"], by: ["mira"] } });
    expect(await read(used.approval)).toMatchObject({ consent_of: asked.approval, used_by: used.approval });
    expect(await read(asked.approval)).toMatchObject({ used_by: used.approval });
    expect(await again.send(used)).toEqual(settled);
    expect((await again.ask({ text: command, more: { mode: "later" } })).answer["type"]).toBe("approval_opened");
  });

  test("not for another command, nor for another target", async () => {
    const first = await asking();
    const command = text();
    const { request: asked } = await first.ask({ text: command, more: { mode: "later" } });
    await vote("mira", asked);
    expect((await first.ask({ text: `${command} `, more: { mode: "later" } })).answer["type"]).toBe("approval_opened");
    const elsewhere = await asking();
    expect((await elsewhere.ask({ text: command, more: { mode: "later" } })).answer["type"]).toBe("approval_opened");
    expect((await read(asked.approval)).used_at).toBeUndefined();
  });

  test("of many that come at once exactly one has it", async () => {
    const at = await site();
    const first = await asking(at);
    const command = text();
    const { request: asked } = await first.ask({ text: command, more: { mode: "later" } });
    await vote("mira", asked);
    const rivals = await Promise.all(Array.from({ length: 12 }, () => first.request({ text: command, more: { mode: "later" } })));
    const opened = await Promise.all(
      rivals.map((rival) => objectOf(rival.approval).open(rival, { ...ASKER, site: at.agent.site, agent: at.agent.id })),
    );
    const consumed = opened.filter((each) => each.ok && each.consumed);
    expect(consumed).toHaveLength(1);
    expect(opened.filter((each) => each.ok && !each.consumed && each.outcome === null)).toHaveLength(11);
  });
});

describe("what is kept", () => {
  test("nothing is made for ids that do not exist", async () => {
    const { approval } = await request("ses_x", "db");
    expect(await objectOf(approval).read()).toBeNull();
    expect(await objectOf(approval).withdraw("x")).toBe(false);
    const tables = await runInDurableObject(objectOf(approval), (_, state) =>
      state.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'approval'").toArray(),
    );
    expect(tables).toEqual([]);
  });

  test("the index is told of an outcome though D1 fails at first", async () => {
    const asks = await asking();
    const { request: made } = await asks.ask();
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    await env.DB.prepare("ALTER TABLE approvals RENAME TO approvals_away").run();
    expect((await vote("mira", made)).status).toBe(200);
    await asks.heard(made.approval, "approval_settled");
    await env.DB.prepare("ALTER TABLE approvals_away RENAME TO approvals").run();
    await eventually(async () => {
      await runDurableObjectAlarm(objectOf(made.approval));
      return (await row(asks.id))?.state === "approved";
    }, "the index says approved");
  });

  test("an answer to a request that could not be indexed is a refusal, and nobody is asked", async () => {
    const asks = await asking();
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    await env.DB.prepare("ALTER TABLE approvals RENAME TO approvals_away").run();
    const { request: made, answer } = await asks.ask();
    await env.DB.prepare("ALTER TABLE approvals_away RENAME TO approvals").run();
    expect(answer).toMatchObject({ type: "approval_refused", code: "internal" });
    expect(await objectOf(made.approval).read()).toBeNull();
    expect(await findConsents(env.DB, { identity: "ci", target: asks.session.target, digest: made.digest, now: Date.now() })).toEqual([]);
  });
});
