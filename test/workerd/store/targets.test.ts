/** Sites, agents, enrolment and targets in real D1. */
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { findAgent, listAgents, listSites, revokeAgent, touchAgent } from "../../../store/agents.ts";
import { enrolAgent, insertEnrolmentToken } from "../../../store/enrolment.ts";
import { claimTargets, findTarget, listTargets } from "../../../store/targets.ts";
import type { TargetAnnouncement } from "../../../protocol/agent-control.ts";

const postgres = (name: string, more: Partial<TargetAnnouncement> = {}): TargetAnnouncement => ({
  name,
  protocol: "postgres",
  labels: [],
  ...more,
});

let count = 0;
async function enrolled(site: string, targets: string[] | null = null): Promise<string> {
  const n = count++;
  const agent = `agt_${String(n).padStart(26, "0")}`;
  const token = { hash: `hash-${n}`, site, targets, created_at: 1, created_by: "ann", expires_at: 1000 };
  await insertEnrolmentToken(env.DB, token);
  const result = await enrolAgent(env.DB, { hash: token.hash, agent, name: `${site}-${n}`, public_key: `key-${n}`, now: 10 });
  expect(result.ok).toBe(true);
  return agent;
}

describe("enrolment", () => {
  it("uses a token up: a second use makes no agent", async () => {
    await insertEnrolmentToken(env.DB, { hash: "once", site: "s1", targets: ["a"], created_at: 1, created_by: "ann", expires_at: 1000 });
    const first = await enrolAgent(env.DB, { hash: "once", agent: "agt_first", name: "one", public_key: "k-first", now: 10 });
    const second = await enrolAgent(env.DB, { hash: "once", agent: "agt_second", name: "two", public_key: "k-second", now: 11 });
    expect(first).toMatchObject({ ok: true, value: { id: "agt_first", site: "s1", targets: ["a"], revoked_at: null } });
    expect(second).toEqual({ ok: false, error: "token already used" });
    expect(await findAgent(env.DB, "agt_second")).toBeNull();
  });

  it("of many at once, exactly one gets the agent", async () => {
    await insertEnrolmentToken(env.DB, { hash: "race", site: "s1", targets: null, created_at: 1, created_by: "ann", expires_at: 1000 });
    const tries = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        enrolAgent(env.DB, { hash: "race", agent: `agt_race_${n}`, name: "r", public_key: `k-race-${n}`, now: 10 }),
      ),
    );
    expect(tries.filter((result) => result.ok)).toHaveLength(1);
  });

  it("refuses expired and unknown tokens, and a key that is enrolled already, without using the token up", async () => {
    await insertEnrolmentToken(env.DB, { hash: "late", site: "s1", targets: null, created_at: 1, created_by: "ann", expires_at: 1000 });
    const use = (hash: string, public_key: string, now: number) =>
      enrolAgent(env.DB, { hash, agent: `agt_${hash}_${now}`, name: "x", public_key, now });
    expect(await use("nothing", "k-n", 10)).toEqual({ ok: false, error: "unknown token" });
    expect(await use("late", "k-l", 1000)).toEqual({ ok: false, error: "token expired" });
    expect(await use("late", "k-first", 10)).toEqual({ ok: false, error: "key already enrolled" });
    expect(await use("late", "k-l", 999)).toMatchObject({ ok: true });
  });
});

describe("targets", () => {
  it("belong to the site that announced them first (GW-14)", async () => {
    const [ours, theirs] = [await enrolled("north"), await enrolled("south")];
    expect(await claimTargets(env.DB, "north", ours, [postgres("orders-db", { environment: "prod" })], 20)).toMatchObject({ refused: [] });
    const claim = await claimTargets(env.DB, "south", theirs, [postgres("orders-db"), postgres("other-db")], 21);
    expect(claim.accepted.map((target) => target.name)).toEqual(["other-db"]);
    expect(claim.refused).toEqual([{ name: "orders-db", reason: "the name belongs to another site" }]);
    expect(await findTarget(env.DB, "orders-db")).toMatchObject({ site: "north", agent: ours, announcement: { environment: "prod" } });
  });

  it("outside the enrolment's list are refused (GW-14)", async () => {
    const bound = await enrolled("west", ["w1"]);
    const claim = await claimTargets(env.DB, "west", bound, [postgres("w1"), postgres("w2"), postgres("w1")], 20);
    expect(claim.accepted.map((target) => target.name)).toEqual(["w1"]);
    expect(claim.refused.map(({ name, reason }) => [name, reason])).toEqual([
      ["w2", "the agent's enrolment does not include this target"],
      ["w1", "announced twice"],
    ]);
    expect(await findTarget(env.DB, "w2")).toBeNull();
  });

  it("stay while a replica announces them, and are free once none does", async () => {
    const [one, two, other] = [await enrolled("east"), await enrolled("east"), await enrolled("far")];
    await claimTargets(env.DB, "east", one, [postgres("e1")], 20);
    await claimTargets(env.DB, "east", two, [postgres("e1", { database: "shop" })], 21);
    expect(await findTarget(env.DB, "e1")).toMatchObject({ agent: two, announcement: { database: "shop" } });
    await claimTargets(env.DB, "east", one, [], 22);
    expect((await claimTargets(env.DB, "far", other, [postgres("e1")], 23)).refused).toHaveLength(1);
    await claimTargets(env.DB, "east", two, [], 24);
    expect((await claimTargets(env.DB, "far", other, [postgres("e1")], 25)).accepted).toHaveLength(1);
    expect((await listTargets(env.DB)).find((target) => target.announcement.name === "e1")?.site).toBe("far");
  });

  it("of a revoked agent are released, and it cannot claim again", async () => {
    const gone = await enrolled("old");
    await claimTargets(env.DB, "old", gone, [postgres("o1")], 20);
    expect(await listSites(env.DB)).toContain("old");
    expect(await revokeAgent(env.DB, gone, 30)).toMatchObject({ revoked_at: 30 });
    expect(await revokeAgent(env.DB, gone, 31)).toMatchObject({ revoked_at: 30 });
    expect(await findTarget(env.DB, "o1")).toBeNull();
    expect((await claimTargets(env.DB, "old", gone, [postgres("o1")], 32)).accepted).toEqual([]);
    expect(await listSites(env.DB)).not.toContain("old");
    expect(await revokeAgent(env.DB, "agt_nobody", 1)).toBeNull();
  });

  it("take 500 names in one announcement", async () => {
    const many = await enrolled("big");
    const names = Array.from({ length: 500 }, (_, n) =>
      postgres(`big-${n}`, { labels: Array.from({ length: 32 }, (_, l) => `label-${l}`) }),
    );
    expect((await claimTargets(env.DB, "big", many, names, 20)).accepted).toHaveLength(500);
  });
});

describe("agents", () => {
  let agent = "";
  beforeAll(async () => {
    agent = await enrolled("list");
    await claimTargets(env.DB, "list", agent, [postgres("l1"), postgres("l2")], 20);
  });

  it("remember the newest sighting", async () => {
    await touchAgent(env.DB, agent, { version: "1.0", bundle: 2, at: 50 });
    await touchAgent(env.DB, agent, { version: "1.1", bundle: 3, at: 40 });
    expect(await findAgent(env.DB, agent)).toMatchObject({ version: "1.1", bundle: 3, last_seen_at: 50 });
  });

  it("are listed with what they announce", async () => {
    const row = (await listAgents(env.DB)).find((candidate) => candidate.id === agent);
    expect(row?.announced.map((target) => target.name).sort()).toEqual(["l1", "l2"]);
  });
});
