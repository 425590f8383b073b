/**
 * Plan first, for real: a job plans a migration, a person consents, the job runs exactly that, once. And what a target's
 * posture says through all of the parts.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Plan } from "../../protocol/plan.ts";
import { connectTo } from "../support/database.ts";
import { findProgram } from "../support/programs.ts";
import { startWorld, type Finished, type World } from "../support/world.ts";

const psql = findProgram("psql");
let world: World;
let file: string;

const MIGRATION = `-- adds a note to orders
BEGIN;
ALTER TABLE orders ADD COLUMN note text;
UPDATE orders SET note = 'planned; not guessed' WHERE id = 1;
COMMIT;
`;

const INSPECTOR = `name: inspector
kind: human
owner: dba@shop.example
purpose: Looks at targets
match:
  - issuer: https://login.shop.example
    claims: { sub: "00u3look" }
    allow_weak_match: true
grants:
  - target: orders-db
    actions: [target:inspect]
`;

beforeAll(async () => {
  world = await startWorld({ bundle: { "identities/inspector.yaml": INSPECTOR } });
  await world.startAgent("one");
  const owner = await connectTo(world.postgres, "shop");
  await owner.query("ALTER TABLE orders OWNER TO sallyport");
  await owner.end();
  file = join(world.directory, "migration.sql");
  await writeFile(file, MIGRATION);
});
afterAll(() => world?.stop());

const as = async (sub: string, args: readonly string[]): Promise<Finished> =>
  world.sallyport(args, { SALLYPORT_TOKEN: await world.token("oidc", [`sub=${sub}`]) });
async function plan(text: string): Promise<{ code: number | null; plan: Plan }> {
  await writeFile(file, text);
  const { code, stdout, stderr } = await world.sallyport(["plan", "orders-db", "-f", file, "--json"]);
  try {
    return { code, plan: Plan.parse(JSON.parse(stdout)) };
  } catch {
    throw new Error(`not a plan: ${code} ${stdout} ${stderr}`);
  }
}
const run = (id: string, ...args: string[]): Promise<Finished> =>
  world.sallyport(["run", "--plan", id, "orders-db", "--", psql ?? "psql", "-X", "-v", "ON_ERROR_STOP=1", "-At", ...args]);
const approve = (id: string | undefined): Promise<Finished> => as("00u2dana", ["approvals", "approve", id ?? "none", "--yes"]);
async function notes(): Promise<unknown> {
  const direct = await connectTo(world.postgres, "shop");
  const { rows } = await direct.query("SELECT to_jsonb(o) ->> 'note' AS note FROM orders o WHERE id = 1");
  await direct.end();
  return rows[0];
}

describe.skipIf(psql === undefined)("a plan", () => {
  test("planned, approved by a person, run once and exactly", async () => {
    const made = await plan(MIGRATION);
    expect(made.code).toBe(3);
    expect(made.plan).toMatchObject({ state: "pending", identity: "orders-ci", target: "orders-db" });
    expect(made.plan.statements.map(({ decision }) => decision)).toEqual(["allow", "hold", "allow", "allow"]);
    const { id, approval } = made.plan;

    const early = await run(id, "-f", file);
    expect(early.code).toBe(75);
    expect(early.stderr).toContain("waits for approval");
    expect(await notes()).toEqual({ note: null });

    const shown = await as("00u2dana", ["approvals", "show", approval ?? ""]);
    expect(shown.stdout).toContain("ALTER TABLE orders ADD COLUMN note text");
    const approved = await approve(approval);
    expect({ code: approved.code, stderr: approved.stderr }).toMatchObject({ code: 0 });
    expect((await world.sallyport(["plans", "show", id])).code).toBe(0);

    // Not in the plan: refused by name, and the plan is gone with this session all the same.
    const done = await run(id, "-f", file);
    expect({ code: done.code, stderr: done.stderr }).toMatchObject({ code: 0 });
    expect(await notes()).toEqual({ note: "planned; not guessed" });

    const again = await run(id, "-f", file);
    expect(again.code).toBe(77);
    expect(again.stderr).toContain("plan_unusable");
    const { stdout } = await world.sallyport(["plans", "show", id, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ state: "used", outcome: { state: "approved", by: ["dana"] } });
  });

  test("a statement that is not in it is refused, though policy would allow it; what is in it still runs", async () => {
    const { code, plan: made } = await plan("UPDATE orders SET note = 'by plan' WHERE id = 1;");
    expect(code).toBe(0);
    const other = "UPDATE orders SET note = 'smuggled' WHERE id = 1";
    const done = await run(
      made.id,
      "-v",
      "ON_ERROR_STOP=0",
      "-c",
      other,
      "-c",
      "UPDATE orders  SET note = 'by plan' /* same */ WHERE id = 1",
      "-c",
      "UPDATE orders SET note = 'by plan' WHERE id = 1",
    );
    expect(done.stderr.match(/not in plan/g)).toHaveLength(2);
    expect(done.stdout).toBe("UPDATE 1\n");
    expect(await notes()).toEqual({ note: "by plan" });
    // The control: without a plan policy allows it.
    const free = await world.sallyport(["run", "orders-db", "--", psql ?? "psql", "-X", "-At", "-c", other]);
    expect(free.stdout).toBe("UPDATE 1\n");
    expect(await notes()).toEqual({ note: "smuggled" });
  });

  test("with a denied statement nobody is asked, and it cannot be run", async () => {
    const { code, plan: made } = await plan("ALTER TABLE orders ADD COLUMN x int; DROP TABLE orders;");
    expect(code).toBe(4);
    expect(made).toMatchObject({ state: "denied" });
    expect(made.approval).toBeUndefined();
    expect((await run(made.id, "-c", "ALTER TABLE orders ADD COLUMN x int")).code).toBe(77);
  });

  test("denied by a person: --wait ends with the reason", async () => {
    await writeFile(file, "ALTER TABLE orders ADD COLUMN y int");
    const waiting = world.sallyport(["plan", "orders-db", "-f", file, "--wait"]);
    let open: { rows: { id: string; state: string }[] } = { rows: [] };
    for (let n = 0; n < 100 && open.rows.length === 0; n += 1) {
      open = JSON.parse((await as("00u2dana", ["approvals", "list", "--state", "pending", "--json"])).stdout) as typeof open;
    }
    await as("00u2dana", ["approvals", "deny", open.rows[0]?.id ?? "none", "--reason", "not on a Sunday", "--yes"]);
    const { code, stderr } = await waiting;
    expect(code).toBe(4);
    expect(stderr).toContain("not on a Sunday");
  });

  test("is nobody else's: another identity neither sees nor runs it", async () => {
    const { plan: made } = await plan("SELECT 1");
    expect((await as("00u2dana", ["plans", "show", made.id])).code).toBe(1);
    expect((await as("00u2dana", ["plans", "list", "--json"])).stdout).not.toContain(made.id);
  });

  test("a file that is not SQL alone is refused by its line", async () => {
    await writeFile(file, "select 1;\n\\i other.sql\n");
    const { code, stderr } = await world.sallyport(["plan", "orders-db", "-f", file]);
    expect(code).toBe(1);
    expect(stderr).toContain("Line 2");
  });
});

describe("posture", () => {
  test("target:inspect sees what the login may do; --sql is a script; who may connect sees the level", async () => {
    const full = await as("00u3look", ["doctor", "orders-db", "--json"]);
    const { findings } = JSON.parse(full.stdout) as { findings: { check: string; status: string; sql?: string[] }[] };
    expect(findings).toContainEqual(expect.objectContaining({ check: "posture orders-db schema-create", status: "warn" }));
    const script = await as("00u3look", ["doctor", "orders-db", "--sql"]);
    expect(script.stdout).toContain('REVOKE CREATE ON SCHEMA "public" FROM "sallyport";');
    expect(script.stdout.split("\n").every((line) => line === "" || line.startsWith("--") || line.endsWith(";"))).toBe(true);
    const job = await world.sallyport(["doctor", "orders-db"]);
    expect(job.stdout).toContain("masking level");
    expect(job.stdout).not.toContain("schema-create");
  });
});
