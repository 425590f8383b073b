/**
 * Held statements with nothing but real parts: an unmodified psql waits in its session while a human consents through
 * the gateway's API, or does not.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Client } from "pg";
import { connectTo } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { findProgram } from "../support/programs.ts";
import { finish, startWorld, type World } from "../support/world.ts";

const psql = findProgram("psql");
let world: World;
let direct: Client;

beforeAll(async () => {
  world = await startWorld();
  await world.startAgent("one");
  direct = await connectTo(world.postgres, "shop");
}, 60_000);
afterAll(async () => {
  await direct?.end();
  await world?.stop();
});

const ALTER = "alter table orders add column note text";
beforeEach(async () => {
  await direct.query("alter table orders drop column if exists note; alter table orders owner to sallyport");
  for (const { id } of await pending()) await vote(id, "deny");
});

const altered = async (): Promise<boolean> =>
  (await direct.query("select 1 from information_schema.columns where table_name = 'orders' and column_name = 'note'")).rows.length > 0;

/** As dana, of the group dba. */
async function api<T>(path: string, body?: unknown): Promise<T> {
  const response = await fetch(new URL(path, world.gateway.origin), {
    headers: {
      authorization: `Bearer ${await world.token("oidc", ["sub=00u2dana"])}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
  });
  const answer: unknown = await response.json();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(answer)}`);
  return answer as T;
}

const pending = async (): Promise<readonly { id: string }[]> => (await api<{ rows: { id: string }[] }>("/v1/approvals?state=pending")).rows;
const show = (approval: string) => api<{ digest: string; subject: { statements: { text: string }[] } }>(`/v1/approvals/${approval}`);

async function vote(approval: string, word: "approve" | "deny"): Promise<void> {
  const { digest } = await show(approval);
  await api(`/v1/approvals/${approval}/votes`, { vote: word, digest, ...(word === "deny" ? { reason: "not today" } : {}) });
}

/** psql through `sallyport run`; what it says so far, and its end. */
async function start(sql: readonly string[], env: Record<string, string> = {}) {
  const args = ["run", "orders-db", "--", psql ?? "psql", "-X", "-At", "-v", "VERBOSITY=verbose", ...sql.flatMap((one) => ["-c", one])];
  const child = world.start(args, { SALLYPORT_TOKEN: await world.token(), ...env });
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  return { child, said: () => said, finished: finish(child) };
}

const one = async (): Promise<string> => {
  let id: string | undefined;
  await eventually(async () => {
    id = (await pending())[0]?.id;
    expect(id).toBeDefined();
  });
  return id ?? "";
};

describe.skipIf(psql === undefined)("psql, held", () => {
  test("it waits with a notice, runs once approved, and goes on", async () => {
    const run = await start([ALTER, "select 'after'"]);
    const id = await one();
    await eventually(() =>
      expect(run.said()).toContain(`NOTICE:  01000: sallyport: held for approval ${id}: ${world.gateway.origin}/approvals/${id}`),
    );
    expect(run.said()).toContain(`sallyport: orders-db: held for approval ${id}`);
    expect((await show(id)).subject.statements).toEqual([{ text: ALTER }]);
    expect(await altered()).toBe(false);
    await vote(id, "approve");
    const { code, stdout } = await run.finished;
    expect({ code, stdout }).toEqual({ code: 0, stdout: "ALTER TABLE\nafter\n" });
    expect(await altered()).toBe(true);
  });

  test("denied: 42501 with who and why, and the next statement runs", async () => {
    const run = await start([ALTER, "select 'after'"]);
    await vote(await one(), "deny");
    const { stdout, stderr } = await run.finished;
    expect(stderr).toContain("ERROR:  42501: sallyport: approval");
    expect(stderr).toContain("was denied by dana: not today");
    expect(stdout).toBe("after\n");
    expect(await altered()).toBe(false);
  });

  test("^C withdraws it: 57014, nobody is asked any more, nothing runs", async () => {
    const run = await start([ALTER, "select 'after'"]);
    const id = await one();
    run.child.kill("SIGINT");
    const { stderr } = await run.finished;
    expect(stderr).toContain("57014");
    await eventually(async () => expect(await pending()).toEqual([]));
    expect(await show(id)).toMatchObject({ state: "withdrawn" });
    expect(await altered()).toBe(false);
  });

  test("GW-28 the connector is killed and never comes back: approved too late, it does not run", async () => {
    const run = await start([ALTER]);
    const id = await one();
    run.child.kill("SIGKILL");
    await run.finished.catch(() => undefined);
    await vote(id, "approve").catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(await altered()).toBe(false);
  });

  test("SALLYPORT_HOLD=fail: refused at once with exit status 75; approved, it runs once", async () => {
    const refused = await (await start([ALTER], { SALLYPORT_HOLD: "fail" })).finished;
    expect(refused.code).toBe(75);
    expect(refused.stderr).toMatch(/42501: sallyport: approval required: apr_\w{26} was requested/);
    await vote(await one(), "approve");
    expect(await altered()).toBe(false);
    const ran = await (await start([ALTER], { SALLYPORT_HOLD: "fail" })).finished;
    expect({ code: ran.code, stdout: ran.stdout }).toEqual({ code: 0, stdout: "ALTER TABLE\n" });
    expect(await altered()).toBe(true);
    await direct.query("alter table orders drop column note");
    const again = await (await start([ALTER], { SALLYPORT_HOLD: "fail" })).finished;
    expect([again.code, await altered()]).toEqual([75, false]);
  });

  test("the recording tells it whole, and verifies", async () => {
    const run = await start([ALTER]);
    const id = await one();
    await vote(id, "approve");
    await run.finished;
    const session = /session (ses_\w+)/.exec(run.said())?.[1] ?? "";
    await eventually(async () => {
      const replay = await world.admin(["sessions", "replay", session]);
      expect(replay.stdout).toContain(`waits for approval ${id}`);
      expect(replay.stdout).toContain(`approval ${id} approved by dana`);
      expect(replay.stdout).toContain(`allow, by approval ${id}`);
      expect((await world.admin(["sessions", "verify", session])).stdout).toContain("verified");
    });
  });
});
