/** GW-20: what cannot be recorded does not run; what was recorded is there, in order, whole. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { MAX_EVENT_BYTES, SEGMENT_TARGET_BYTES } from "../../../../protocol/limits.ts";
import type { RecordingEvent } from "../../../../protocol/recording/event.ts";
import { recover } from "../../../../tunnel-agent/recording/recover.ts";
import { RecordingUnavailable } from "../../../../tunnel-agent/recording/recorder.ts";
import { RESERVE_BYTES, Spool } from "../../../../tunnel-agent/recording/spool.ts";
import { bench, command, newSession, recoverOptions, verifyLog, type Bench } from "../support/recordings.ts";

let b: Bench;
beforeEach(() => {
  vi.useFakeTimers();
  b = bench();
});
afterEach(() => {
  vi.useRealTimers();
  b.remove();
});

const typesOf = (log: string): string[] =>
  log
    .split("\n")
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as RecordingEvent).type);

describe("an event is in the file when its method returns", () => {
  test("each one, in order, with the numbers of commands", () => {
    const session = newSession();
    const recording = b.begin(session);
    expect(typesOf(b.log(session))).toEqual(["session.start"]);
    expect(recording.command(command("select 1"))).toBe(1);
    expect(typesOf(b.log(session))).toEqual(["session.start", "command"]);
    recording.outcome({ command: 1, status: "ok" });
    expect(recording.command(command("select 2"))).toBe(2);
    recording.end({ code: "session_closed", message: "The session ended." });
    expect(typesOf(b.log(session))).toEqual(["session.start", "command", "outcome", "command", "outcome", "session.end", "seal"]);
    expect(verifyLog(b.log(session), session)).toMatchObject({ ok: true });
    expect(statSync(b.spool.path(session)).mode & 0o777).toBe(0o600);
  });

  test("GW-22: one event is one line whatever its text holds, and says the same", () => {
    const session = newSession();
    const recording = b.begin(session);
    const text = `select 'a\n{"type":"seal"}\r\u0085\u2028\u2029 \u009b31m\u001b[31m \u202egnp.exe\u2066' -- é 日本 🐘`;
    recording.command(command(text));
    recording.end({ code: "session_closed", message: "The session ended." });
    const log = b.log(session);
    expect(log.split(/\r?\n|\r|[\u0085\u2028\u2029]/)).toHaveLength(6);
    expect(log).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/);
    const [, line = ""] = log.split("\n");
    expect(JSON.parse(line)).toMatchObject({ type: "command", text });
    expect(verifyLog(log, session)).toMatchObject({ ok: true });
  });

  test("nothing follows the end", () => {
    const recording = b.begin(newSession());
    recording.end({ code: "session_closed", message: "The session ended." });
    expect(() => recording.command(command("select 1"))).toThrow(RecordingUnavailable);
    recording.end({ code: "session_killed", message: "again" });
  });

  test("a session has one file: a second recording of it is refused", () => {
    const session = newSession();
    b.begin(session);
    expect(() => b.begin(session)).toThrow(RecordingUnavailable);
  });
});

describe("segments", () => {
  test("one is closed a second after its first event, with a checkpoint", () => {
    const session = newSession();
    const recording = b.begin(session);
    vi.advanceTimersByTime(999);
    expect(b.segments).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(b.segments).toEqual([{ session, number: 0, from: 0, to: b.log(session).length, last: false }]);
    vi.advanceTimersByTime(60_000);
    expect(b.segments).toHaveLength(1);
    recording.command(command("select 1"));
    vi.advanceTimersByTime(1_000);
    recording.end({ code: "session_closed", message: "The session ended." });
    expect(b.segments.map(({ number, last }) => [number, last])).toEqual([
      [0, false],
      [1, false],
      [2, true],
    ]);
    expect(typesOf(b.log(session))).toEqual(["session.start", "checkpoint", "command", "checkpoint", "outcome", "session.end", "seal"]);
  });

  test("one is closed at once when it is full; the segments are the file, without gap or overlap", () => {
    const session = newSession();
    const recording = b.begin(session);
    for (let n = 0; n < 6; n += 1) recording.command(command("x".repeat(SEGMENT_TARGET_BYTES / 3)));
    recording.end({ code: "session_closed", message: "The session ended." });
    expect(b.segments).toHaveLength(3);
    for (const [index, segment] of b.segments.entries()) expect(segment.from).toBe(b.segments[index - 1]?.to ?? 0);
    expect(b.segments.at(-1)?.to).toBe(b.log(session).length);
  });

  test("a long session's segments grow", () => {
    const recording = b.begin(newSession());
    for (let n = 0; n < 60; n += 1) {
      recording.policy(1);
      vi.advanceTimersByTime(1_000);
    }
    expect(b.segments).toHaveLength(60);
    recording.policy(1);
    vi.advanceTimersByTime(1_999);
    expect(b.segments).toHaveLength(60);
    vi.advanceTimersByTime(1);
    expect(b.segments).toHaveLength(61);
  });
});

test("a result stands before the outcome of its command, and both before the next event", () => {
  const session = newSession();
  const recording = b.begin(session);
  const number = recording.command(command("select 1"));
  recording.result({ command: number, columns: [{ name: "n", type: "integer" }], rows: [["1"]], truncated: false });
  recording.outcome({ command: number, status: "ok" });
  recording.command(command("select 2"));
  const types = b
    .log(session)
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as { type: string }).type);
  expect(types.slice(-4)).toEqual(["command", "result", "outcome", "command"]);
});

describe("the spool's cap", () => {
  test("refuses commands and sessions, lets begun work end in a seal, and takes new work once there is room", () => {
    b.remove();
    b = bench(20_000);
    const session = newSession();
    const recording = b.begin(session);
    let commands = 0;
    const fill = (): void => {
      for (;;) {
        recording.command(command("x".repeat(500)));
        commands += 1;
      }
    };
    expect(fill).toThrow(RecordingUnavailable);
    expect(commands).toBeGreaterThan(5);
    const size = b.spool.bytes;
    expect(size).toBeLessThanOrEqual(20_000);
    expect(() => b.begin(newSession())).toThrow("the spool holds its limit of 20000 bytes");
    // A result is left out where there is no room; the outcome after it is not.
    recording.result({ command: 1, columns: [{ name: "kept", type: "text" }], rows: [["y".repeat(2000)]], truncated: false });
    recording.outcome({ command: 1, status: "ok" });
    recording.end({ code: "session_closed", message: "The session ended." });
    expect(verifyLog(b.log(session), session)).toMatchObject({ ok: true });
    expect(b.spool.bytes).toBe(b.log(session).length);
    expect(b.log(session)).not.toContain("yyy");
    expect(b.log(session)).toContain('"outcome"');
    b.spool.remove(session);
    expect(b.spool.bytes).toBe(0);
    b.begin(newSession()).command(command("select 1"));
  });

  test("the reserve is bounded too", () => {
    b.remove();
    b = bench(1_000);
    const recording = b.begin(newSession());
    const flood = (): void => {
      for (let n = 0; n < 8; n += 1) recording.gap("x".repeat(3 * 1024 * 1024));
    };
    expect(flood).toThrow(RecordingUnavailable);
    expect(b.spool.bytes).toBeLessThanOrEqual(1_000 + RESERVE_BYTES);
  });

  test("an event larger than its limit is refused, and the log goes on without it", () => {
    const session = newSession();
    const recording = b.begin(session);
    expect(() => recording.command(command("x".repeat(MAX_EVENT_BYTES)))).toThrow(RecordingUnavailable);
    expect(recording.command(command("select 1"))).toBe(1);
    recording.end({ code: "session_closed", message: "The session ended." });
    expect(verifyLog(b.log(session), session)).toMatchObject({ ok: true });
  });
});

describe("a real full disk", () => {
  test("write errors in the middle of a line: refusal, the file stays whole, and it goes on when there is room", () => {
    // RLIMIT_FSIZE makes write(2) fail with EFBIG after a part, as ENOSPC does on a full disk.
    const support = join(import.meta.dirname, "../support/recordings.ts");
    const session = newSession();
    const program = `
      import { bench, command } from ${JSON.stringify(support)};
      process.on("SIGXFSZ", () => {});
      const b = bench();
      const recording = b.begin(${JSON.stringify(session)});
      let commands = 0, failures = 0, reason = "";
      for (let n = 0; n < 200; n += 1) {
        try { recording.command(command("x".repeat(900))); commands += 1; }
        catch (error) { if (error.name !== "RecordingUnavailable") throw error; failures += 1; reason = error.message; }
      }
      let ended = "";
      try { recording.end({ code: "session_closed", message: "x" }); } catch (error) { ended = error.name; }
      recording.abandon();
      console.log(JSON.stringify({ commands, failures, reason, ended, path: b.spool.path(${JSON.stringify(session)}) }));`;
    const limited = `ulimit -f 64; exec "${process.execPath}" --disable-warning=ExperimentalWarning --input-type=module-typescript -e "$PROGRAM"`;
    const child = spawnSync("bash", ["-c", limited], { env: { ...process.env, PROGRAM: program }, encoding: "utf8" });
    expect(child.stderr).toBe("");
    const { commands, failures, reason, ended, path } = JSON.parse(child.stdout) as {
      commands: number;
      failures: number;
      reason: string;
      ended: string;
      path: string;
    };
    expect(commands).toBeGreaterThan(20);
    expect(failures).toBeGreaterThan(100);
    expect(reason).toContain("EFBIG");
    expect(ended).toBe("RecordingUnavailable");
    const log = readFileSync(path, "utf8");
    expect(log.endsWith("\n")).toBe(true);
    expect(typesOf(log).filter((type) => type === "command")).toHaveLength(commands);
    // The next start, with room again, seals it.
    const directory = path.slice(0, path.lastIndexOf("/"));
    const spool = new Spool({
      directory,
      maxBytes: 1e9,
      fsync: true,
    });
    recover(spool, session, recoverOptions);
    const sealed = readFileSync(path, "utf8");
    expect(sealed.startsWith(log)).toBe(true);
    expect(typesOf(sealed).at(-1)).toBe("seal");
    expect(existsSync(path)).toBe(true);
  });
});
