/** The command's standard streams stay the command's: blocking as it expects them, though the connector shares them. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findProgram } from "../support/programs.ts";
import { startWorld, type World } from "../support/world.ts";

const psql = findProgram("psql");
let world: World;
beforeAll(async () => {
  world = await startWorld();
  await world.startAgent("one");
});
afterAll(() => world?.stop());

describe.skipIf(psql === undefined)("a slow reader of psql's output", () => {
  test("gets all of it: no write of psql's fails with EAGAIN", async () => {
    const sql = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT";
    const child = world.start(["run", "orders-db", "--", psql ?? "", "-X", "-c", sql], { SALLYPORT_TOKEN: await world.token() });
    const hash = createHash("sha256");
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.stdout?.on("data", (chunk: Buffer) => {
      hash.update(chunk);
      child.stdout?.pause();
      setTimeout(() => child.stdout?.resume(), 1);
    });
    const code = await new Promise((resolve) => child.once("close", resolve));
    const expected = createHash("sha256");
    for (let row = 0; row < 20_000; row += 1) expected.update(`${"x".repeat(1000)}\n`);
    expect({ code, stderr: code === 0 ? "" : stderr, digest: hash.digest("hex") }).toEqual({
      code: 0,
      stderr: "",
      digest: expected.digest("hex"),
    });
  });
});
