/** PG-57 and its like: targets and clients that lie, break off or talk nonsense. Nothing passes raw, nothing throws, nothing hangs. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { int32, message, serialize } from "../raw-client.ts";
import { errorOf, letters, messagesOf, Rig, say } from "./rig.ts";

const { parse, bind, execute, sync, query } = serialize;

/** What the gateway itself may say in a refusal. */
const FATAL = { S: "FATAL", C: "08P01" };

describe("PG-57 a target that breaks the protocol", () => {
  const idle: Record<string, Buffer> = {
    "a row nobody asked for": say.row("secret"),
    "a second ReadyForQuery": say.ready(),
    "an error outside of any command": say.error("42P01"),
    "copy data": message("d", "secret"),
    CopyInResponse: say.copyIn,
    "CopyBothResponse (replication)": message("W", Buffer.from([0, 0, 0])),
    Authentication: message("R", int32(3)),
    BackendKeyData: message("K", int32(1), int32(2)),
    FunctionCallResponse: message("V", int32(-1)),
    NegotiateProtocolVersion: message("v", int32(196_608), int32(0)),
    "an unknown type": message("?", "secret"),
    "a length below four": Buffer.from("Z\0\0\0\u0003"),
    "a negative length": Buffer.from([0x5a, 0xff, 0xff, 0xff, 0xff]),
    "a description of 600 KiB": Buffer.concat([Buffer.from("T"), int32(600 * 1024)]),
    "a notice without SQLSTATE": message("N", "SNOTICE\0Msecret\0\0"),
  };
  test.each(Object.entries(idle))("while idle: %s", (_what, bytes) => {
    const rig = new Rig().backend(bytes);
    const said = rig.toClient();
    expect(letters(said)).toBe("E");
    expect(errorOf(said)).toMatchObject(FATAL);
    expect(said.includes("secret")).toBe(false);
    expect(rig.end).toBeDefined();
  });

  const amid: Record<string, Buffer[]> = {
    "a row before its description": [say.row("secret")],
    "a row with other columns": [say.columns("a", "b"), say.row("secret")],
    "a field of length -2": [say.columns("a"), message("D", Buffer.from([0, 1]), int32(-2))],
    "a field longer than the row": [say.columns("a"), message("D", Buffer.from([0, 1]), int32(99), "secret")],
    "bytes after the last field": [say.columns("a"), message("D", Buffer.from([0, 1]), int32(-1), "secret")],
    "an error without SQLSTATE": [message("E", "SERROR\0Msecret\0\0")],
    "an error with a malformed SQLSTATE": [message("E", "SERROR\0C4\0Msecret\0\0")],
    "a tag that is no tag": [say.complete("secret=1")],
    "two results for one statement": [say.complete("SELECT 1"), say.complete("DROP TABLE")],
    "ready before any result": [say.ready()],
    "an answer of another message": [say.bound],
    "a copy that was not asked for": [say.copyIn],
    "a status that does not exist": [say.columns("a"), say.complete("SELECT 0"), message("Z", "X")],
    "an empty query": [message("I")],
  };
  test.each(Object.entries(amid))("PG-57 amid a Query: %s", (_what, parts) => {
    const rig = new Rig().client(query("select 1")).backend(...parts);
    const said = rig.toClient();
    expect(errorOf(said)).toMatchObject(FATAL);
    expect(said.includes("secret")).toBe(false);
    expect(rig.end).toMatchObject({ abandon: true });
    expect(rig.recorder.outcomes).toMatchObject([{ status: "unknown" }]);
    expect(rig.backend(say.row("secret")).client(query("select 2")).toClient()).toHaveLength(0);
  });

  test("PG-45 one statement that the target answers as two ends the connection", () => {
    const rig = new Rig().client(query("select 1; select 2")).backend(say.columns("a"), say.complete("SELECT 0"), say.ready());
    expect(errorOf(rig.toClient())).toMatchObject(FATAL);
  });

  test("PG-45 a drift of client_encoding or standard_conforming_strings is fatal", () => {
    for (const [name, value] of [
      ["client_encoding", "SJIS"],
      ["standard_conforming_strings", "off"],
    ] as const) {
      expect(errorOf(new Rig().backend(say.status(name, value)).toClient())).toMatchObject({ S: "FATAL", C: "0A000" });
    }
  });

  test("PG-25 notifications are dropped, unless policy allowed LISTEN", () => {
    const notification = message("A", int32(77), "channel\0hi\0");
    expect(new Rig().backend(notification).toClient()).toHaveLength(0);
    const refused = new Rig({ rule: (action) => (action === "pg:listen" ? "deny" : "allow") }).client(query("listen channel"));
    refused.toClient();
    expect(refused.backend(notification).toClient()).toHaveLength(0);
    const rig = new Rig().client(query("listen channel")).backend(say.complete("LISTEN"), say.ready());
    rig.toClient();
    expect(rig.backend(notification).toClient()).toEqual(message("A", int32(0), "channel\0hi\0"));
  });

  test("the target's FATAL is passed on, filtered, and ends it", () => {
    const rig = new Rig().backend(say.error("57P01", "terminating connection", "FATAL"));
    expect(errorOf(rig.toClient())).toMatchObject({ S: "FATAL", C: "57P01", M: "terminating connection" });
    expect(rig.end).toBeDefined();
  });
});

test("PG-57 any bytes from the target, in any pieces, whatever is due: messages of ours or of its due ones, never a throw", () => {
  const known = fc.constantFrom(
    say.ready(),
    say.ready("T"),
    say.columns("a"),
    say.row("x"),
    say.complete("SELECT 1"),
    say.error("22012"),
    say.notice("hm"),
    say.parsed,
    say.bound,
    say.noData,
    say.suspended,
    say.copyIn,
    say.copyOut,
    say.copyDone,
    message("d", "data"),
    say.status("TimeZone", "UTC"),
  );
  const noise = fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes));
  const requests = fc.constantFrom(
    query("select 1"),
    query("copy t from stdin"),
    Buffer.concat([parse({ text: "select 1" }), bind({}), execute({}), sync()]),
    Buffer.concat([parse({ text: "drop table t" }), sync()]),
    Buffer.alloc(0),
  );
  fc.assert(
    fc.property(
      requests,
      fc.array(fc.oneof({ weight: 4, arbitrary: known }, { weight: 1, arbitrary: noise })),
      fc.nat(9),
      (request, parts, size) => {
        const rig = new Rig({ rule: (action) => (action === "pg:drop" ? "deny" : "allow") }).client(request);
        const bytes = Buffer.concat(parts);
        for (let at = 0; at < bytes.length; at += size + 1) rig.backend(bytes.subarray(at, at + size + 1));
        const said = messagesOf(rig.toClient());
        expect(said.every(({ type }) => "TDCEINSZGHcd12ns".includes(type))).toBe(true);
        expect(rig.end === undefined || rig.machine.ended).toBe(true);
      },
    ),
    { numRuns: 1500 },
  );
});

describe("a client that talks nonsense", () => {
  test.each([
    ["an unknown type", message("?", "x")],
    ["a backend's message", message("T", "x")],
    ["a password out of season", message("p", "x\0")],
    ["a length below four", Buffer.from("Q\0\0\0\u0003")],
    ["a negative length", Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff])],
    ["Sync with a body", message("S", "x")],
    ["a name of 9 KiB", serialize.describe({ type: "S", name: "n".repeat(9000) })],
    ["text that is not UTF-8", message("Q", Buffer.from([0xff, 0]))],
  ])("%s: FATAL 08P01, nothing forwarded", (_what, bytes) => {
    const rig = new Rig().client(bytes);
    expect(errorOf(rig.toClient())).toMatchObject(FATAL);
    expect(letters(rig.toTarget())).toBe("X");
  });

  test("any bytes, in any pieces: only messages of known types reach the target, never a throw", () => {
    const known = fc.constantFrom(
      query("select 1"),
      query("begin"),
      query("copy t from stdin"),
      query("not sql"),
      parse({ text: "select $1" }),
      parse({ name: "s", text: "select 1" }),
      bind({}),
      bind({ statement: "s" }),
      execute({}),
      sync(),
      serialize.flush(),
      serialize.describe({ type: "S", name: "s" }),
      serialize.close({ type: "S", name: "s" }),
      serialize.copyDone(),
      message("d", "1\n"),
      message("F", "whatever"),
    );
    const noise = fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes));
    const answers = fc.constantFrom(say.ready(), say.parsed, say.bound, say.complete("SELECT 1"), say.error("22012"), say.copyIn);
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.tuple(fc.constant("client" as const), known) },
      { weight: 1, arbitrary: fc.tuple(fc.constant("client" as const), noise) },
      { weight: 4, arbitrary: fc.tuple(fc.constant("backend" as const), answers) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.nat(20), (steps, size) => {
        const rig = new Rig();
        for (const [side, bytes] of steps) {
          for (let at = 0; at < bytes.length; at += size + 1) rig[side](bytes.subarray(at, at + size + 1));
        }
        const sent = messagesOf(rig.toTarget());
        expect(sent.every(({ type }) => "QPBDECHSXdcf".includes(type))).toBe(true);
        const forwarded = sent.filter(({ type }) => type === "Q" || type === "B").length;
        expect(rig.recorder.commands.filter(({ decision }) => decision === "allow").length).toBeGreaterThanOrEqual(forwarded);
      }),
      { numRuns: 1000 },
    );
  });
});
