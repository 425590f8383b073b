/**
 * The main job, with nothing but real parts: a CI job with an OIDC token runs an unmodified psql against PostgreSQL
 * through the gateway; each statement is decided, recorded and searchable afterwards.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectTo } from "../support/database.ts";
import { findProgram } from "../support/programs.ts";
import { eventually } from "../support/eventually.ts";
import { startWorld, type World } from "../support/world.ts";

const psql = findProgram("psql");
let world: World;

beforeAll(async () => {
  world = await startWorld();
  await world.startAgent("one");
});
afterAll(() => world?.stop());

const runPsql = (sql: string, ...more: string[]) =>
  world.sallyport(["run", "orders-db", "--", psql ?? "psql", "-X", "-v", "ON_ERROR_STOP=1", "-At", ...more, "-c", sql]);

describe.skipIf(psql === undefined)("psql through the gateway", () => {
  test("an allowed SELECT answers as the server does, and only on stdout", async () => {
    const { code, stdout, stderr } = await runPsql("select title, price from products order by id");
    expect(stderr).not.toContain("ERROR");
    expect({ code, stdout }).toEqual({ code: 0, stdout: "Difference engine|4999.00\nCompiler|199.50\nBombe|12500.00\nSemaphore|12.00\n" });
  });

  test("a DROP is refused with 42501 and the policy's id, and nothing happens", async () => {
    const { code, stderr } = await runPsql("drop table orders", "-v", "VERBOSITY=verbose");
    expect(code).toBe(1);
    expect(stderr).toContain("42501");
    expect(stderr).toContain("no-destruction");
    const direct = await connectTo(world.postgres, "shop");
    expect((await direct.query("select count(*)::int as n from orders")).rows).toEqual([{ n: 5 }]);
    await direct.end();
  });

  test("DROP DATABASE is refused too", async () => {
    const { code, stderr } = await runPsql("drop database shop");
    expect(code).toBe(1);
    expect(stderr).toContain("sallyport");
  });

  test("after a refusal the same connection goes on", async () => {
    const { stdout } = await world.sallyport([
      "run",
      "orders-db",
      "--",
      psql ?? "",
      "-X",
      "-At",
      "-c",
      "drop table orders",
      "-c",
      "select 1 + 1",
    ]);
    expect(stdout).toBe("2\n");
  });

  test("a write that is granted is done; one that is not is refused", async () => {
    expect((await runPsql("update orders set status = 'paid' where id = 2")).code).toBe(0);
    const refused = await runPsql("delete from orders where id = 2");
    expect(refused.code).toBe(1);
    const direct = await connectTo(world.postgres, "shop");
    expect((await direct.query("select status from orders where id = 2")).rows).toEqual([{ status: "paid" }]);
    await direct.end();
  });

  test("the command's exit status and signals pass through", async () => {
    expect((await world.sallyport(["run", "orders-db", "--", "sh", "-c", "exit 7"])).code).toBe(7);
    expect((await world.sallyport(["run", "orders-db", "--", "sh", "-c", "kill -TERM $$"])).code).toBe(143);
  });

  test("a job of another repository is refused, without a reason that helps an attacker", async () => {
    const { code, stderr } = await world.sallyport(["run", "orders-db", "--", "true"], {
      SALLYPORT_TOKEN: await world.token("github", ["repository_id=666", "repository_owner_id=1597534", "environment=production"]),
    });
    expect(code).toBe(77);
    expect(stderr).toContain("identity_unmatched");
    expect(stderr).not.toContain("orders-ci");
  });

  test("an unknown target is named as such", async () => {
    const { code, stderr } = await world.sallyport(["run", "no-such-db", "--", "true"]);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/target_unknown|denied/);
  });

  test("what was done is searchable, by whom, with its decision; and the recording verifies", async () => {
    const listed = await eventually(async () => {
      const { stdout } = await world.admin(["sessions", "list", "--json"]);
      const rows = (JSON.parse(stdout) as { rows: { id: string; sealed: boolean; commands: number; identity: string }[] }).rows;
      expect(rows.length).toBeGreaterThan(3);
      expect(rows.every((row) => row.sealed || row.commands === 0)).toBe(true);
      return rows;
    });
    expect(new Set(listed.map((row) => row.identity))).toEqual(new Set(["orders-ci"]));
    const found = await world.admin(["sessions", "search", "drop table", "--json"]);
    const commands = (JSON.parse(found.stdout) as { rows: { text: string; decision: string; policies: string[]; session: string }[] }).rows;
    expect(commands.map(({ text, decision, policies }) => ({ text, decision, policies }))).toContainEqual({
      text: "drop table orders",
      decision: "deny",
      policies: ["no-destruction"],
    });
    const session = commands[0]?.session ?? "";
    const verified = await world.admin(["sessions", "verify", session]);
    expect(verified.stderr + verified.stdout).toContain("sealed");
    expect(verified.code).toBe(0);
    const replayed = await world.admin(["sessions", "replay", session]);
    expect(replayed.stdout).toContain("drop table orders");
  });
});

describe("invariant 1: the target's credential never leaves the agent", () => {
  test("it is in no log, no state file and no object of the edge", async () => {
    const needle = world.targetPassword;
    expect(needle.length).toBeGreaterThan(20);
    for (const agent of world.agents) expect(agent.log()).not.toContain(needle);
    const files: string[] = [];
    const walk = (directory: string): void => {
      for (const entry of readdirSync(directory, { withFileTypes: true })) {
        const path = join(directory, entry.name);
        if (entry.isDirectory()) walk(path);
        else if (entry.isFile() && statSync(path).size < 64 * 1024 * 1024) files.push(path);
      }
    };
    walk(world.directory);
    expect(files.length).toBeGreaterThan(10);
    expect(files.filter((file) => readFileSync(file).includes(needle))).toEqual([]);
    // The negative control: the same search finds what is there.
    expect(files.filter((file) => readFileSync(file).includes("orders-ci")).length).toBeGreaterThan(0);
  });

  test("it is in no process list", () => {
    expect(execFileSync("ps", ["-eo", "args"], { encoding: "utf8" })).not.toContain(world.targetPassword);
  });
});
