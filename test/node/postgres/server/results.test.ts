/** What is recorded of results against a real server: nothing, a sample or all, and never in the way of the command. */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { errorOf, firstColumn, letters, RawClient, serialize } from "../raw-client.ts";
import { startGateway, type Gateway, type MemoryRecorder } from "../support.ts";

const { parse, bind, describe: describeMessage, execute, sync } = serialize;
const noAddress = (text: string): string => text.replaceAll(/\S+@\S+/g, "«email»");

let postgres: PostgresServer;
const gateways: Partial<Record<"none" | "sample" | "full", Gateway>> = {};
beforeAll(async () => {
  postgres = await startPostgres();
  for (const mode of ["none", "sample", "full"] as const) {
    gateways[mode] = await startGateway({ postgres, maskText: noAddress, config: { record_results: mode } });
  }
}, 60_000);
afterAll(async () => {
  for (const gateway of Object.values(gateways)) await gateway.stop();
  await postgres.stop();
});

async function session(mode: "none" | "sample" | "full"): Promise<{ client: RawClient; recorder: MemoryRecorder }> {
  const gateway = gateways[mode];
  if (gateway === undefined) throw new Error("no gateway");
  gateway.recorder.clear();
  gateway.recorder.results.length = 0;
  return { client: await RawClient.ready(gateway.port), recorder: gateway.recorder };
}

describe("a sample", () => {
  let client: RawClient;
  let recorder: MemoryRecorder;
  beforeEach(async () => {
    ({ client, recorder } = await session("sample"));
  });

  test("holds names, types and values, masked by the detectors", async () => {
    await client.query("select 1 as n, 'write to a@example.com' as t, null::date as d, '\\x00ff'::bytea as b");
    expect(recorder.results).toEqual([
      {
        command: recorder.commands[0]?.command,
        columns: [
          { name: "n", type: "integer" },
          { name: "t", type: "text" },
          { name: "d", type: "date" },
          { name: "b", type: "bytea" },
        ],
        rows: [["1", "write to «email»", null, "\\x00ff"]],
        truncated: false,
      },
    ]);
  });

  test("ends after 50 rows and says so; the client has them all", async () => {
    const answer = await client.query("select i from generate_series(1, 5000) i");
    expect(firstColumn(answer)).toHaveLength(5000);
    expect(recorder.results).toHaveLength(1);
    expect(recorder.results[0]?.rows).toHaveLength(50);
    expect(recorder.results[0]?.truncated).toBe(true);
  });

  test("of exactly 50 rows nothing is cut", async () => {
    await client.query("select i from generate_series(1, 50) i");
    expect(recorder.results[0]).toMatchObject({ truncated: false });
    expect(recorder.results[0]?.rows).toHaveLength(50);
  });

  test("ends after 64 KiB; a long value is kept as its size", async () => {
    await client.query("select repeat('x', 5000) from generate_series(1, 40)");
    const [result] = recorder.results;
    expect(result?.truncated).toBe(true);
    expect(result?.rows.length).toBe(13);
    expect(result?.rows[0]).toEqual([{ bytes: 5000 }]);
  });

  test("a first row of more than 64 KiB is not held for it", async () => {
    const answer = await client.query("select repeat('x', 1000000)");
    expect(firstColumn(answer)[0]).toHaveLength(1_000_000);
    expect(recorder.results).toMatchObject([{ rows: [], truncated: true }]);
  });

  test("several results of one Query are told apart; those without rows have none", async () => {
    await client.query("select 1; create temp table x (n int); select 2; select n from x");
    expect(recorder.results.map(({ result, rows }) => [result, rows])).toEqual([
      [undefined, [["1"]]],
      [2, [["2"]]],
    ]);
  });

  test("extended: plain binary values read as text, others as their size; undescribed ones too, by Bind's formats", async () => {
    const text = "select 7, true, 2.5::float8, 'x'::text, '0a0b0c0d-0000-0000-0000-000000000001'::uuid, now(), '{\"a\": 1}'::jsonb";
    const row = ["7", "t", "2.5", "x", "0a0b0c0d-0000-0000-0000-000000000001", { bytes: 8 }, '{"a": 1}'];
    client.send(parse({ text }), bind({ binary: true }), describeMessage({ type: "P" }), execute({}), sync());
    expect(letters(await client.until("Z"))).toBe("12TDCZ");
    expect(recorder.results).toMatchObject([{ rows: [row] }]);
    client.send(parse({ text: "select 7::int4, 'x'" }), bind({ binary: false }), execute({}), sync());
    expect(letters(await client.until("Z"))).toBe("12DCZ");
    expect(recorder.results[1]).toMatchObject({ columns: [], rows: [["7", "x"]] });
  });

  test("a portal read in parts has one result a part", async () => {
    client.send(parse({ text: "select i from generate_series(1, 5) i" }), bind({}), execute({ rows: 2 }), execute({ rows: 2 }), sync());
    expect(letters(await client.until("Z"))).toBe("12DDsDDsZ");
    expect(recorder.results.map(({ rows }) => rows)).toEqual([
      [["1"], ["2"]],
      [["3"], ["4"]],
    ]);
  });

  test("copy data by line; binary ones by size", async () => {
    await client.query("copy (select i, 'a@example.com' from generate_series(1, 3) i) to stdout");
    expect(recorder.results).toMatchObject([{ columns: [{ name: "COPY" }], rows: [["1\t«email»"], ["2\t«email»"], ["3\t«email»"]] }]);
    await client.query("copy (select 1) to stdout binary");
    expect(recorder.results[1]?.rows[0]).toEqual([{ bytes: expect.any(Number) as number }]);
  });

  test("what is recorded before an error stays; a recorder that cannot take it fails nothing", async () => {
    const failing = await client.query("select 1 / (3 - i) from generate_series(1, 3) i");
    expect(errorOf(failing)).toMatchObject({ C: "22012" });
    expect(recorder.results).toMatchObject([{ rows: [["0"], ["1"]] }]);
    const full = vi.spyOn(recorder, "result").mockImplementation(() => {
      throw new Error("no space");
    });
    const answer = await client.query("select i from generate_series(1, 200) i");
    expect(full).toHaveBeenCalled();
    full.mockRestore();
    expect(firstColumn(answer)).toHaveLength(200);
  });
});

test("none: results pass, and nothing of them is recorded", async () => {
  const { client, recorder } = await session("none");
  expect(firstColumn(await client.query("select 'kept nowhere'"))).toEqual(["kept nowhere"]);
  expect(recorder.results).toEqual([]);
  expect(recorder.outcomes).toHaveLength(1);
});

test("full: all rows in order, in events of bounded size", async () => {
  const { client, recorder } = await session("full");
  await client.query("select i, repeat('y', 100) from generate_series(1, 12345) i");
  const numbers = recorder.results.flatMap(({ rows }) => rows.map(([n]) => Number(n)));
  expect(numbers).toEqual(Array.from({ length: 12_345 }, (_, i) => i + 1));
  expect(recorder.results.map(({ from = 0 }) => from)).toEqual(recorder.results.map((_, i) => i * 1000));
  expect(recorder.results.some(({ truncated }) => truncated)).toBe(false);
});
