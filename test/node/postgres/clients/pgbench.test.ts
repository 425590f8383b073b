/** pgbench in its three protocols, with pipelines and with a connection for each transaction: nothing fails, the sums are right. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findProgram } from "../../../support/programs.ts";
import { startBoth, type Both } from "./both.ts";

const pgbench = findProgram("pgbench");

describe.skipIf(pgbench === undefined)("pgbench", () => {
  let both: Both;
  const files = mkdtempSync(join(tmpdir(), "sallyport-pgbench-"));
  const script = (name: string, text: string): string => {
    const path = join(files, name);
    writeFileSync(path, text);
    return path;
  };
  beforeAll(async () => {
    both = await startBoth();
  }, 60_000);
  afterAll(async () => both.stop());

  async function bench(...args: string[]): Promise<string> {
    const { direct, through } = await both.run(pgbench ?? "", args);
    expect({ code: through.code, stderr: through.stderr }).toMatchObject({ code: 0 });
    expect(direct.code).toBe(0);
    return through.stdout;
  }

  test("initialises with every kind of step, on the client and on the server", async () => {
    await bench("-i", "-q", "-I", "dtgvpf", "-s", "1");
    await bench("-i", "-q", "-I", "dtGvp", "-s", "1");
    expect((await both.rows("select count(*)::int as n, sum(abalance)::int as s from pgbench_accounts")).through).toEqual([
      { n: 100_000, s: 0 },
    ]);
  });

  test.each(["simple", "extended", "prepared"])("%s: the built-in scripts, 4 clients", async (mode) => {
    for (const name of ["tpcb-like", "select-only"]) {
      const out = await bench("-n", "-M", mode, "-b", name, "-c", "4", "-j", "2", "-t", "15");
      expect(out).toContain("number of transactions actually processed: 60/60");
      expect(out).toContain("number of failed transactions: 0");
    }
    expect(
      (await both.rows("select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches) as agree"))
        .through,
    ).toEqual([{ agree: true }]);
  });

  test("a connection for each transaction", async () => {
    expect(await bench("-n", "-C", "-S", "-c", "2", "-t", "10")).toContain("actually processed: 20/20");
  });

  test.each(["extended", "prepared"])("%s: pipelines, with \\gset inside of them and errors none", async (mode) => {
    const file = script(
      "pipeline.sql",
      "\\set a random(1, 100000)\n\\startpipeline\nselect abalance from pgbench_accounts where aid = :a;\nupdate pgbench_accounts set filler = 'x' where aid = :a;\nselect 1;\n\\endpipeline\nselect abalance as b from pgbench_accounts where aid = :a \\gset\n\\startpipeline\nbegin;\ninsert into pgbench_history (tid, bid, aid, delta) values (1, 1, :a, :b);\nrollback;\n\\endpipeline\n",
    );
    expect(await bench("-n", "-M", mode, "-f", file, "-c", "3", "-t", "20")).toContain("actually processed: 60/60");
  });

  test("\\aset over several statements in one simple query", async () => {
    const file = script("aset.sql", "select 1 as one \\; select 2 as two \\aset\nselect :one + :two;\n");
    expect(await bench("-n", "-f", file, "-t", "5")).toContain("actually processed: 5/5");
  });
});
