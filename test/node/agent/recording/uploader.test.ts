/** Segments reach the gateway in order, whatever the gateway does meanwhile; the file goes only after the last one. */
import { existsSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { pino } from "pino";
import { recover } from "../../../../tunnel-agent/recording/recover.ts";
import { Uploader, type PutResult } from "../../../../tunnel-agent/recording/uploader.ts";
import { bench, command, newSession, recoverOptions, verifyLog, type Bench } from "../support/recordings.ts";

let b: Bench;
let uploader: Uploader;
let stored: Map<string, Buffer>;
let order: string[];
/** What the gateway answers to the next puts; stored when empty. */
let answers: PutResult[];

beforeEach(() => {
  b = bench();
  stored = new Map();
  order = [];
  answers = [];
  uploader = new Uploader({
    spool: b.spool,
    put: (session, number, body) => {
      const answer = answers.shift() ?? { kind: "stored" };
      if (answer.kind === "stored") {
        stored.set(`${session}/${number}`, body);
        order.push(`${session}/${number}`);
      }
      return Promise.resolve(answer);
    },
    log: pino({ level: "silent" }),
    random: () => 0,
  });
});
afterEach(() => {
  uploader.stop();
  b.remove();
});

/** A sealed recording of several segments. */
function recorded(): string {
  const session = newSession();
  const recording = b.begin(session);
  for (let n = 0; n < 3; n += 1) recording.command(command("x".repeat(600_000)));
  recording.end({ code: "session_closed", message: "The session ended." });
  return session;
}

const whole = (session: string): string => {
  const parts: Buffer[] = [];
  for (let n = 0; stored.has(`${session}/${n}`); n += 1) parts.push(stored.get(`${session}/${n}`) ?? Buffer.alloc(0));
  return Buffer.concat(parts).toString("utf8");
};

test("every segment once, in order within a session, then the file goes", async () => {
  const sessions = [recorded(), recorded(), recorded()];
  const logs = sessions.map((session) => b.log(session));
  for (const segment of b.segments) uploader.add(segment);
  expect(uploader.backlog.segments).toBe(12);
  await expect(uploader.drain(10_000)).resolves.toBe(true);
  for (const [index, session] of sessions.entries()) {
    expect(whole(session)).toBe(logs[index]);
    expect(order.filter((name) => name.startsWith(session))).toEqual([0, 1, 2, 3].map((n) => `${session}/${n}`));
    expect(existsSync(b.spool.path(session))).toBe(false);
  }
  expect(b.spool.bytes).toBe(0);
});

test("failures are tried again, and no segment overtakes another", async () => {
  const session = recorded();
  answers = [
    { kind: "unavailable", reason: "HTTP 503" },
    { kind: "stored" },
    { kind: "refused", reason: "not_found" },
    { kind: "unavailable", reason: "ECONNRESET" },
  ];
  for (const segment of b.segments) uploader.add(segment);
  await expect(uploader.drain(10_000)).resolves.toBe(true);
  expect(order).toEqual([0, 1, 2, 3].map((n) => `${session}/${n}`));
  expect(verifyLog(whole(session), session)).toMatchObject({ ok: true });
});

test("what was not acknowledged stays in the spool, and a restart sends all of it again", async () => {
  const session = recorded();
  answers = [{ kind: "stored" }, { kind: "unavailable", reason: "HTTP 503" }];
  for (const segment of b.segments) uploader.add(segment);
  await expect(uploader.drain(50)).resolves.toBe(false);
  uploader.stop();
  expect(existsSync(b.spool.path(session))).toBe(true);
  const first = stored.get(`${session}/0`);
  const found = recover(b.spool, session, recoverOptions);
  const next = new Uploader({
    spool: b.spool,
    put: (id, number, body) => {
      stored.set(`${id}/${number}`, body);
      return Promise.resolve({ kind: "stored" });
    },
    log: pino({ level: "silent" }),
    random: () => 0,
  });
  for (const segment of found?.segments ?? []) next.add(segment);
  await expect(next.drain(10_000)).resolves.toBe(true);
  expect(stored.get(`${session}/0`)).toEqual(first);
  expect(verifyLog(whole(session), session)).toMatchObject({ ok: true });
  next.stop();
});

test("when the gateway is back, what waits goes at once", async () => {
  const session = recorded();
  answers = Array.from({ length: 1 }, () => ({ kind: "unavailable", reason: "ECONNREFUSED" }) as const);
  for (const segment of b.segments) uploader.add(segment);
  await new Promise((resolve) => setImmediate(resolve));
  while (answers.length > 0) await new Promise((resolve) => setImmediate(resolve));
  uploader.retryNow();
  await expect(uploader.drain(10_000)).resolves.toBe(true);
  expect(whole(session)).not.toBe("");
});
