/** What is left of a recording after the death of the process, closed honestly at the next start (invariant 6). */
import { appendFileSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { RecordingEvent } from "../../../../protocol/recording/event.ts";
import { recover } from "../../../../tunnel-agent/recording/recover.ts";
import { bench, command, newSession, recoverOptions, verifyLog, type Bench } from "../support/recordings.ts";

let b: Bench;
beforeEach(() => {
  b = bench();
});
afterEach(() => b.remove());

const events = (session: string): RecordingEvent[] =>
  b
    .log(session)
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as RecordingEvent);

/** A session that was killed with one command answered, one not, and one denied. */
function killed(): string {
  const session = newSession();
  const recording = b.begin(session);
  recording.outcome({ command: recording.command(command("select 1")), status: "ok" });
  recording.command(command("update orders set state = 'paid'"));
  recording.command({ ...command("drop table orders"), decision: "deny", policies: [], reason: "denied" });
  recording.abandon();
  return session;
}

describe("an unsealed spool file", () => {
  test("gets outcomes, a gap, the end and a seal, and verifies", () => {
    const session = killed();
    const found = recover(b.spool, session, recoverOptions);
    expect(found).toMatchObject({ session, repaired: true, damaged: 0, end: { code: "session_lost" } });
    expect(verifyLog(b.log(session), session)).toMatchObject({ ok: true });
    const tail = events(session).slice(-5);
    expect(tail.map((event) => event.type)).toEqual(["outcome", "outcome", "gap", "session.end", "seal"]);
    expect(tail[0]).toMatchObject({ command: 2, status: "unknown" });
    expect(tail[1]).toMatchObject({ command: 3, status: "refused" });
  });

  test("its segments are those of before, and the rest", () => {
    const session = newSession();
    const recording = b.begin(session);
    recording.command(command("x".repeat(600_000)));
    recording.command(command("select 1"));
    recording.abandon();
    const before = [...b.segments];
    const found = recover(b.spool, session, recoverOptions);
    expect(found?.segments.slice(0, 1)).toEqual(before);
    expect(found?.segments).toHaveLength(2);
    expect(found?.segments[1]).toMatchObject({ number: 1, from: before[0]?.to, to: statSync(b.spool.path(session)).size, last: true });
  });

  test("torn at every byte of its last line: that line goes, the rest stays, and the gap says so", () => {
    const session = killed();
    const whole = readFileSync(b.spool.path(session));
    const lastLine = whole.lastIndexOf(10, whole.length - 2) + 1;
    for (let length = lastLine; length < whole.length; length += 1) {
      writeFileSync(b.spool.path(session), whole.subarray(0, length));
      const found = recover(b.spool, session, recoverOptions);
      expect(found).toMatchObject({ repaired: true, damaged: 0 });
      expect(verifyLog(b.log(session), session).ok).toBe(true);
      const gap = events(session).find((event) => event.type === "gap");
      expect(gap?.note.includes("torn last line")).toBe(length > lastLine);
    }
  });

  test("the process dies again inside the recovery: the next one finishes it", () => {
    const session = killed();
    recover(b.spool, session, recoverOptions);
    const sealed = readFileSync(b.spool.path(session));
    const original = sealed.indexOf('"type":"gap"');
    for (let length = original; length < sealed.length; length += 37) {
      writeFileSync(b.spool.path(session), sealed.subarray(0, length));
      recover(b.spool, session, recoverOptions);
      expect(verifyLog(b.log(session), session).ok).toBe(true);
    }
  });
});

describe("a spool file that is not what the agent wrote", () => {
  test("a changed line: the log ends before it, the file as found is kept", () => {
    const session = killed();
    const path = b.spool.path(session);
    const found = readFileSync(path, "utf8").replace("state = 'paid'", "state = 'void'");
    writeFileSync(path, found);
    const result = recover(b.spool, session, recoverOptions);
    expect(result?.damaged).toBeGreaterThan(0);
    expect(readFileSync(path.replace(".ndjson", ".damaged"), "utf8")).toBe(found);
    expect(verifyLog(b.log(session), session).ok).toBe(true);
    expect(b.log(session)).not.toContain("void");
    expect(events(session).find((event) => event.type === "gap")?.note).toContain("did not fit the chain");
  });

  test("lines after the seal are set aside", () => {
    const session = newSession();
    const recording = b.begin(session);
    recording.end({ code: "session_closed", message: "The session ended." });
    const good = b.log(session);
    appendFileSync(b.spool.path(session), '{"more":true}\n');
    expect(recover(b.spool, session, recoverOptions)).toMatchObject({ repaired: false, damaged: 14 });
    expect(b.log(session)).toBe(good);
  });

  test("without a whole session.start it goes: nothing can have run", () => {
    const session = killed();
    truncateSync(b.spool.path(session), 20);
    expect(recover(b.spool, session, recoverOptions)).toBeNull();
    expect(existsSync(b.spool.path(session))).toBe(false);
  });
});

test("a sealed file is only offered for upload again", () => {
  const session = newSession();
  const recording = b.begin(session);
  recording.command(command("select 1"));
  recording.end({ code: "session_killed", message: "The session was ended by an administrator." });
  const before = b.log(session);
  const found = recover(b.spool, session, recoverOptions);
  expect(found).toMatchObject({ repaired: false, end: { code: "session_killed" } });
  expect(found?.segments).toEqual(b.segments);
  expect(b.log(session)).toBe(before);
});
