/**
 * Checks one segment of a recording before it is stored: every line is an event of the schema, of this session and
 * its agent, hashed as written and chained to the line before; signatures fit the agent's key. Joining with the
 * neighbouring segments is checked by `joins`, since they may arrive in any order.
 *
 * Guarantees that what R2 holds was said by the session's own agent and hangs together. It does not prove that a
 * recording is whole: `sallyport sessions verify` does that over all of it.
 */
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
const LINE_FEED = 0x0a;

/** Errors are sentences that name the line, from 1, and repeat nothing of it. */
export async function parseSegment(bytes: Uint8Array<ArrayBuffer>, expected: ExpectedRecording): Promise<Result<ParsedSegment, string>> {
  if (bytes.length === 0 || bytes.at(-1) !== LINE_FEED) return err("the segment does not end with a whole line");
  const key = await crypto.subtle.importKey("jwk", { kty: "OKP", crv: "Ed25519", x: expected.public_key }, "Ed25519", false, ["verify"]);
  const events: RecordingEvent[] = [];
  for (let from = 0; from < bytes.length;) {
    const to = bytes.indexOf(LINE_FEED, from);
    const event = await parseLine(bytes.subarray(from, to), events.at(-1), expected, key);
    if (!event.ok) return err(`line ${events.length + 1}: ${event.error}`);
    events.push(event.value);
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

async function parseLine(
  line: Uint8Array<ArrayBuffer>,
  before: RecordingEvent | undefined,
  expected: ExpectedRecording,
  key: CryptoKey,
): Promise<Result<RecordingEvent, string>> {
  if (line.length > MAX_EVENT_BYTES) return err(`longer than ${MAX_EVENT_BYTES} bytes`);
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line);
    json = JSON.parse(text);
  } catch {
    return err("not JSON in UTF-8");
  }
  const parsed = RecordingEvent.safeParse(json);
  if (!parsed.success) return err(`not an event: ${parsed.error.issues[0]?.path.join(".") ?? ""} does not fit`);
  const event = parsed.data;
  const written = HASH.exec(text);
  // The hash that was parsed must be the one at the end, not an earlier key of the same name.
  if (written === null || written[1] !== event.hash) return err("does not end with its hash");
  // The regular expression matched ASCII at the end, so characters there are bytes.
  const hashed = line.subarray(0, line.length - written[0].length);
  if (hex(await crypto.subtle.digest("SHA-256", hashed)) !== event.hash) return err("its hash does not fit");
  return (await fault(event, before, expected, key)) ?? ok(event);
}

/** What is wrong with a well-formed event in this place. */
async function fault(
  event: RecordingEvent,
  before: RecordingEvent | undefined,
  expected: ExpectedRecording,
  key: CryptoKey,
): Promise<Result<never, string> | undefined> {
  if (event.session !== expected.session) return err("of another session");
  if (before !== undefined) {
    if (event.seq !== before.seq + 1) return err("its seq does not follow");
    if (event.prev !== before.hash) return err("its prev is not the hash before it");
    if (before.type === "seal") return err("stands after the seal");
    if ((before.type === "session.end") !== (event.type === "seal")) return err("the seal follows session.end and nothing else does");
  }
  if ((event.seq === 0) !== (event.type === "session.start")) return err("session.start is the first event and only that");
  if ((event.seq === 0) !== (event.prev === FIRST_PREV)) return err("the first event's prev is zeros and only that one's");
  if (event.type === "session.start") {
    const { agent, identity, target } = expected;
    if (event.agent !== agent || event.identity !== identity || event.target !== target) {
      return err("its agent, identity or target is not the session's");
    }
  }
  if (event.type === "checkpoint" || event.type === "seal") {
    if (event.agent !== expected.agent) return err("signed by another agent");
    const signature = base64url(event.signature);
    const text = new TextEncoder().encode(signedText(event.type, event.session, event.seq, event.prev));
    if (signature === null || !(await crypto.subtle.verify("Ed25519", key, signature, text))) return err("its signature does not fit");
  }
  return undefined;
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
