/** IdentityDO in the real runtime: single use, admission, revocation (GW-01, GW-17, GW-26), each also across an eviction. */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { SessionFacts } from "../../../durable-objects/session/facts.ts";
import { CREDENTIAL_MAX_AGE_S, CREDENTIAL_TTL_S, MAX_CREDENTIALS, MAX_REPLAY_KEYS } from "../../../protocol/limits.ts";
import { mintSessionId, type SessionId } from "../../../protocol/ids.ts";
import { freshName } from "./gateway.ts";

const S = 1000;
const random = (bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => crypto.getRandomValues(bytes);
const session = (): SessionId => mintSessionId(random);

type Stub = ReturnType<typeof env.IDENTITIES.getByName>;
const object = (name = freshName()): Stub => env.IDENTITIES.getByName(name);

/** Every test of this table runs on an object left alone, and on one evicted between any two steps. */
const TWINS: readonly (readonly [string, (stub: Stub) => Promise<void>])[] = [
  ["awake", async () => undefined],
  ["evicted between steps", (stub) => evictDurableObject(stub)],
];

describe.each(TWINS)("single use, %s", (_twin, pause) => {
  test("a key is claimed once", async () => {
    const stub = object();
    const until = Date.now() + 60 * S;
    expect(await stub.claim("k", until)).toBe(true);
    await pause(stub);
    expect(await stub.claim("k", until)).toBe(false);
    await pause(stub);
    expect(await stub.claim("other", until)).toBe(true);
  });

  test("after its life and a margin a key is forgotten, by the alarm too", async () => {
    const stub = object();
    const now = Date.now();
    expect(await stub.claim("k", now + 10 * S, now)).toBe(true);
    await pause(stub);
    expect(await stub.claim("k", now + 10 * S, now + 69 * S)).toBe(false);
    expect(await stub.claim("old", now - 120 * S, now - 200 * S)).toBe(true);
    await pause(stub);
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    const kept = await runInDurableObject(stub, (_, { storage }) =>
      storage.sql.exec<{ key: string }>("SELECT key FROM single_use").toArray(),
    );
    expect(kept).toEqual([{ key: "k" }]);
    expect(await stub.claim("k", now + 500 * S, now + 71 * S)).toBe(true);
  });

  test("at the cap new keys are refused, and none that lives is forgotten", async () => {
    const stub = object();
    const now = Date.now();
    const until = now + 600 * S;
    await stub.claim("first", until, now);
    await runInDurableObject(stub, (_, { storage }) => {
      storage.sql.exec(
        `INSERT INTO single_use (key, until) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MAX_REPLAY_KEYS - 1})
         SELECT 'filler-' || i, ${until} FROM n`,
      );
    });
    await evictDurableObject(stub);
    expect(await stub.claim("one too many", until, now)).toBe(false);
    expect(await stub.present({ key: "one too many", until }, now)).toBe("too_many");
    await pause(stub);
    expect(await stub.present({ key: "first", until }, now)).toBe("replayed");
    // Room comes only with time.
    expect(await stub.claim("one too many", until + 700 * S, until + 60 * S)).toBe(true);
  });
});

test("of a crowd that races for one key exactly one wins", async () => {
  const stub = object();
  const wins = await Promise.all(Array.from({ length: 25 }, () => object(stub.name).claim("k", Date.now() + 60 * S)));
  expect(wins.filter(Boolean)).toHaveLength(1);
});

describe.each(TWINS)("admission, %s", (_twin, pause) => {
  test("counts live sessions, the same one once", async () => {
    const [stub, a, b, c] = [object(), session(), session(), session()];
    const deadline = Date.now() + 3600 * S;
    expect(await stub.admit(a, 2, deadline)).toBe("ok");
    await pause(stub);
    expect(await stub.admit(b, 2, deadline)).toBe("ok");
    expect(await stub.admit(c, 2, deadline)).toBe("too_many");
    await pause(stub);
    expect(await stub.admit(a, 2, deadline)).toBe("ok");
    expect((await stub.status()).live_sessions).toEqual([a, b]);
    await stub.release(a);
    await stub.release(a);
    await pause(stub);
    expect(await stub.admit(c, 2, deadline)).toBe("ok");
  });

  test("a session that was never released counts until its deadline", async () => {
    const [stub, now] = [object(), Date.now()];
    expect(await stub.admit(session(), 1, now + 60 * S, now)).toBe("ok");
    await pause(stub);
    expect(await stub.admit(session(), 1, now + 120 * S, now + 59 * S)).toBe("too_many");
    expect(await stub.admit(session(), 1, now + 120 * S, now + 60 * S)).toBe("ok");
  });
});

test("one identity's sessions do not count for another (GW-26)", async () => {
  const [busy, idle] = [object(), object()];
  const deadline = Date.now() + 60 * S;
  for (let n = 0; n < 8; n++) await busy.admit(session(), 4, deadline);
  expect(await busy.admit(session(), 4, deadline)).toBe("too_many");
  expect(await idle.admit(session(), 4, deadline)).toBe("ok");
});

describe.each(TWINS)("credentials, %s", (_twin, pause) => {
  const issue = (stub: Stub, hash: string, now: number, jkt = "key") =>
    stub.issue({ hash, jkt, claims: "{}", token: { key: `t-${hash}`, until: now + S }, proof: { key: `p-${hash}`, until: now + S } }, now);
  const proof = (now: number): { key: string; until: number } => ({ key: crypto.randomUUID(), until: now + S });

  test("are good for their key until they expire, and for a renewed one no longer than the line lives", async () => {
    const [stub, now] = [object(), Date.now()];
    expect(await issue(stub, "h0", now)).toEqual({ ok: true, value: { expires_at: now + CREDENTIAL_TTL_S * S } });
    await pause(stub);
    expect(await stub.use({ hash: "h0", jkt: "key", proof: proof(now) }, now)).toMatchObject({ ok: true, value: { claims: "{}" } });
    expect(await stub.use({ hash: "h0", jkt: "thief", proof: proof(now) }, now)).toEqual({ ok: false, error: "wrong_key" });
    expect(await stub.use({ hash: "hx", jkt: "key", proof: proof(now) }, now)).toEqual({ ok: false, error: "unknown" });
    expect(await stub.use({ hash: "h0", jkt: "key", proof: proof(now) }, now + CREDENTIAL_TTL_S * S)).toEqual({
      ok: false,
      error: "expired",
    });

    const step = (CREDENTIAL_TTL_S - 1) * S;
    const end = now + CREDENTIAL_MAX_AGE_S * S;
    let at = now;
    let n = 0;
    for (; at + step < end; n++) {
      at += step;
      await pause(stub);
      expect(await stub.renew(`h${n}`, `h${n + 1}`, at)).toEqual({
        ok: true,
        value: { expires_at: Math.min(at + CREDENTIAL_TTL_S * S, end) },
      });
    }
    expect(await stub.renew(`h${n}`, "beyond", end)).toEqual({ ok: false, error: "expired" });
    expect(await stub.use({ hash: `h${n}`, jkt: "key", proof: proof(end) }, end)).toEqual({ ok: false, error: "expired" });
  });

  test("a proof counts once, and so does the token that bought the credential", async () => {
    const [stub, now] = [object(), Date.now()];
    await issue(stub, "h", now);
    const once = proof(now);
    expect((await stub.use({ hash: "h", jkt: "key", proof: once }, now)).ok).toBe(true);
    await pause(stub);
    expect(await stub.use({ hash: "h", jkt: "key", proof: once }, now)).toEqual({ ok: false, error: "replayed" });
    expect(await stub.use({ hash: "h", jkt: "key", proof: { key: "p-h", until: now + S } }, now)).toEqual({ ok: false, error: "replayed" });
    expect(await stub.present({ key: "t-h", until: now + S }, now)).toBe("replayed");
  });

  test("a refused issue claims nothing", async () => {
    const [stub, now] = [object(), Date.now()];
    await stub.claim("p-h", now + S, now);
    expect(await issue(stub, "h", now)).toEqual({ ok: false, error: "replayed" });
    await pause(stub);
    expect(await stub.present({ key: "t-h", until: now + S }, now)).toBe("ok");
    expect(await stub.use({ hash: "h", jkt: "key", proof: proof(now) }, now)).toEqual({ ok: false, error: "unknown" });
  });

  test("are limited in number", async () => {
    const [stub, now] = [object(), Date.now()];
    await issue(stub, "h", now);
    await runInDurableObject(stub, (_, { storage }) => {
      storage.sql.exec(
        `INSERT INTO credentials (hash, jkt, claims, expires_at, ends_at)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MAX_CREDENTIALS - 1}) SELECT 'c' || i, 'k', '{}', ${now + S}, ${now + S} FROM n`,
      );
    });
    await pause(stub);
    expect(await issue(stub, "next", now)).toEqual({ ok: false, error: "too_many" });
    expect((await issue(stub, "next", now + S)).ok).toBe(true);
  });

  test("end with a revocation, and do not come back with the restoration", async () => {
    const [stub, now] = [object(), Date.now()];
    await issue(stub, "h", now);
    await stub.revoke("left the company", "admin", now);
    await pause(stub);
    expect(await stub.use({ hash: "h", jkt: "key", proof: proof(now) }, now)).toEqual({ ok: false, error: "revoked" });
    expect(await stub.renew("h", "h2", now)).toEqual({ ok: false, error: "revoked" });
    expect(await issue(stub, "h3", now)).toEqual({ ok: false, error: "revoked" });
    expect(await stub.present({ key: "fresh", until: now + S }, now)).toBe("revoked");
    expect(await stub.admit(session(), 4, now + S, now)).toBe("revoked");
    await stub.restore(now);
    await pause(stub);
    expect(await stub.use({ hash: "h", jkt: "key", proof: proof(now) }, now)).toEqual({ ok: false, error: "unknown" });
    expect(await stub.present({ key: "fresh", until: now + S }, now)).toBe("ok");
  });
});

describe.each(TWINS)("revocation of live sessions (GW-17), %s", (_twin, pause) => {
  async function live(stub: Stub): Promise<SessionId> {
    const id = session();
    const now = Date.now();
    expect(await stub.admit(id, 4, now + 3600 * S, now)).toBe("ok");
    await env.SESSIONS.getByName(id).open(facts(id, stub.name ?? "", now));
    return id;
  }
  const phase = async (id: SessionId): Promise<unknown> => env.SESSIONS.getByName(id).state();

  test("ends all of them before it answers, and keeps its facts", async () => {
    const stub = object();
    const ids = [await live(stub), await live(stub)];
    const now = Date.now();
    const answer = await stub.revoke("key leaked", "mira", now);
    expect(answer).toEqual({ revoked_at: now, sessions_ended: ids });
    for (const id of ids) expect(await phase(id)).toMatchObject({ state: "ended", code: "identity_revoked" });
    await pause(stub);
    expect(await stub.status()).toMatchObject({ revoked: { at: now, by: "mira", reason: "key leaked" }, live_sessions: [] });
    expect(await stub.revoke("again", "other", now + S)).toEqual({ revoked_at: now, sessions_ended: [] });
    expect(await stub.status()).toMatchObject({ revoked: { at: now, by: "mira", reason: "key leaked" } });
  });

  test("a session admitted but not open yet is ended once it opens", async () => {
    const stub = object();
    const [id, now] = [session(), Date.now()];
    await stub.admit(id, 4, now + 3600 * S, now);
    await stub.revoke("race", "mira", now);
    // The object had nothing to end: the Worker opens it only now.
    await env.SESSIONS.getByName(id).open(facts(id, stub.name ?? "", now));
    await pause(stub);
    await until(async () => {
      await runDurableObjectAlarm(stub);
      return JSON.stringify(await phase(id)).includes("identity_revoked");
    });
    expect(await phase(id)).toMatchObject({ state: "ended", code: "identity_revoked" });
  });
});

/** Looks until it is so; the test's own time limit is the only one. */
async function until(so: () => Promise<boolean>): Promise<void> {
  while (!(await so())) await scheduler.wait(50);
}

function facts(id: SessionId, identity: string, now: number): SessionFacts {
  return {
    id,
    identity,
    target: "orders-db",
    protocol: "postgres",
    site: "hq",
    workload: { provider: "github", issuer: "https://issuer.test", subject: "x" },
    startedAt: now,
    deadline: now + 3600 * S,
    bundle: 1,
    policies: [],
    approvals: [],
    hold: "wait",
  };
}
