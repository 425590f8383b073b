/**
 * Resumption (DESIGN.md invariant 6): 200 MB through COPY in each direction while sockets are cut at random points on
 * both sides, and while the edge is redeployed. Every byte arrives once. The digests are PostgreSQL's and ours.
 */
import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startCuttingProxy, type CuttingProxy } from "../support/cutting-proxy.ts";
import { connectTo } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { findProgram } from "../support/programs.ts";
import { finish, startWorld, type World } from "../support/world.ts";

const psql = findProgram("psql");
const ROWS = 2_000_000;
const TEXT = "x".repeat(92);

const IDENTITY = `name: bulk
kind: non-human
owner: team-orders@shop.example
purpose: Moves much data, for the tests of resumption
environment: production
match:
  - provider: github
    claims: { repository_id: "999000999", repository_owner_id: "1597534", environment: production, ref: refs/heads/main }
grants:
  - target: orders-db
    actions: [pg:read, pg:write]
    tables: ["public.*"]
`;
const CLAIMS = ["repository_id=999000999", "repository_owner_id=1597534", "environment=production", "ref=refs/heads/main"];

let world: World;
let runnerSide: CuttingProxy;
let agentSide: CuttingProxy;

/** One line of the table, as COPY writes it: 100 bytes and more. */
const line = (id: number): string => `${id}\t${TEXT}\n`;

function expectedDigest(): { digest: string; bytes: number } {
  const hash = createHash("sha256");
  let bytes = 0;
  for (let id = 1; id <= ROWS; id += 10_000) {
    let block = "";
    for (let row = id; row < id + 10_000; row += 1) block += line(row);
    bytes += block.length;
    hash.update(block);
  }
  return { digest: hash.digest("hex"), bytes };
}

beforeAll(async () => {
  world = await startWorld({
    bundle: { "identities/bulk.yaml": IDENTITY },
    agentGateway: async (origin) => {
      agentSide = await startCuttingProxy({ host: "127.0.0.1", port: Number(new URL(origin).port) });
      return `http://127.0.0.1:${agentSide.port}`;
    },
  });
  runnerSide = await startCuttingProxy({ host: "127.0.0.1", port: Number(new URL(world.gateway.origin).port) });
  await world.startAgent("one");
  const shop = await connectTo(world.postgres, "shop");
  await shop.query(
    `CREATE TABLE bulk AS SELECT i AS id, '${TEXT}'::text AS filler FROM generate_series(1, ${ROWS}) i; CREATE TABLE bulk_in (id integer, filler text); GRANT ALL ON bulk, bulk_in TO sallyport`,
  );
  await shop.end();
});
/** A cut of the case before may have caught the agent's control socket too. */
beforeEach(() =>
  eventually(async () => {
    const { stdout } = await world.sallyport(["targets", "--json"], await env());
    expect((JSON.parse(stdout) as { rows: { online: boolean }[] }).rows.map((row) => row.online)).toEqual([true]);
  }),
);
afterAll(async () => {
  await world?.stop();
  await runnerSide?.close();
  await agentSide?.close();
});

/** Cuts whenever another `every` bytes have passed; a redeploy once, in the middle. */
function disturb(options: { redeploy: boolean }): { stop: () => Promise<{ cuts: number; redeploys: number }> } {
  let cuts = 0;
  let redeploys = 0;
  let next = runnerSide.bytes + 5e6;
  const until = new AbortController();
  const loop = (async () => {
    for (let turn = 0; !until.signal.aborted; turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (runnerSide.bytes < next) continue;
      if (options.redeploy && redeploys === 0 && cuts >= 2) {
        await world.gateway.edge.redeploy();
        redeploys += 1;
      } else
        cuts +=
          (turn % 3 === 0 ? agentSide.cut() : 0) +
          (turn % 3 === 1 ? runnerSide.cut() : 0) +
          (turn % 3 === 2 ? agentSide.cut() + runnerSide.cut() : 0);
      next = runnerSide.bytes + 10e6 + Math.random() * 20e6;
    }
  })();
  return {
    stop: async () => {
      until.abort();
      await loop;
      return { cuts, redeploys };
    },
  };
}

const env = async () => ({
  SALLYPORT_TOKEN: await world.token("github", CLAIMS),
  SALLYPORT_GATEWAY: `http://127.0.0.1:${runnerSide.port}`,
});

describe.skipIf(psql === undefined)("200 MB with cut sockets", () => {
  const { digest, bytes } = expectedDigest();

  test.each([{ redeploy: false }, { redeploy: true }])("COPY out arrives byte for byte (redeploy: $redeploy)", async ({ redeploy }) => {
    expect(bytes).toBeGreaterThan(200e6 - 10e6);
    const child = world.start(
      ["run", "orders-db", "--", psql ?? "", "-X", "-q", "-c", "COPY (SELECT id, filler FROM bulk ORDER BY id) TO STDOUT"],
      await env(),
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    const disturbance = disturb({ redeploy });
    const hash = createHash("sha256");
    let received = 0;
    child.stdout?.on("data", (chunk: Buffer) => {
      received += chunk.length;
      hash.update(chunk);
    });
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const code = await new Promise((resolve) => child.once("close", resolve));
    const { cuts, redeploys } = await disturbance.stop();
    expect({ code, stderr: code === 0 ? "" : stderr, received, digest: hash.digest("hex") }).toEqual({
      code: 0,
      stderr: "",
      received: bytes,
      digest,
    });
    expect(cuts).toBeGreaterThan(2);
    expect(redeploys).toBe(redeploy ? 1 : 0);
  });

  test.each([{ redeploy: false }, { redeploy: true }])("COPY in arrives byte for byte (redeploy: $redeploy)", async ({ redeploy }) => {
    const shop = await connectTo(world.postgres, "shop");
    await shop.query("TRUNCATE bulk_in");
    const child = world.start(
      ["run", "orders-db", "--", psql ?? "", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", "COPY bulk_in FROM STDIN"],
      await env(),
      { stdio: ["pipe", "pipe", "pipe"] },
    );
    const finished = finish(child);
    child.stdin?.on("error", () => undefined); // a command that fails is seen by its status
    const disturbance = disturb({ redeploy });
    for (let id = 1; id <= ROWS; id += 10_000) {
      let block = "";
      for (let row = id; row < id + 10_000; row += 1) block += line(row);
      if (child.exitCode !== null) break;
      if (child.stdin?.write(block) === false)
        await Promise.race([finished, new Promise((resolve) => child.stdin?.once("drain", resolve))]);
    }
    child.stdin?.end();
    const { code, stderr } = await finished;
    const { cuts, redeploys } = await disturbance.stop();
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    expect(cuts).toBeGreaterThan(2);
    expect(redeploys).toBe(redeploy ? 1 : 0);
    const { rows } = await shop.query(
      `SELECT count(*)::int AS rows, count(DISTINCT id)::int AS ids, sum(id)::text AS sum, bool_and(filler = '${TEXT}') AS intact FROM bulk_in`,
    );
    expect(rows).toEqual([{ rows: ROWS, ids: ROWS, sum: String((ROWS * (ROWS + 1)) / 2), intact: true }]);
    await shop.end();
  });
});

// Kept apart: the helper that starts a process for the tests must itself notice a failing one.
test("the tests notice a command that fails", async () => {
  const { code } = await finish(spawn("sh", ["-c", "exit 3"], { stdio: ["ignore", "pipe", "pipe"] }));
  expect(code).toBe(3);
});
