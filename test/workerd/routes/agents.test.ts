/** Agents through the API: enrolment once (GW-14), bundles pushed to live control sockets, revocation at once (GW-15). */
import { env, exports } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { EdgeToAgent, type TargetAnnouncement } from "../../../protocol/agent-control.ts";
import type { AgentRow, BundlePushAnswer, TargetRow } from "../../../protocol/api.ts";
import { bundleFiles, enrol, enrolBody, newKey, ORIGIN, startGateway, type Gateway, type TestAgent } from "./gateway.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway();
});

/** A real control socket, greeted; `next` waits for a message of that type. */
async function dial(agent: TestAgent, targets: TargetAnnouncement[]) {
  const response = await exports.default.fetch(`${ORIGIN}/v1/agent/control`, {
    headers: { upgrade: "websocket", authorization: await agent.authorization() },
  });
  const socket = response.webSocket;
  if (socket === null) throw new Error(`no socket: ${response.status} ${await response.text()}`);
  const seen: EdgeToAgent[] = [];
  let wake = (): void => undefined;
  const closed = new Promise<number>((resolve) => socket.addEventListener("close", (event) => resolve(event.code)));
  socket.addEventListener("message", (event) => {
    seen.push(EdgeToAgent.parse(JSON.parse(event.data as string)));
    wake();
  });
  socket.accept();
  socket.send(JSON.stringify({ type: "hello", version: "1.2.3", targets, bundle: 0, sessions: [] }));
  const next = async <T extends EdgeToAgent["type"]>(type: T, from = 0): Promise<Extract<EdgeToAgent, { type: T }>> => {
    for (;;) {
      const found = seen.slice(from).find((message) => message.type === type);
      if (found !== undefined) return found as Extract<EdgeToAgent, { type: T }>;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  return { next, closed, count: () => seen.length };
}

const postgres = (name: string): TargetAnnouncement => ({ name, protocol: "postgres", labels: [] });

describe("enrolment", () => {
  it("needs the right to, and valid names", async () => {
    const tokens = "/v1/agents/enrolment-tokens";
    expect((await gateway.refused("POST", tokens, { as: "orders", json: { site: "north" } })).code).toBe("denied");
    expect((await gateway.refused("POST", tokens, { as: "auditor", json: { site: "north" } })).code).toBe("denied");
    expect((await gateway.refused("POST", tokens, { as: "admin", json: { site: "North!" } })).code).toBe("bad_request");
    expect((await gateway.refused("POST", tokens, { as: "admin", json: { site: "n", targets: ["a b"] } })).code).toBe("bad_request");
    expect((await gateway.refused("POST", tokens, { as: "admin", json: { site: "n", ttl_s: 5 } })).code).toBe("bad_request");
  });

  it("uses its token up, keeps only its hash, and takes no other key", async () => {
    const { token } = await gateway.ok<{ token: string }>("POST", "/v1/agents/enrolment-tokens", { as: "admin", json: { site: "north" } });
    const [one, two] = [await newKey(), await newKey()];
    const bad = await gateway.refused("POST", "/v1/agents/enrol", { json: enrolBody(token, "A".repeat(42) + "!") });
    expect(bad.code).toBe("bad_request");
    await gateway.ok("POST", "/v1/agents/enrol", { json: enrolBody(token, one.x) });
    expect(await gateway.refused("POST", "/v1/agents/enrol", { json: enrolBody(token, two.x) })).toMatchObject({
      status: 401,
      code: "enrolment_invalid",
    });
    const stored = await env.DB.prepare("SELECT * FROM enrolment_tokens").all();
    expect(JSON.stringify(stored.results)).not.toContain(token);
    // The reason is the operator's to see, not the peer's.
    const { rows } = await gateway.ok<{ rows: { reason: string }[] }>("GET", "/v1/refusals?code=enrolment_invalid", { as: "auditor" });
    expect(rows[0]?.reason).toBe("enrolment of agent-1: token already used");
    expect(JSON.stringify(rows)).not.toContain(token);
  });
});

describe("a connected agent", () => {
  it("is listed online with its targets, gets each bundle at once, and is off at once when revoked", async () => {
    const agent = await enrol(gateway, "south", ["orders-db", "billing-db"]);
    const socket = await dial(agent, [postgres("orders-db"), postgres("billing-db")]);
    const first = await socket.next("bundle");
    expect(first.version).toBe(1);

    await expect
      .poll(async () => (await gateway.ok<{ rows: TargetRow[] }>("GET", "/v1/targets", { as: "orders" })).rows)
      .toMatchObject([{ name: "orders-db", site: "south", online: true, connect: "allow" }]);
    const { rows } = await gateway.ok<{ rows: AgentRow[] }>("GET", "/v1/agents", { as: "auditor" });
    expect(rows.find((row) => row.id === agent.id)).toMatchObject({
      online: true,
      site: "south",
      public_key: agent.x,
      version: "1.2.3",
      targets: [{ name: "billing-db" }, { name: "orders-db" }],
    });
    // Who may read agents sees all targets, also those it may not use.
    expect(
      (await gateway.ok<{ rows: TargetRow[] }>("GET", "/v1/targets", { as: "auditor" })).rows.map((row) => [row.name, row.connect]),
    ).toEqual([
      ["billing-db", "deny"],
      ["orders-db", "deny"],
    ]);

    // Pages.
    const pages: string[] = [];
    for (const list of ["targets", "agents"]) {
      let cursor: string | null = null;
      do {
        const query: string = `limit=1${cursor === null ? "" : `&cursor=${cursor}`}`;
        const page: { rows: { name: string }[]; cursor: string | null } = await gateway.ok("GET", `/v1/${list}?${query}`, {
          as: "auditor",
        });
        pages.push(`${list} ${page.rows.map((row) => row.name).join()}`);
        cursor = page.cursor;
      } while (cursor !== null);
    }
    expect(pages).toEqual(["targets billing-db", "targets orders-db", "agents agent-1", "agents agent-1"]);

    const from = socket.count();
    const files = bundleFiles(gateway.issuer, {
      "policies/extra.cedar": '@id("x")\nforbid (principal, action == Action::"pg:drop", resource);\n',
    });
    const pushed = await gateway.ok<BundlePushAnswer>("POST", "/v1/bundles", { as: "admin", json: { files } });
    expect(pushed.sites).toContainEqual({ site: "south", delivered: true });
    expect(await socket.next("bundle", from)).toMatchObject({ version: pushed.version, digest: pushed.digest, files });

    expect((await gateway.refused("DELETE", `/v1/agents/${agent.id}`, { as: "auditor" })).code).toBe("denied");
    expect((await gateway.fetch("DELETE", `/v1/agents/${agent.id}`, { as: "admin" })).status).toBe(204);
    expect(await socket.next("bye")).toMatchObject({ code: "agent_unknown" });
    await socket.closed;
    const again = await gateway.refused("GET", "/v1/agent/control", { as: await agent.authorization(), headers: { upgrade: "websocket" } });
    expect(again).toMatchObject({ status: 401, code: "agent_unknown" });
    expect((await gateway.ok<{ rows: TargetRow[] }>("GET", "/v1/targets", { as: "orders" })).rows).toEqual([]);
    expect((await gateway.fetch("DELETE", `/v1/agents/${agent.id}`, { as: "admin" })).status).toBe(204);
    expect((await gateway.refused("DELETE", "/v1/agents/agt_nobody", { as: "admin" })).status).toBe(404);
  });

  it("cannot announce another site's target (GW-14)", async () => {
    const [ours, theirs] = [await enrol(gateway, "east"), await enrol(gateway, "west")];
    const one = await dial(ours, [postgres("orders-db")]);
    await one.next("bundle");
    const shown = async (): Promise<unknown> => (await gateway.ok<{ rows: TargetRow[] }>("GET", "/v1/targets", { as: "orders" })).rows;
    await expect.poll(shown).toMatchObject([{ name: "orders-db", site: "east" }]);
    const two = await dial(theirs, [postgres("orders-db")]);
    await two.next("bundle");
    expect(await shown()).toMatchObject([{ name: "orders-db", site: "east" }]);
  });
});

describe("can", () => {
  it("tells of a missing target only who might use it", async () => {
    const missing = { json: { target: "billing-db" } };
    expect((await gateway.ok<{ rows: TargetRow[] }>("GET", "/v1/targets", { as: "auditor" })).rows.map((row) => row.name)).toEqual([
      "orders-db",
    ]);
    expect(await gateway.refused("POST", "/v1/can", { as: "billing", ...missing })).toMatchObject({ status: 404, code: "target_unknown" });
    expect(await gateway.ok("POST", "/v1/can", { as: "orders", ...missing })).toMatchObject({ outcome: "deny" });
  });

  it("answers by the policy that decides", async () => {
    const ask = (json: object, as = "orders") => gateway.ok<{ outcome: string }>("POST", "/v1/can", { as, json });
    expect(await ask({ target: "orders-db" })).toMatchObject({ outcome: "allow", action: "connect", resource: "orders-db" });
    expect(await ask({ target: "orders-db" }, "billing")).toMatchObject({ outcome: "deny" });
    const select = { target: "orders-db", action: "pg:select" };
    expect(await ask({ ...select, resource: "public.orders" })).toMatchObject({ outcome: "allow", resource: "orders-db/public.orders" });
    expect(await ask({ ...select, resource: "public.people" })).toMatchObject({ outcome: "deny" });
    expect(await ask({ target: "orders-db", action: "unmask", resource: "[email]" })).toMatchObject({
      outcome: "deny",
      resource: "orders-db/[email]",
    });
    expect(await ask({ target: "gateway", action: "session:read" }, "auditor")).toMatchObject({ outcome: "allow", resource: "gateway" });
    expect(await ask({ target: "gateway", action: "session:read" })).toMatchObject({ outcome: "deny" });
  });

  it("says what is wrong with a question", async () => {
    const ask = (json: object) => gateway.refused("POST", "/v1/can", { as: "orders", json });
    expect(await ask({ target: "orders-db", action: "pg:fly" })).toMatchObject({ code: "bad_request" });
    expect(await ask({ target: "orders-db", action: "pg:select" })).toMatchObject({
      code: "bad_request",
      detail: "pg:select is asked of table, not of target.",
    });
    expect(await ask({ target: "orders-db", action: "unmask", resource: "public.orders" })).toMatchObject({
      detail: "unmask is asked of class, not of table.",
    });
    expect(await ask({})).toMatchObject({ code: "bad_request" });
  });
});
