/** GW-21: whatever is done to a stored recording without the agent's key, verification finds it. */
import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { signedText, type RecordingEvent } from "../../../../protocol/recording/event.ts";
import { bench, command, newSession, verifyLog, verifyOptions, type Bench } from "../support/recordings.ts";
import { verifyRecording } from "../../../../protocol/recording/verify.ts";

let b: Bench;
const session = newSession();
let log = "";
let lines: string[] = [];

beforeAll(() => {
  vi.useFakeTimers();
  b = bench();
  const recording = b.begin(session);
  recording.streamOpen({ stream: 1, user: "ci" });
  for (let n = 0; n < 12; n += 1) {
    const id = recording.command(command(`select ${n}, 'é "quoted" \\ line\nbreak'`));
    recording.outcome({ command: id, status: "ok", tag: "SELECT 1", rows: 1, ms: 0.5 });
    if (n === 5) recording.policy(2);
    // After a second a segment is closed with a checkpoint.
    if (n % 4 === 3) vi.advanceTimersByTime(1_000);
  }
  recording.streamClose({ stream: 1, bytes_in: 10, bytes_out: 20 });
  recording.end({ code: "session_closed", message: "The session ended." });
  log = b.log(session);
  lines = log.split("\n").slice(0, -1);
  vi.useRealTimers();
});
afterAll(() => b.remove());

const join = (parts: readonly string[]): string => parts.map((line) => `${line}\n`).join("");
const parse = (line: string): RecordingEvent => JSON.parse(line) as RecordingEvent;

/** What an attacker without the key can do: change lines, then compute seq, prev and hash anew. */
function rechain(parts: readonly string[]): string {
  let prev = "0".repeat(64);
  return join(
    parts.map((line, seq) => {
      const { hash: _hash, ...event } = parse(line);
      const text = JSON.stringify({ ...event, seq, prev }).slice(0, -1);
      prev = createHash("sha256").update(text).digest("hex");
      return `${text},"hash":"${prev}"}`;
    }),
  );
}

describe("an untouched recording", () => {
  test("verifies, with its checkpoints", () => {
    const result = verifyLog(log, session);
    expect(result).toMatchObject({ ok: true, events: lines.length, checkpoints: 3 });
  });

  test("computed anew without a change still verifies: the checks below find changes, not the computation", () => {
    expect(verifyLog(rechain(lines), session)).toMatchObject({ ok: true });
  });
});

describe("GW-21: tampering is found", () => {
  const at = () => fc.nat({ max: lines.length - 1 });

  test("any one character changed anywhere", () => {
    fc.assert(
      fc.property(fc.nat({ max: log.length - 1 }), fc.integer({ min: 32, max: 126 }), (position, code) => {
        const character = String.fromCharCode(code);
        fc.pre(log[position] !== character);
        const changed = log.slice(0, position) + character + log.slice(position + 1);
        expect(verifyLog(changed, session).ok).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  test("any event removed, and the place is named", () => {
    for (const index of lines.keys()) {
      const result = verifyLog(join(lines.toSpliced(index, 1)), session);
      expect(result.ok).toBe(false);
      if (result.ok) continue;
      expect(result.fault.kind).toBe(index === lines.length - 1 ? "unsealed" : "removed");
      expect(result.fault.seq).toBe(index);
    }
  });

  test("any two events swapped", () => {
    fc.assert(
      fc.property(at(), at(), (i, j) => {
        fc.pre(i !== j);
        const swapped = lines.with(i, lines[j] ?? "").with(j, lines[i] ?? "");
        const result = verifyLog(join(swapped), session);
        expect(result).toMatchObject({ ok: false, fault: { kind: "reordered", seq: Math.min(i, j) } });
      }),
      { numRuns: 40 },
    );
  });

  test("any event repeated", () => {
    for (const index of lines.keys()) {
      expect(verifyLog(join(lines.toSpliced(index, 0, lines[index] ?? "")), session).ok).toBe(false);
    }
  });

  test("cut off at any line or inside any line", () => {
    for (const index of lines.keys()) {
      const result = verifyLog(join(lines.slice(0, index)), session);
      expect(result).toMatchObject({ ok: false, fault: { kind: "unsealed" } });
    }
    fc.assert(
      fc.property(fc.nat({ max: log.length - 1 }), (length) => {
        expect(verifyLog(log.slice(0, length), session).ok).toBe(false);
      }),
      { numRuns: 40 },
    );
  });

  test("an event altered, removed or swapped with all hashes computed anew: the signature does not fit", () => {
    const tampered: string[][] = [];
    for (const index of lines.keys()) {
      if (index === 0 || index >= lines.length - 2) continue;
      tampered.push(lines.toSpliced(index, 1));
      tampered.push(lines.with(index, (lines[index] ?? "").replace('"at":1', '"at":2')));
    }
    tampered.push(lines.with(3, lines[4] ?? "").with(4, lines[3] ?? ""));
    for (const parts of tampered) {
      const result = verifyLog(rechain(parts), session);
      expect(result).toMatchObject({ ok: false, fault: { kind: "signature" } });
    }
  });

  test("what the last good signature covers is reported as proven", () => {
    const checkpoint = lines.findIndex((line) => parse(line).type === "checkpoint");
    const result = verifyLog(join(lines.with(checkpoint + 2, lines[checkpoint + 2]?.replace('"at":1', '"at":2') ?? "")), session);
    expect(result).toMatchObject({
      ok: false,
      proven: checkpoint + 1,
      fault: { kind: "altered", seq: checkpoint + 2, line: checkpoint + 3 },
    });
  });

  test("events after the seal, another session's log, another agent's signature", () => {
    expect(verifyLog(log + (lines[1] ?? "") + "\n", session)).toMatchObject({ ok: false, fault: { kind: "after-seal" } });
    expect(verifyLog(log, newSession())).toMatchObject({ ok: false, fault: { kind: "foreign", seq: 0 } });
    const stranger = verifyRecording(log, { ...verifyOptions(session), verifySignature: () => false });
    expect(stranger).toMatchObject({ ok: false, fault: { kind: "signature" }, proven: 0 });
  });

  test("a seal's signature does not pass as a checkpoint's", () => {
    const seal = parse(lines.at(-1) ?? "");
    expect(signedText("seal", session, seal.seq, seal.prev)).not.toBe(signedText("checkpoint", session, seal.seq, seal.prev));
  });
});
