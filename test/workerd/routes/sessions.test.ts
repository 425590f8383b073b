/** Lists, search and lookups: who sees what (GW-24), filters, paging, and what user text cannot do (GW-22). */
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import type { CommandRow, IdentityRow, RefusalRow, SessionRow } from "../../../protocol/api.ts";
import { readSession } from "../../../store/sessions.ts";
import { addSession, enrol, newSessionId, startGateway, type Gateway, type TestAgent } from "./gateway.ts";
import { RecordingWriter } from "./recording.ts";

let gateway: Gateway;
let agent: TestAgent;
let orders: string;
let billing: string;

type Page<T> = { rows: T[]; cursor: string | null };
const ids = (page: Page<SessionRow>): string[] => page.rows.map((row) => row.id);
const texts = (page: Page<CommandRow>): string[] => page.rows.map((row) => row.text);
const sessions = (query = "", as = "auditor") => gateway.ok<Page<SessionRow>>("GET", `/v1/sessions${query}`, { as });
const commands = (query = "", as = "auditor") => gateway.ok<Page<CommandRow>>("GET", `/v1/commands${query}`, { as });

async function record(session: string, identity: string, write: (log: RecordingWriter) => Promise<string>): Promise<void> {
  const log = new RecordingWriter({ session, agent: agent.id, key: agent.privateKey, identity, target: `${identity}-db` });
  const body = (await log.start()) + (await write(log));
  const headers = { "content-type": "application/x-ndjson" };
  await gateway.ok("PUT", `/v1/agent/sessions/${session}/segments/0`, { as: await agent.authorization(), body, headers });
}

beforeAll(async () => {
  gateway = await startGateway();
  agent = await enrol(gateway, "north");
  const workload = { provider: "github", issuer: "https://issuer.test", subject: "s" } as const;
  orders = await addSession({ started_at: 1000, workload: { ...workload, pipeline: "shop / deploy", run_id: "77", job_id: "7" } });
  billing = await addSession({ started_at: 2000, identity: "billing", target: "billing-db", workload: { ...workload, run_id: "88" } });
  await record(orders, "orders", async (log) => {
    const dropped = { decision: "deny", at: 1900, effects: [{ action: "pg:drop", resource: "orders-db/public.orders" }] };
    return (
      (await log.command("SELECT total FROM public.order_items", { at: 1500 })) + (await log.command("DROP TABLE order_items", dropped))
    );
  });
  await record(billing, "billing", async (log) => {
    const evil = 'select \'a"b\' /* \n{"type":"command"} \u202e \u001b[31m */ AND OR NOT NEAR';
    return (await log.command("select total from bills", { at: 2500 })) + (await log.command(evil, { at: 2600 }));
  });
});

describe("sessions", () => {
  it("one sees one's own, and everybody's with session:read", async () => {
    expect(ids(await sessions())).toEqual([billing, orders]);
    expect(ids(await sessions("", "orders"))).toEqual([orders]);
    expect(ids(await sessions("?identity=billing", "orders"))).toEqual([]);
    expect(ids(await sessions("?identity=orders", "orders"))).toEqual([orders]);
  });

  it("another's id, and whatever is under it, answers like none at all (GW-24)", async () => {
    for (const path of ["", "/commands", "/recording", "/keys"]) {
      const mine = await gateway.fetch("GET", `/v1/sessions/${orders}${path}`, { as: "orders" });
      expect(mine.status).toBe(200);
      await mine.arrayBuffer();
      const theirs = await gateway.refused("GET", `/v1/sessions/${billing}${path}`, { as: "orders" });
      const nobodys = await gateway.refused("GET", `/v1/sessions/${newSessionId()}${path}`, { as: "orders" });
      expect({ ...theirs, ref: "" }).toEqual({ ...nobodys, ref: "" });
      expect(theirs).toMatchObject({ status: 404, code: "not_found" });
      expect(await gateway.refused("GET", `/v1/sessions/${orders}${path}`)).toMatchObject({ status: 401, code: "token_missing" });
    }
  });

  it("are filtered", async () => {
    const workload = [`pipeline=${encodeURIComponent("shop / deploy")}`, "run=77", "job=7"];
    const found = [
      ...workload,
      "target=orders-db",
      "identity=orders",
      "decision=deny",
      "action=pg:drop",
      "action=pg:drop&decision=deny",
      "until=2000",
    ];
    for (const query of found) expect(ids(await sessions(`?${query}`)), query).toEqual([orders]);
    for (const query of ["run=78", "action=pg:drop&decision=allow", "since=2001", "state=active", "site=south"]) {
      expect(ids(await sessions(`?${query}`)), query).toEqual([]);
    }
    expect(ids(await sessions("?since=1970-01-01T00:00:02Z"))).toEqual([billing]);
    expect(ids(await sessions("?action=pg:select&state=opening&site=north"))).toEqual([billing, orders]);
  });

  it("a misspelt, repeated or malformed filter is refused rather than ignored", async () => {
    for (const query of [
      "identitty=orders",
      "run=1&run=2",
      "since=yesterday",
      "limit=0",
      "limit=201",
      "limit=x",
      "cursor=x",
      "decision=maybe",
      "run=",
    ]) {
      expect((await gateway.refused("GET", `/v1/sessions?${query}`, { as: "auditor" })).code, query).toBe("bad_request");
    }
  });

  it("are paged without losing or repeating any, though new ones arrive", async () => {
    const made: string[] = [];
    for (let n = 0; n < 7; n++) made.push(await addSession({ identity: "paged", started_at: 5000 + Math.floor(n / 3) }));
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page: Page<SessionRow> = await sessions(`?identity=paged&limit=2${cursor === null ? "" : `&cursor=${cursor}`}`);
      seen.push(...ids(page));
      if (cursor === null) await addSession({ identity: "paged", started_at: 9000 });
      cursor = page.cursor;
    } while (cursor !== null);
    expect(seen.toSorted()).toEqual(made.toSorted());
  });
});

describe("commands", () => {
  it("are everybody's to session:read only; history is one's own", async () => {
    expect((await gateway.refused("GET", "/v1/commands", { as: "orders" })).code).toBe("denied");
    const history = await gateway.ok<Page<CommandRow>>("GET", "/v1/history", { as: "orders" });
    expect(texts(history)).toEqual(["DROP TABLE order_items", "SELECT total FROM public.order_items"]);
    expect((await gateway.refused("GET", "/v1/history?identity=billing", { as: "orders" })).code).toBe("bad_request");
    expect(texts(await gateway.ok("GET", `/v1/history?session=${billing}`, { as: "orders" }))).toEqual([]);
  });

  it("are found by words, in any case, by their beginnings, all of them", async () => {
    const find = async (q: string): Promise<number> => (await commands(`?q=${encodeURIComponent(q)}`)).rows.length;
    expect(await find("TOTAL")).toBe(2);
    expect(await find("total bills")).toBe(1);
    expect(await find("tot")).toBe(2);
    expect(await find("order_items")).toBe(2);
    expect(await find("public.order_items")).toBe(1);
    expect(await find("otal")).toBe(0);
    expect(texts(await commands("?q=total&identity=orders&decision=allow"))).toEqual(["SELECT total FROM public.order_items"]);
  });

  it("search operators are words, whatever is typed", async () => {
    // As FTS5 syntax these would be errors, other columns, or everything.
    for (const q of [
      'total" OR "drop',
      "text:total",
      "total NOT bills",
      "NEAR(total drop)",
      "total AND",
      '"',
      "a* OR b",
      "-total ^drop",
      "' OR 1=1 --",
      "drop)",
    ]) {
      const response = await gateway.fetch("GET", `/v1/commands?q=${encodeURIComponent(q)}`, { as: "auditor" });
      expect([200, 400], q).toContain(response.status);
      if (response.status === 200) expect((await response.json<Page<CommandRow>>()).rows.length, q).toBeLessThanOrEqual(1);
    }
    expect(texts(await commands(`?q=${encodeURIComponent("NOT NEAR")}`))).toHaveLength(1);
    expect((await gateway.refused("GET", `/v1/commands?q=${"x".repeat(600)}`, { as: "auditor" })).code).toBe("bad_request");
  });

  it("are filtered by action, time and workload", async () => {
    expect(texts(await commands("?action=pg:drop"))).toEqual(["DROP TABLE order_items"]);
    expect(texts(await commands("?run=77&until=1900"))).toEqual(["SELECT total FROM public.order_items"]);
    expect(texts(await commands("?target=billing-db&since=2600"))).toHaveLength(1);
    expect((await commands("?job=7")).rows).toMatchObject([{ pipeline: "shop / deploy", run_id: "77", job_id: "7" }, {}]);
    const { cursor } = await commands("?limit=3");
    expect((await commands(`?limit=3&cursor=${cursor}`)).rows).toHaveLength(1);
  });

  it("hostile text stays one record, escaped (GW-22)", async () => {
    const response = await gateway.fetch("GET", "/v1/commands?since=2600", { as: "auditor" });
    const body = await response.text();
    expect(body).not.toMatch(/[\n\u001b]/);
    expect((JSON.parse(body) as Page<CommandRow>).rows).toHaveLength(1);
  });
});

describe("kill", () => {
  it("needs session:kill, and a session that exists", async () => {
    expect((await gateway.refused("POST", `/v1/sessions/${orders}/kill`, { as: "orders" })).code).toBe("denied");
    expect((await gateway.refused("POST", `/v1/sessions/${orders}/kill`, { as: "auditor" })).code).toBe("denied");
    expect((await gateway.refused("POST", `/v1/sessions/${newSessionId()}/kill`, { as: "admin" })).status).toBe(404);
  });

  it("ends a live session with the reason given; a second time it was over", async () => {
    const id = await addSession();
    const row = await readSession(env.DB, id);
    if (row === null) throw new Error("the session was not stored");
    const now = Date.now();
    await env.SESSIONS.getByName(id).open({
      ...row,
      id,
      startedAt: now,
      deadline: now + 60_000,
      policies: [],
      approvals: [],
      hold: "wait",
    });
    const kill = () => gateway.ok("POST", `/v1/sessions/${id}/kill`, { as: "admin", json: { reason: "wrong branch" } });
    expect(await kill()).toEqual({ session: id, ended: true });
    expect(await kill()).toEqual({ session: id, ended: false });
    await expect
      .poll(() => gateway.ok("GET", `/v1/sessions/${id}`, { as: "orders" }))
      .toMatchObject({ state: "ended", end_code: "session_killed", end_message: "wrong branch" });
  });
});

describe("identities", () => {
  it("are listed with their state, revoked and restored by who may", async () => {
    const list = () => gateway.ok<Page<IdentityRow>>("GET", "/v1/identities", { as: "auditor" });
    expect((await list()).rows.map((row) => row.name)).toEqual(["admin", "auditor", "billing", "orders"]);
    expect((await gateway.refused("GET", "/v1/identities", { as: "orders" })).code).toBe("denied");
    expect((await gateway.refused("POST", "/v1/identities/orders/revoke", { as: "auditor" })).code).toBe("denied");

    const revoked = await gateway.ok<{ revoked_at: number }>("POST", "/v1/identities/orders/revoke", {
      as: "admin",
      json: { reason: "leaked" },
    });
    expect(revoked).toMatchObject({ identity: "orders", sessions_ended: [] });
    expect((await list()).rows.find((row) => row.name === "orders")).toMatchObject({ revoked_at: revoked.revoked_at });
    expect(await gateway.refused("GET", "/v1/history", { as: "orders" })).toMatchObject({ status: 403, code: "identity_revoked" });
    await gateway.ok("POST", "/v1/identities/orders/restore", { as: "admin" });
    await gateway.ok("GET", "/v1/history", { as: "orders" });
  });

  it("cannot revoke themselves, nor a name that nobody ever had", async () => {
    expect(await gateway.refused("POST", "/v1/identities/admin/revoke", { as: "admin" })).toMatchObject({ status: 409 });
    expect((await gateway.refused("POST", "/v1/identities/ordres/revoke", { as: "admin" })).status).toBe(404);
    // Gone from the bundle, but it had sessions: it can still be revoked.
    expect(await gateway.ok("POST", "/v1/identities/paged/revoke", { as: "admin" })).toMatchObject({ identity: "paged" });
  });

  it("are paged by name", async () => {
    const first = await gateway.ok<Page<IdentityRow>>("GET", "/v1/identities?limit=3", { as: "auditor" });
    const rest = await gateway.ok<Page<IdentityRow>>("GET", `/v1/identities?limit=3&cursor=${first.cursor}`, { as: "auditor" });
    expect([...first.rows, ...rest.rows].map((row) => row.name)).toEqual(["admin", "auditor", "billing", "orders"]);
    expect(rest.cursor).toBeNull();
  });
});

describe("refusals", () => {
  it("are listed with their reason to session:read, found by the reference that the client got", async () => {
    const { ref } = await gateway.refused("GET", `/v1/sessions/${billing}`, { as: "orders" });
    const { rows } = await gateway.ok<Page<RefusalRow>>("GET", `/v1/refusals?ref=${ref}`, { as: "auditor" });
    expect(rows).toMatchObject([
      { ref, code: "not_found", identity: "orders", reason: `session ${billing} is of billing`, path: `/v1/sessions/${billing}` },
    ]);
    expect((await gateway.refused("GET", "/v1/refusals", { as: "orders" })).code).toBe("denied");
  });
});
