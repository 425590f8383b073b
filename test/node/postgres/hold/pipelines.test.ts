/** Holds in pipelines of the extended protocol and in transactions, against a real server. */
import { describe, expect, test } from "vitest";
import { errorOf, firstColumn, int32, letters, serialize, statusOf } from "../raw-client.ts";
import { HoldRig, INSERT, pbe, quietly } from "./rig.ts";

const rig = HoldRig.declare();
const { parse, bind, execute, sync, describe: describeMessage } = serialize;

describe("pipelines", () => {
  test("Parse and Bind of a held statement: Parse is answered, Bind waits, and its first Execute runs by its consent", async () => {
    rig.client.send(pbe("insert into held values ($1)", ["7"]), sync());
    const asked = await rig.approvals.at(0);
    expect(asked.request.subject.statements).toEqual([{ text: "insert into held values ($1)", parameters: ["7"] }]);
    expect(await rig.rows()).toEqual([]);
    asked.settle("approved");
    const answer = await rig.client.until("Z");
    expect(quietly(answer)).toBe("12CZ");
    expect(await rig.rows()).toEqual([7]);
    expect(rig.approvals.asked).toHaveLength(1);
  });

  test("while it waits, nothing is locked: the transaction that Parse had opened is over", async () => {
    rig.client.send(pbe("update held set n = 2"), sync());
    await rig.approvals.at(0);
    await rig.direct("set lock_timeout = '2s'; alter table held add column m int");
    rig.approvals.last.settle("denied");
    expect(quietly(await rig.client.until("Z"))).toBe("1EZ");
  });

  test("a denial in a pipeline: what follows up to Sync is dropped, and what comes after is not", async () => {
    rig.client.send(pbe(INSERT), pbe("insert into t values (1)"), sync(), pbe("insert into t values (2)"), sync());
    (await rig.approvals.at(0)).settle("denied");
    expect(quietly(await rig.client.until("Z"))).toBe("1EZ");
    expect(quietly(await rig.client.until("Z"))).toBe("12CZ");
    expect([await rig.rows(), await rig.rows("t")]).toEqual([[], [2]]);
  });

  test("after an earlier statement of the same pipeline it is refused: that one's locks are kept (PG-49)", async () => {
    rig.client.send(pbe("insert into t values (1)"), pbe(INSERT), sync());
    const answer = await rig.client.until("Z");
    expect(quietly(answer)).toBe("12C1EZ");
    expect(errorOf(answer)).toMatchObject({ C: "42501", H: expect.stringContaining("open transaction") });
    expect([await rig.rows(), await rig.rows("t"), rig.approvals.asked.length]).toEqual([[], [], 0]);
  });

  test("after an earlier pipeline's Sync it is held, and that one's results come first", async () => {
    rig.client.send(pbe("select 5"), sync(), pbe(INSERT), pbe("insert into t values (1)"), sync());
    expect(firstColumn(await rig.client.until("Z"))).toEqual(["5"]);
    const asked = await rig.approvals.at(0);
    expect([await rig.rows(), await rig.rows("t")]).toEqual([[], []]);
    asked.settle("approved");
    expect(quietly(await rig.client.until("Z"))).toBe("12C12CZ");
    expect([await rig.rows(), await rig.rows("t")]).toEqual([[1], [1]]);
  });

  test("each later Bind, and each later Execute, is held anew; other parameters are another subject", async () => {
    rig.client.send(
      parse({ name: "s", text: "insert into held values ($1)" }),
      bind({ statement: "s", values: ["1"] }),
      execute({}),
      sync(),
    );
    (await rig.approvals.at(0)).settle("approved");
    await rig.client.until("Z");
    rig.client.send(bind({ statement: "s", values: ["2"] }), execute({}), execute({}), sync());
    const second = await rig.approvals.at(1);
    expect(second.request.subject.statements[0]?.parameters).toEqual(["2"]);
    second.settle("approved");
    const answer = await rig.client.until("Z");
    // The second Execute is amid a pipeline that has run something.
    expect(quietly(answer)).toBe("2CEZ");
    expect(errorOf(answer)).toMatchObject({ C: "42501" });
    expect(await rig.rows()).toEqual([1]);
  });

  test("a Parse that fails at the server drops the held Bind with it: nobody is asked, one error, one ready", async () => {
    rig.client.send(parse({ text: "insert into held values (1, 2, 3)" }), bind({}), execute({}), pbe("insert into t values (1)"), sync());
    expect(letters(await rig.client.until("Z"))).toBe("EZ");
    expect([rig.approvals.asked.length, await rig.rows("t")]).toEqual([0, []]);
    rig.client.send(pbe("insert into t values (3)"), sync());
    expect(letters(await rig.client.until("Z"))).toBe("12CZ");
  });

  test("Describe between Parse and Bind is answered", async () => {
    rig.client.send(
      parse({ text: "insert into held values ($1) returning n" }),
      describeMessage({ type: "S" }),
      bind({ values: ["4"] }),
      execute({}),
      sync(),
    );
    (await rig.approvals.at(0)).settle("approved");
    const answer = await rig.client.until("Z");
    expect(quietly(answer)).toBe("1tT2DCZ");
  });

  test("binary parameters and their types are part of what is asked", async () => {
    rig.client.send(parse({ text: "insert into held values ($1)", types: [23] }), bind({ values: [int32(9)] }), execute({}), sync());
    const asked = await rig.approvals.at(0);
    expect(asked.request.subject).toMatchObject({
      statements: [{ parameters: [{ hex: "00000009" }] }],
      environment: { "parameter types": "23" },
    });
    asked.settle("approved");
    await rig.client.until("Z");
    expect(await rig.rows()).toEqual([9]);
  });
});

describe("PG-49 transactions", () => {
  test("inside one a held statement is refused at once, and the transaction is aborted", async () => {
    await rig.client.query("begin; insert into t values (1)");
    const answer = await rig.client.query(INSERT);
    expect(errorOf(answer)).toMatchObject({ C: "42501", H: expect.stringContaining("@hold_in_transaction") });
    expect([statusOf(answer), rig.approvals.asked.length]).toEqual(["E", 0]);
    await rig.client.query("commit");
    expect(await rig.rows("t")).toEqual([]);
  });

  test("control: outside of one the same statement is held", async () => {
    await rig.hold();
    rig.approvals.last.settle("denied");
    await rig.client.until("Z");
  });

  test("BEGIN in the same pipeline counts", async () => {
    rig.client.send(pbe("begin"), sync(), pbe(INSERT), sync());
    await rig.client.until("Z");
    expect(errorOf(await rig.client.until("Z"))).toMatchObject({ C: "42501" });
    expect(rig.approvals.asked).toEqual([]);
  });

  test("where its policy allows it, it is held there, says so, and for a bounded time", async () => {
    await rig.client.query("begin; insert into t values (1)");
    const { asked } = await rig.hold("insert into locks values (1)");
    expect(asked.request).toMatchObject({ in_transaction: true, ttl: 300_000 });
    asked.settle("approved");
    const answer = await rig.client.until("Z");
    expect([letters(answer), statusOf(answer)]).toEqual(["CZ", "T"]);
    await rig.client.query("commit");
    expect([await rig.rows("locks"), await rig.rows("t")]).toEqual([[1], [1]]);
  });

  test("a denial there aborts it", async () => {
    await rig.client.query("begin; insert into t values (1)");
    const { asked } = await rig.hold("insert into locks values (1)");
    asked.settle("denied");
    expect(statusOf(await rig.client.until("Z"))).toBe("E");
    await rig.client.query("commit");
    expect([await rig.rows("locks"), await rig.rows("t")]).toEqual([[], []]);
  });

  test("amid a pipeline too: what ran before is answered first, what follows waits", async () => {
    rig.client.send(pbe("insert into t values (1)"), pbe("insert into locks values (1)"), pbe("insert into t values (2)"), sync());
    const asked = await rig.approvals.at(0);
    expect(quietly(await rig.client.until("C"))).toBe("12C");
    expect(asked.request.in_transaction).toBe(true);
    expect([await rig.rows("t"), await rig.rows("locks")]).toEqual([[], []]);
    asked.settle("approved");
    expect(quietly(await rig.client.until("Z"))).toBe("12C12CZ");
    expect([await rig.rows("t"), await rig.rows("locks")]).toEqual([[1, 2], [1]]);
  });
});
