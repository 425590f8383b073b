/** What recording tests share: a key, a spool in a fresh directory, a recording to write to, the log verified whole. */
import { createHash, generateKeyPairSync, sign, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mintSessionId } from "../../../../protocol/ids.ts";
import { verifyRecording, type Verification, type VerifyOptions } from "../../../../protocol/recording/verify.ts";
import type { EventOf } from "../../../../tunnel-agent/recording/recorder.ts";
import { SessionRecording, type RecordingStats, type Segment } from "../../../../tunnel-agent/recording/recording.ts";
import { Spool } from "../../../../tunnel-agent/recording/spool.ts";

export const AGENT = "agt_00000000000000000000000001";
const key = generateKeyPairSync("ed25519");
export const signText = (text: string): string => sign(null, Buffer.from(text), key.privateKey).toString("base64url");

export const newSession = (): string => mintSessionId((bytes) => crypto.getRandomValues(bytes));

export const verifyOptions = (session: string): VerifyOptions => ({
  session,
  sha256: (text) => createHash("sha256").update(text).digest("hex"),
  verifySignature: (agent, text, signature) =>
    agent === AGENT && verify(null, Buffer.from(text), key.publicKey, Buffer.from(signature, "base64url")),
});

export const verifyLog = (log: string, session: string): Verification => verifyRecording(log, verifyOptions(session));

export const SILENT_STATS: RecordingStats = { commands: () => {}, bytes: () => {}, failed: () => {} };

export const START: EventOf<"session.start"> = {
  target: "orders-db",
  protocol: "postgres",
  site: "dc1",
  agent: AGENT,
  identity: "orders-ci",
  workload: { provider: "github", issuer: "https://issuer.example", subject: "repo:1" },
  bundle: 1,
  deadline: 2_000_000_000_000,
};

export const command = (text: string): Omit<EventOf<"command">, "command" | "bundle"> => ({
  stream: 1,
  via: "simple",
  text,
  digest: createHash("sha256").update(text).digest("hex"),
  effects: [{ action: "pg:select", resource: "orders-db/public.orders" }],
  decision: "allow",
  policies: ["identity/orders-ci#grant-1"],
});

export interface Bench {
  readonly spool: Spool;
  readonly segments: Segment[];
  /** Begins a recording with its session.start. */
  begin(session: string): SessionRecording;
  /** The spool file's text. */
  log(session: string): string;
  remove(): void;
}

export function bench(maxBytes = 1024 * 1024 * 1024): Bench {
  const directory = mkdtempSync(join(tmpdir(), "sallyport-spool-"));
  const spool = new Spool({ directory, maxBytes, fsync: false });
  const segments: Segment[] = [];
  let clock = 1_790_000_000_000;
  return {
    spool,
    segments,
    begin: (session) => {
      const recording = new SessionRecording({
        session,
        target: "orders-db",
        agent: AGENT,
        file: spool.create(session),
        sign: signText,
        now: () => (clock += 1),
        bundle: () => 1,
        onSegment: (segment) => segments.push(segment),
        stats: SILENT_STATS,
        redact: (json) => json,
      });
      recording.start(START);
      return recording;
    },
    log: (session) => readFileSync(spool.path(session), "utf8"),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

export const recoverOptions = { agent: AGENT, sign: signText, now: (): number => 1_790_000_100_000 };
