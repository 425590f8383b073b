/**
 * How sessions end and what survives: kill, revocation, a new bundle, agents and connectors that die, a deploy of the
 * edge. The database is asked directly what really happened.
 */
import { execFileSync, type ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type pg from "pg";
import { connectTo } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { findProgram } from "../support/programs.ts";
import { finish, startWorld, type World } from "../support/world.ts";

const psql = findProgram("psql");
const SLEEPER = `name: sleeper
kind: non-human
owner: team-orders@shop.example
purpose: Runs long statements, for the tests of endings
environment: production
match:
  - provider: github
    claims: { repository_id: "555000555", repository_owner_id: "1597534", environment: production, ref: refs/heads/main }
grants:
  - target: orders-db
    actions: [pg:read, pg:write]
    tables: ["public.*"]
  - target: orders-db
    actions: [pg:call]
    functions: ["pg_catalog.pg_sleep"]
`;
const CLAIMS = ["repository_id=555000555", "repository_owner_id=1597534", "environment=production", "ref=refs/heads/main"];

let world: World;
let direct: pg.Client;

beforeAll(async () => {
  world = await startWorld({ bundle: { "identities/sleeper.yaml": SLEEPER } });
  await world.startAgent("one");
  direct = await connectTo(world.postgres, "shop");
  await direct.query("CREATE TABLE marks (note text); GRANT ALL ON marks TO sallyport");
});
afterAll(async () => {
  await direct?.end();
  await world?.stop();
});

const asSleeper = async () => ({ SALLYPORT_TOKEN: await world.token("github", CLAIMS) });

/** psql in a session, running a statement that takes a minute; resolves once the database runs it. */
async function sleeping(mark: string): Promise<{ child: ChildProcess; done: ReturnType<typeof finish>; session: string }> {
  const sql = `insert into marks select '${mark}' from (select pg_sleep(60)) s`;
  const child = world.start(
    ["run", "orders-db", "--json", "--", psql ?? "", "-X", "-v", "VERBOSITY=verbose", "-c", sql],
    await asSleeper(),
  );
  const done = finish(child);
  await eventually(async () => {
    const { rows } = await direct.query("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1", [
      `%'${mark}'%pg_sleep%`,
    ]);
    expect(rows.length).toBeGreaterThan(0);
  });
  const { stdout } = await world.admin(["sessions", "list", "--json", "--identity", "sleeper", "--state", "active"]);
  const session = (JSON.parse(stdout) as { rows: { id: string }[] }).rows[0]?.id ?? "";
  expect(session).toMatch(/^ses_/);
  return { child, done, session };
}

const stillRunning = async (mark: string): Promise<number> =>
  (await direct.query("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1", [`%'${mark}'%pg_sleep%`])).rows.length;

async function neverHappened(mark: string): Promise<void> {
  await eventually(async () => expect(await stillRunning(mark)).toBe(0));
  expect((await direct.query("SELECT 1 FROM marks WHERE note = $1", [mark])).rows).toEqual([]);
}

describe.skipIf(psql === undefined)("endings", () => {
  test("sessions kill: the client hears 57P01, the statement at the target is cancelled", async () => {
    const { done, session } = await sleeping("killed");
    expect((await world.admin(["sessions", "kill", session, "--reason", "test of endings"])).code).toBe(0);
    const { code, stderr } = await done;
    expect(code).not.toBe(0);
    expect(stderr).toContain("57P01");
    await neverHappened("killed");
    const shown = JSON.parse((await world.admin(["sessions", "show", session, "--json"])).stdout) as { state: string; end_code: string };
    expect(shown).toMatchObject({ state: "ended", end_code: "session_killed" });
  });

  test("identities revoke: live sessions end, new ones are refused, restore lets them in again (GW-17)", async () => {
    const { done } = await sleeping("revoked");
    expect((await world.admin(["identities", "revoke", "sleeper", "--reason", "test of endings"])).code).toBe(0);
    expect((await done).stderr).toContain("57P01");
    await neverHappened("revoked");
    const refused = await world.sallyport(["run", "orders-db", "--", "true"], await asSleeper());
    expect(refused.code).toBe(77);
    expect(refused.stderr).toContain("identity_revoked");
    expect((await world.admin(["identities", "restore", "sleeper"])).code).toBe(0);
    expect((await world.sallyport(["run", "orders-db", "--", "true"], await asSleeper())).code).toBe(0);
  });

  test("the client dies by SIGKILL: the statement is cancelled and its outcome recorded as unknown (PG-52)", async () => {
    const { child, done, session } = await sleeping("orphaned");
    const client = execFileSync("pgrep", ["-P", String(child.pid)], { encoding: "utf8" }).trim();
    process.kill(Number(client), "SIGKILL");
    expect((await done).code).toBe(137);
    await neverHappened("orphaned");
    await eventually(
      async () => {
        const { stdout } = await world.admin(["sessions", "show", session, "--json", "--commands"]);
        const shown = JSON.parse(stdout) as { commands: { status: string | null }[] };
        expect(shown.commands.map((command) => command.status)).toContain("unknown");
      },
      { tries: 900 },
    );
  });

  test("a new bundle governs the next statement of a live session, without reconnecting (GW-18)", async () => {
    const child = world.start(["run", "orders-db", "--", psql ?? "", "-X", "-At", "-v", "VERBOSITY=verbose"], await asSleeper(), {
      stdio: ["pipe", "pipe", "pipe"],
    });
    let out = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    const done = finish(child);
    child.stdin?.write("select 'before', count(*) from products;\n");
    await eventually(() => expect(out).toContain("before|4"));
    const { writeFile, rm } = await import("node:fs/promises");
    const policy = `${world.directory}/sallyport/policies/freeze.cedar`;
    await writeFile(
      policy,
      '@id("freeze")\n@reason("Frozen for the test.")\nforbid (principal, action == Action::"pg:select", resource);\n',
    );
    const pushed = await world.admin(["policy", "push", `${world.directory}/sallyport`]);
    expect(pushed.stderr + pushed.stdout).not.toContain("error");
    expect(pushed.code).toBe(0);
    child.stdin?.write("select 'after', count(*) from products;\n\\q\n");
    const { stderr } = await done;
    expect(stderr).toContain("freeze");
    expect(out).not.toContain("after|4");
    await rm(policy);
    expect((await world.admin(["policy", "push", `${world.directory}/sallyport`])).code).toBe(0);
  });

  test("a session survives a deploy of the edge while it is idle, and while a statement runs (invariant 6)", async () => {
    const child = world.start(["run", "orders-db", "--", psql ?? "", "-X", "-At"], await asSleeper(), { stdio: ["pipe", "pipe", "pipe"] });
    let out = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    const done = finish(child);
    child.stdin?.write("select 'one';\n");
    await eventually(() => expect(out).toContain("one"));
    await world.gateway.edge.redeploy();
    child.stdin?.write("select 'two', pg_sleep(2);\n");
    await eventually(() => expect(out).toContain("two"), { tries: 300 });
    child.stdin?.write("insert into marks values ('once'); select 'three', pg_sleep(2);\n");
    await world.gateway.edge.redeploy();
    await eventually(() => expect(out).toContain("three"), { tries: 300 });
    child.stdin?.end();
    expect((await done).code).toBe(0);
    expect((await direct.query("SELECT count(*)::int AS n FROM marks WHERE note = 'once'")).rows).toEqual([{ n: 1 }]);
  });

  test("an agent dies by SIGKILL: only its sessions end; the other agent of the site takes new ones; the recording is closed honestly", async () => {
    const { done, session } = await sleeping("agent-died");
    const first = world.agents[0];
    const second = await world.startAgent("two");
    first?.child.kill("SIGKILL");
    expect((await done).code).not.toBe(0);
    await neverHappened("agent-died");
    const again = await eventually(async () => {
      const run = await world.sallyport(["run", "orders-db", "--", psql ?? "", "-X", "-At", "-c", "select 'served'"], await asSleeper());
      expect(run.stdout).toBe("served\n");
      return run;
    });
    expect(again.code).toBe(0);
    expect(second.child.exitCode).toBeNull();
    // The dead agent comes back with its state: its spool is closed, sealed and uploaded.
    await world.startAgent("one");
    await eventually(
      async () => {
        const verified = await world.admin(["sessions", "verify", session]);
        expect(verified.code).toBe(0);
        expect(verified.stdout + verified.stderr).toContain("sealed");
      },
      { tries: 300 },
    );
    const replayed = await world.admin(["sessions", "replay", session]);
    expect(replayed.stdout).toContain("unknown");
  });

  test("no agent: refused at once with site_offline", async () => {
    for (const { child } of world.agents) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await gone;
    }
    await eventually(async () => {
      const refused = await world.sallyport(["run", "orders-db", "--", "true"], await asSleeper());
      expect(refused.code).toBe(69);
      expect(refused.stderr).toContain("site_offline");
    });
  });
});
