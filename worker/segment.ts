/**
 * Checks one segment of a recording before it is stored: every line is an event of the schema, of this session and
 * its agent, hashed as written and chained to the line before; signatures fit the agent's key. Joining with the
 * neighbouring segments is checked by `joins`, since they may arrive in any order.
 *
 * Guarantees that what R2 holds was said by the session's own agent and hangs together. It does not prove that a
 * recording is whole: `sallyport sessions verify` does that over all of it.
 */
import { createHash } from "node:crypto";
import { FIRST_PREV, RecordingEvent, signedText } from "../protocol/recording/event.ts";
import { MAX_EVENT_BYTES } from "../protocol/limits.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import type { Neighbours, SegmentFacts } from "../store/segments.ts";

/** What the segment must be about. */
export interface ExpectedRecording {
  readonly session: string;
  readonly agent: string;
  /** `x` of the agent's Ed25519 JWK. */
  readonly public_key: string;
  readonly identity: string;
  readonly target: string;
}

export interface ParsedSegment extends SegmentFacts {
  readonly events: readonly RecordingEvent[];
}

const HASH = /,"hash":"([0-9a-f]{64})"\}$/;
const utf8 = new TextEncoder();

/** Errors are sentences that name the line, from 1, and repeat nothing of it. */
export async function parseSegment(bytes: Uint8Array<ArrayBuffer>, expected: ExpectedRecording): Promise<Result<ParsedSegment, string>> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return err("not UTF-8");
  }
  if (!text.endsWith("\n")) return err("the segment does not end with a whole line");
  const key = await crypto.subtle.importKey("jwk", { kty: "OKP", crv: "Ed25519", x: expected.public_key }, "Ed25519", false, ["verify"]);
  const events: RecordingEvent[] = [];
  for (let from = 0; from < text.length;) {
    const to = text.indexOf("\n", from);
    const number = events.length + 1;
    const parsed = parseLine(text.slice(from, to));
    if (!parsed.ok) return err(`line ${number}: ${parsed.error}`);
    const event = parsed.value;
    const wrong = misplaced(event, events.at(-1), expected);
    if (wrong !== undefined) return err(`line ${number}: ${wrong}`);
    if ((event.type === "checkpoint" || event.type === "seal") && !(await signatureFits(event, key)))
      return err(`line ${number}: its signature does not fit`);
    events.push(event);
    from = to + 1;
  }
  const [first] = events;
  const last = events.at(-1);
  if (first === undefined || last === undefined) return err("the segment is empty");
  return ok({
    events,
    first_seq: first.seq,
    last_seq: last.seq,
    first_prev: first.prev,
    last_hash: last.hash,
    sealed: last.type === "seal",
  });
}

/** Well-formed UTF-8 decodes and encodes to the same bytes, so the line's text stands for what was hashed. */
function parseLine(line: string): Result<RecordingEvent, string> {
  if (line.length * 3 > MAX_EVENT_BYTES && utf8.encode(line).length > MAX_EVENT_BYTES) return err(`longer than ${MAX_EVENT_BYTES} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return err("not JSON");
  }
  const parsed = RecordingEvent.safeParse(json);
  if (!parsed.success) return err(`not an event: ${parsed.error.issues[0]?.path.join(".") ?? ""} does not fit`);
  const event = parsed.data;
  const written = HASH.exec(line);
  // The hash that was parsed must be the one at the end, not an earlier key of the same name.
  if (written === null || written[1] !== event.hash) return err("does not end with its hash");
  // Synchronous: there are thousands of short lines, and a promise for each costs more than its hash.
  if (createHash("sha256").update(line.slice(0, -written[0].length)).digest("hex") !== event.hash) return err("its hash does not fit");
  return ok(event);
}

/** What is wrong with a well-formed event in this place, but for its signature. */
function misplaced(event: RecordingEvent, before: RecordingEvent | undefined, expected: ExpectedRecording): string | undefined {
  if (event.session !== expected.session) return "of another session";
  if (before !== undefined) {
    if (event.seq !== before.seq + 1) return "its seq does not follow";
    if (event.prev !== before.hash) return "its prev is not the hash before it";
    if (before.type === "seal") return "stands after the seal";
    if ((before.type === "session.end") !== (event.type === "seal")) return "the seal follows session.end and nothing else does";
  }
  if ((event.seq === 0) !== (event.type === "session.start")) return "session.start is the first event and only that";
  if ((event.seq === 0) !== (event.prev === FIRST_PREV)) return "the first event's prev is zeros and only that one's";
  if (event.type === "session.start") {
    const { agent, identity, target } = expected;
    if (event.agent !== agent || event.identity !== identity || event.target !== target) {
      return "its agent, identity or target is not the session's";
    }
  }
  if ((event.type === "checkpoint" || event.type === "seal") && event.agent !== expected.agent) return "signed by another agent";
  return undefined;
}

async function signatureFits(event: Extract<RecordingEvent, { type: "checkpoint" | "seal" }>, key: CryptoKey): Promise<boolean> {
  const signature = base64url(event.signature);
  const text = utf8.encode(signedText(event.type, event.session, event.seq, event.prev));
  return signature !== null && (await crypto.subtle.verify("Ed25519", key, signature, text));
}

/** Whether segment `n` continues what is known of its neighbours. Errors are sentences. */
export function joins(n: number, segment: SegmentFacts, { before, after, sealedAt }: Neighbours): Result<null, string> {
  if ((n === 0) !== (segment.first_seq === 0)) return err("segment 0 holds event 0, and no other does");
  if (sealedAt !== null && n > sealedAt) return err(`the recording was sealed in segment ${sealedAt}`);
  if (before !== null && !follows(segment, before)) return err(`it does not continue segment ${n - 1}`);
  if (after !== null && !follows(after, segment)) return err(`segment ${n + 1} does not continue it`);
  return ok(null);
}

const follows = (later: SegmentFacts, earlier: SegmentFacts): boolean =>
  later.first_seq === earlier.last_seq + 1 && later.first_prev === earlier.last_hash && !earlier.sealed;

export const hex = (bytes: ArrayBuffer): string => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

function base64url(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(text) || text.length % 4 === 1) return null;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
