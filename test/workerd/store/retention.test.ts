/** Forgetting: what is old goes as a whole, what is not stays, and a recording that R2 keeps keeps its session. */
import { createScheduledController } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, expect, it } from "vitest";
import { indexStatements, listCommands, searchExpression } from "../../../store/commands.ts";
import { putSegment } from "../../../store/recordings.ts";
import { insertRefusal } from "../../../store/refusals.ts";
import { expire } from "../../../store/retention.ts";
import { insertSession, markSessionEnded, readSession } from "../../../store/sessions.ts";
import worker from "../../../worker/index.ts";

const hash = "0".repeat(64);
const names = ["ses_old", "ses_new", "ses_live", "ses_stuck"];
const keys = async (): Promise<string[]> => (await env.RECORDINGS.list()).objects.map((object) => object.key.split("/")[1] ?? "");
const found = async (word: string): Promise<number> => {
  const match = searchExpression(word);
  return match.ok ? (await listCommands(env.DB, { match: match.value }, { limit: 200, cursor: null })).rows.length : -1;
};

async function session(id: string, started_at: number, ended_at: number | null, deadline: number): Promise<void> {
  const workload = { provider: "oidc", issuer: "i", subject: "s" } as const;
  await insertSession(env.DB, {
    id,
    identity: "ci",
    target: "db",
    protocol: "postgres",
    site: "n",
    started_at,
    deadline,
    bundle: 1,
    workload,
  });
  if (ended_at !== null) await markSessionEnded(env.DB, id, "session_closed", "", ended_at);
  const bytes = new TextEncoder().encode(id);
  await putSegment(env.RECORDINGS, id, 0, bytes, await crypto.subtle.digest("SHA-256", bytes));
  const common = {
    v: 1,
    session: id,
    prev: hash,
    hash,
    at: started_at,
    stream: 1,
    via: "simple",
    digest: hash,
    policies: [],
    bundle: 1,
  } as const;
  const events = Array.from({ length: 3 }, (_, n) => {
    const effects = [{ action: "pg:select", resource: "db/public.t" }];
    return {
      ...common,
      type: "command" as const,
      seq: n,
      command: n,
      text: `select ${id.slice(4)}`,
      effects,
      policies: [],
      decision: "allow" as const,
    };
  });
  await env.DB.batch(indexStatements(env.DB, id, { commands: events, outcomes: [] }));
}

beforeEach(async () => {
  await env.DB.batch(["commands", "sessions", "refusals"].map((table) => env.DB.prepare(`DELETE FROM ${table}`)));
  for (const key of (await env.RECORDINGS.list()).objects) await env.RECORDINGS.delete(key.key);
  await session("ses_old", 100, 900, 5000);
  await session("ses_new", 200, 1000, 5000);
  await session("ses_live", 300, null, 5000);
  await session("ses_stuck", 400, null, 999);
  for (const at of [900, 1000]) {
    await insertRefusal(env.DB, { ref: `ref_${at}`, at, code: "denied", reason: "r", method: "GET", path: "/" });
  }
});

it("forgets old sessions, their recordings and index, and old refusals; nothing else", async () => {
  expect(await expire(env.DB, env.RECORDINGS, 1000)).toEqual({ sessions: 2, refusals: 1, kept: [] });
  const left = await Promise.all(names.map(async (id) => (await readSession(env.DB, id)) !== null));
  expect(left).toEqual([false, true, true, false]);
  expect(await keys()).toEqual(["ses_live", "ses_new"]);
  expect([await found("old"), await found("new"), await found("stuck")]).toEqual([0, 3, 0]);
  const actions = await env.DB.prepare("SELECT COUNT(*) AS n FROM command_actions").first<{ n: number }>();
  expect(actions?.n).toBe(6);
  expect(await expire(env.DB, env.RECORDINGS, 1000)).toEqual({ sessions: 0, refusals: 0, kept: [] });
});

it("a recording that R2 does not let go keeps its session and index", async () => {
  // What a bucket lock does; it cannot be had locally.
  const locked = new Proxy(env.RECORDINGS, {
    get: (bucket, property) => {
      if (property === "delete") return () => Promise.reject(new Error("locked"));
      const value: unknown = Reflect.get(bucket, property);
      return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(bucket) : value;
    },
  });
  const { sessions, kept } = await expire(env.DB, locked, 1000);
  expect([sessions, kept.map((each) => each.session)]).toEqual([0, ["ses_old", "ses_stuck"]]);
  expect(await readSession(env.DB, "ses_old")).not.toBeNull();
  expect(await found("old")).toBe(3);
});

it("a session of very many commands goes in several runs, its row last", async () => {
  await session("ses_huge", 50, 60, 70);
  await env.DB.prepare(
    `INSERT INTO commands (session, command, at, identity, target, via, text, truncated, effects, decision, policies, bundle)
     SELECT 'ses_huge', value + 9, 1, 'ci', 'db', 'simple', 'x', 0, '[]', 'allow', '[]', 1
     FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 21000) SELECT value FROM n)`,
  ).run();
  expect((await expire(env.DB, env.RECORDINGS, 1000)).sessions).toBe(0);
  expect(await readSession(env.DB, "ses_huge")).not.toBeNull();
  expect((await expire(env.DB, env.RECORDINGS, 1000)).sessions).toBe(3);
  expect(await readSession(env.DB, "ses_huge")).toBeNull();
});

it("the cron trigger forgets nothing while no bundle says how long to keep", async () => {
  await worker.scheduled(createScheduledController(), env);
  expect(await readSession(env.DB, "ses_old")).not.toBeNull();
});
