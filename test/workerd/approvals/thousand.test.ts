/** A thousand approvals, each with votes for and against, a withdrawal and its expiry at once: each ends in exactly one outcome, everywhere the same. */
import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, expect, test, vi } from "vitest";
import type { Asker, Ballot } from "../../../durable-objects/approval/facts.ts";
import type { Approval, ApprovalRequest } from "../../../protocol/approval.ts";
import type { ApprovalRow } from "../../../protocol/api.ts";
import { listApprovals } from "../../../store/approvals.ts";
import { parseCursor, type Cursor, type Page } from "../../../store/page.ts";
import { FILES, prepareWorld, publish } from "../objects/world.ts";
import { eventually, objectOf, PEOPLE, read, request } from "./world.ts";

/** No channel is told: this is about votes. */
beforeAll(async () => {
  await prepareWorld();
  await publish({ ...FILES, ...PEOPLE }, 1);
});

const ALL = 1000;
const AT_ONCE = 50;
const ASKER: Asker = {
  identity: "ci",
  workload: { provider: "oidc", issuer: "https://issuer.test", subject: "job:ci" },
  site: "s",
  agent: "a",
  gateway: "https://gate.test",
  tell: "nobody",
};

const ballot = (name: string, vote: "approve" | "deny", digest: string): Ballot => ({
  voter: { kind: "account", name },
  door: "slack",
  vote,
  digest,
});

/** In an order of its own each time, with nothing waiting for anything. */
async function contend(made: ApprovalRequest, n: number): Promise<{ approved: number; denied: number }> {
  const object = objectOf(made.approval);
  const verdicts: { approved: number; denied: number } = { approved: 0, denied: 0 };
  const cast = async (name: string, vote: "approve" | "deny"): Promise<void> => {
    const verdict = await object.vote(ballot(name, vote, made.digest));
    if (verdict?.counted === true && verdict.state === "approved") verdicts.approved += 1;
    if (verdict?.counted === true && verdict.state === "denied") verdicts.denied += 1;
  };
  const acts = [
    () => cast("mira", "approve"),
    () => cast("noor", n % 3 === 0 ? "deny" : "approve"),
    // The same person by another door, or nobody's vote.
    ...(n % 4 === 0 ? [() => cast("mira", "deny"), () => cast("pia", "approve")] : []),
    ...(n % 2 === 0 ? [async () => void (await object.withdraw("the client left"))] : []),
  ];
  const shuffled = acts.map((act) => ({ act, at: Math.random() })).sort((one, other) => one.at - other.at);
  await Promise.all(shuffled.map(({ act }) => act()));
  return verdicts;
}

/** What comes later changes nothing, nor does an eviction; what waits for more votes still ends. */
async function again(approval: string, n: number): Promise<Approval> {
  await objectOf(approval).withdraw("again");
  if (n % 100 === 0) await evictDurableObject(objectOf(approval)).catch(() => undefined);
  return read(approval);
}

test("1,000 approvals end in exactly one outcome each", { timeout: 300_000 }, async () => {
  vi.spyOn(console, "log").mockImplementation(() => undefined);
  const seen = new Map<string, number>();
  const ended = new Map<string, string>();
  for (let from = 0; from < ALL; from += AT_ONCE) {
    await Promise.all(
      Array.from({ length: AT_ONCE }, async (_, index) => {
        const n = from + index;
        // Every fifth is open for so short a time that its votes race with the expiry.
        const made = await request(`ses_${n}`, "orders-db", {
          text: `SELECT ${n}`,
          more: { ttl: n % 5 === 0 ? 3 : 60_000, needs: [{ group: "dba", min: n % 7 === 0 ? 2 : 1 }] },
        });
        const opened = await objectOf(made.approval).open(made, { ...ASKER, identity: `ci-${n % 100}` });
        expect(opened).toMatchObject({ ok: true });
        const { approved, denied } = await contend(made, n);
        const first = await read(made.approval);
        // A vote that was told that it decided is the outcome; and only one was.
        expect(approved + denied).toBeLessThanOrEqual(1);
        if (approved === 1) expect(first.state).toBe("approved");
        if (denied === 1) expect(first.state).toBe("denied");
        if (first.state === "approved") {
          expect(approved).toBe(1);
          const consenting = first.votes.filter(({ vote, refused }) => vote === "approve" && refused === undefined);
          expect(new Set(consenting.map(({ voter }) => voter)).size).toBeGreaterThanOrEqual(first.needs[0]?.min ?? 9);
          expect(first.outcome?.at).toBeLessThan(first.expires_at);
        }
        const last = first.state === "pending" || n % 10 === 0 ? await again(made.approval, n) : first;
        if (first.outcome !== undefined) expect(last.outcome).toEqual(first.outcome);
        expect(last.state).not.toBe("pending");
        seen.set(last.state, (seen.get(last.state) ?? 0) + 1);
        ended.set(made.approval, last.state);
      }),
    );
  }
  expect([...seen.values()].reduce((sum, count) => sum + count, 0)).toBe(ALL);
  // The index agrees, row by row.
  await eventually(async () => {
    const rows: ApprovalRow[] = [];
    for (let cursor: Cursor | null = null; ;) {
      const page: Page<ApprovalRow> = await listApprovals(env.DB, {}, null, { limit: 200, cursor }, Date.now());
      rows.push(...page.rows);
      const next = page.cursor === null ? null : parseCursor(page.cursor);
      if (next === null || !next.ok) break;
      cursor = next.value;
    }
    return rows.length === ALL && rows.every(({ id, state }) => ended.get(id) === state);
  }, "the index agrees");
  // The test would show nothing if all of them ended alike.
  for (const state of ["approved", "denied", "withdrawn", "expired"]) expect(seen.get(state) ?? 0, state).toBeGreaterThan(10);
});
