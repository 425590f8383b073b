/** The API's door: who sees what, votes as oneself, and the page that a link leads to. */
import { env, exports } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { ApprovalRow } from "../../../protocol/api.ts";
import { Approval } from "../../../protocol/approval.ts";
import { expiredApprovals } from "../../../store/approvals.ts";
import { forget } from "../../../worker/forget.ts";
import { asking, auditOf, call, objectOf, ORIGIN, prepareApprovals, problem, read, vote } from "./world.ts";

beforeAll(() => prepareApprovals("api"));
afterEach(() => vi.restoreAllMocks());

const SECURITY = { more: { needs: [{ group: "security", min: 1 }] } };
const list = async (as: string, query = ""): Promise<ApprovalRow[]> =>
  (await (await call(as, "GET", `/v1/approvals${query}`)).json<{ rows: ApprovalRow[] }>()).rows;

describe("GW-24 who sees it", () => {
  test("members of a needed group, who may read all, and who asked; for others it does not exist", async () => {
    const { request: made } = await (await asking()).ask(SECURITY);
    const path = `/v1/approvals/${made.approval}`;
    for (const as of ["otis", "noor", "admin", "ci"]) {
      const response = await call(as, "GET", path);
      expect(response.status, as).toBe(200);
      expect(Approval.parse(await response.json()), as).toMatchObject({ ...made, identity: "ci" });
    }
    // Others: of another group, of none, an auditor (the whole shows what a recording masks), another job, nobody.
    for (const as of ["mira", "pia", "auditor", "stranger"]) expect((await call(as, "GET", path)).status, as).toBe(404);
    expect((await call(null, "GET", path)).status).toBe(401);
    const absent = await call("otis", "GET", `/v1/approvals/apr_${"0".repeat(26)}`);
    expect([absent.status, (await problem(absent)).code]).toEqual([404, "not_found"]);
    expect((await call("otis", "GET", "/v1/approvals/nonsense")).status).toBe(404);
  });

  test("who asked sees who decided, not who tried, nor which channels were told", async () => {
    const { request: made } = await (await asking()).ask(SECURITY);
    await vote("mira", made);
    await vote("otis", made, "deny", "no");
    const own = Approval.parse(await (await call("ci", "GET", `/v1/approvals/${made.approval}`)).json());
    expect(own.votes).toMatchObject([{ voter: "otis" }]);
    expect(own.notices).toEqual([]);
    expect(own.outcome).toMatchObject({ state: "denied", by: ["otis"], reason: "no" });
    expect((await read(made.approval)).votes).toHaveLength(2);
    const asked = Approval.parse(await (await call("otis", "GET", `/v1/approvals/${made.approval}`)).json());
    expect(asked.votes).toHaveLength(2);
    expect(asked.notices).toHaveLength(2);
  });

  test("lists: one's own, what one is asked, or all; filtered; without the command", async () => {
    const asks = await asking();
    const { request: forSecurity } = await asks.ask(SECURITY);
    const { request: forDba } = await asks.ask({ text: "ALTER TABLE secret_name ADD c int" });
    const query = `?session=${asks.id}`;
    const ids = async (as: string, more = "") => (await list(as, `${query}${more}`)).map(({ id }) => id);
    expect(await ids("ci")).toEqual([forDba.approval, forSecurity.approval]);
    expect(await ids("otis")).toEqual([forSecurity.approval]);
    expect(await ids("mira")).toEqual([forDba.approval]);
    expect(await ids("auditor")).toHaveLength(2);
    expect(await ids("admin")).toHaveLength(2);
    expect(await ids("pia")).toEqual([]);
    expect(await ids("stranger")).toEqual([]);
    await vote("mira", forDba);
    expect(await ids("ci", "&state=pending")).toEqual([forSecurity.approval]);
    expect(await ids("ci", "&state=approved")).toEqual([forDba.approval]);
    expect(JSON.stringify(await list("admin", query))).not.toContain("secret_name");
    expect((await call("ci", "GET", "/v1/approvals?stat=pending")).status).toBe(400);
    const first = await (await call("ci", "GET", `/v1/approvals${query}&limit=1`)).json<{ cursor: string; rows: ApprovalRow[] }>();
    expect(await ids("ci", `&limit=1&cursor=${first.cursor}`)).toEqual([forSecurity.approval]);
  });

  test("one whose time is over is expired in the list, before its object says so", async () => {
    const asks = await asking();
    const { request: made } = await asks.ask({ more: { ttl: 20 } });
    await env.DB.prepare("UPDATE approvals SET state = 'pending', ended_at = NULL, expires_at = 5 WHERE id = ?").bind(made.approval).run();
    expect(await list("ci", `?session=${asks.id}&state=expired`)).toMatchObject([{ id: made.approval, state: "expired", ended_at: 5 }]);
    expect(await list("ci", `?session=${asks.id}&state=pending`)).toEqual([]);
  });
});

describe("votes", () => {
  test("GW-11 the requester: 403, recorded, audited", async () => {
    const { request: made } = await (await asking()).ask();
    const refused = await vote("ci", made);
    expect(refused.status).toBe(403);
    expect(await problem(refused.clone())).toMatchObject({ code: "vote_refused", detail: "Whoever asks cannot consent." });
    expect(await auditOf(refused)).toBe(`vote on ${made.approval}: requester`);
    expect(await read(made.approval)).toMatchObject({ state: "pending", votes: [{ voter: "ci", door: "api", refused: "requester" }] });
  });

  test("no member, no human: it does not exist for them; recorded all the same", async () => {
    const { request: made } = await (await asking()).ask();
    for (const as of ["pia", "stranger", "auditor"]) expect((await vote(as, made)).status, as).toBe(404);
    expect((await vote("admin", made)).status).toBe(403);
    expect((await read(made.approval)).votes.map(({ refused }) => refused)).toEqual([
      "not_a_member",
      "not_human",
      "not_a_member",
      "not_a_member",
    ]);
  });

  test("twice, late, and for another command", async () => {
    const { request: made } = await (await asking()).ask({ more: { needs: [{ group: "dba", min: 2 }] } });
    expect((await vote("mira", { ...made, digest: "0".repeat(64) })).status).toBe(403);
    expect((await vote("mira", made)).status).toBe(200);
    expect(await problem(await vote("mira", made, "deny"))).toMatchObject({
      code: "vote_refused",
      detail: expect.stringContaining("first vote stands"),
    });
    expect(await (await vote("noor", made)).json()).toEqual({ approval: made.approval, state: "approved", needs: [] });
    expect(await problem(await vote("noor", made))).toMatchObject({ code: "approval_over" });
  });

  test("a vote without the digest of what was shown is no vote", async () => {
    const { request: made } = await (await asking()).ask();
    for (const body of [{ vote: "approve" }, { vote: "approve", digest: "short" }, { vote: "yes", digest: made.digest }, {}]) {
      expect((await call("mira", "POST", `/v1/approvals/${made.approval}/votes`, body)).status).toBe(400);
    }
    expect((await read(made.approval)).votes).toEqual([]);
  });

  test("a revoked human is refused at the door", async () => {
    const { request: made } = await (await asking()).ask();
    await env.IDENTITIES.getByName("mira").revoke("left", "admin");
    expect(await problem(await vote("mira", made))).toMatchObject({ code: "identity_revoked" });
    await env.IDENTITIES.getByName("mira").restore();
  });
});

describe("GW-09 the link", () => {
  const page = (path: string, init: RequestInit = {}): Promise<Response> => exports.default.fetch(new Request(`${ORIGIN}${path}`, init));

  test("following it changes nothing and tells nothing: the same page for every id", async () => {
    const { request: made } = await (await asking()).ask();
    const real = await page(`/approvals/${made.approval}`);
    expect(real.headers.get("content-type")).toContain("text/html");
    expect(real.headers.get("content-security-policy")).toContain("default-src 'none'");
    const text = await real.text();
    expect(text).toBe(await (await page(`/approvals/apr_${"0".repeat(26)}`)).text());
    expect(text).toBe(await (await page("/approvals/%3Cscript%3E")).text());
    expect(text).not.toMatch(/<form|<script|<a /);
    expect(await read(made.approval)).toMatchObject({ state: "pending", votes: [] });
  });

  test("no GET votes, and neither does a POST without a token", async () => {
    const { request: made } = await (await asking()).ask();
    const path = `/v1/approvals/${made.approval}/votes`;
    expect((await call("mira", "GET", `${path}?vote=approve&digest=${made.digest}`)).status).toBe(404);
    expect((await page(`/approvals/${made.approval}`, { method: "POST", body: "vote=approve" })).status).toBe(404);
    expect((await call(null, "POST", path, { vote: "approve", digest: made.digest })).status).toBe(401);
    expect((await page("/v1/chat/slack/actions")).status).toBe(404);
    expect((await page("/v1/chat/webhook/votes")).status).toBe(404);
    expect(await read(made.approval)).toMatchObject({ state: "pending", votes: [] });
  });
});

test("retention: an approval goes whole, object first, and the rest stays", async () => {
  const asks = await asking();
  const { request: old } = await asks.ask();
  const { request: young } = await asks.ask({ text: "SELECT 2" });
  await env.DB.prepare("UPDATE approvals SET requested_at = 1, expires_at = 2 WHERE id = ?").bind(old.approval).run();
  expect(await expiredApprovals(env.DB, 1000, 10)).toEqual([old.approval]);
  await forget(env, Date.now());
  expect(await objectOf(old.approval).read()).toBeNull();
  expect((await list("ci", `?session=${asks.id}`)).map(({ id }) => id)).toEqual([young.approval]);
  expect((await read(young.approval)).state).toBe("pending");
});
