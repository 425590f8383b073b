/**
 * Verifies a whole recording: order, hash chain, signatures, seal; and says what is wrong and where. Pure: SHA-256
 * and Ed25519 are arguments. One pass, constant memory until the first fault.
 *
 * Guarantees, against one who can write the stored log but has not the agent's key: any event altered, removed,
 * added or moved is found, also where the hashes were computed anew, since then a signature does not fit. A log cut
 * short is found, since it has no seal. It does not prove that the agent recorded what happened.
 */
import { FIRST_PREV, RecordingEvent, signedText } from "./event.ts";

export interface VerifyOptions {
  /** The session that the log must be of. */
  readonly session: string;
  /** SHA-256 of the text's UTF-8 bytes, lower-case hex. */
  readonly sha256: (text: string) => string;
  /** Whether `signature` (base64url, Ed25519) over `text` is by the key of the agent with this id. False for an unknown agent. */
  readonly verifySignature: (agent: string, text: string, signature: string) => boolean;
}

export type FaultKind =
  | "malformed"
  | "altered"
  | "removed"
  | "reordered"
  | "forged"
  | "foreign"
  | "signature"
  | "truncated"
  | "unsealed"
  | "after-seal";

export interface RecordingFault {
  readonly kind: FaultKind;
  /** Line of the log, from 1. */
  readonly line: number;
  /** The place in the chain that the fault is at, from 0. */
  readonly seq: number;
  /** One sentence for an auditor. */
  readonly message: string;
}

export type Verification =
  | { readonly ok: true; readonly events: number; readonly checkpoints: number; readonly agent: string; readonly lastHash: string }
  | {
      readonly ok: false;
      readonly fault: RecordingFault;
      /** Events up to the last good signature before the fault: these are proven. */
      readonly proven: number;
    };

const HASH = /,"hash":"([0-9a-f]{64})"\}$/;
/** Seqs after a fault that are kept to tell a moved event from a removed one. */
const LOOK_AHEAD = 100_000;

export class RecordingVerifier {
  readonly #o: VerifyOptions;
  #line = 0;
  #seq = 0;
  #prev = FIRST_PREV;
  #previousType: RecordingEvent["type"] | undefined;
  #agent: string | undefined;
  #checkpoints = 0;
  #proven = 0;
  #sealed = false;
  #fault: RecordingFault | undefined;
  /** After a `removed` fault: whether the missing event turns up later. */
  #found: { readonly from: number; readonly to: number; seen: number; left: number } | undefined;

  constructor(options: VerifyOptions) {
    this.#o = options;
  }

  /** The next line, without its newline. */
  line(text: string): void {
    this.#line += 1;
    if (this.#fault !== undefined) this.#lookFor(text);
    else this.#fault = this.#check(text);
  }

  /** After the last line. `complete` is false when the log's text did not end in a newline. */
  finish(complete = true): Verification {
    if (!complete) this.#fault ??= this.#at("truncated", "The last line is not whole: the log was cut short.");
    if (!this.#sealed) {
      this.#fault ??= this.#at("unsealed", "The log ends without a seal: it was cut short, or its session has not ended.");
    }
    if (this.#fault === undefined) {
      return { ok: true, events: this.#seq, checkpoints: this.#checkpoints, agent: this.#agent ?? "", lastHash: this.#prev };
    }
    let fault = this.#fault;
    if (this.#found !== undefined && this.#found.seen > 0) {
      fault = { ...fault, kind: "reordered", message: `Events are out of order: event ${this.#found.from} comes later in the log.` };
    }
    return { ok: false, fault, proven: this.#proven };
  }

  #at(kind: FaultKind, message: string, seq = this.#seq): RecordingFault {
    return { kind, line: this.#line, seq, message };
  }

  #check(text: string): RecordingFault | undefined {
    if (this.#sealed) return this.#at("after-seal", "There is a line after the seal.");
    const match = HASH.exec(text);
    if (match === null) return this.#at("malformed", "The line is not an event: it does not end in its hash.");
    const hash = match[1] ?? "";
    if (this.#o.sha256(text.slice(0, match.index)) !== hash)
      return this.#at("altered", "The event's text does not fit its hash: it was altered.");
    const event = parse(text);
    if (event === undefined || event.hash !== hash) return this.#at("malformed", "The line is not an event of this version's schema.");
    if (event.session !== this.#o.session) return this.#at("foreign", `The event belongs to another session: ${event.session}.`);
    if (event.seq > this.#seq) {
      this.#found = { from: this.#seq, to: event.seq, seen: 0, left: LOOK_AHEAD };
      const last = event.seq - 1;
      return this.#at("removed", last === this.#seq ? `Event ${last} is missing.` : `Events ${this.#seq} to ${last} are missing.`);
    }
    if (event.seq < this.#seq) return this.#at("reordered", `Event ${event.seq} stands where event ${this.#seq} belongs.`);
    if (event.prev !== this.#prev) {
      return this.#at(
        "forged",
        `Event ${event.seq} does not follow the one before it: one of the two was replaced and its hash computed anew.`,
      );
    }
    const fault = this.#checkPlace(event);
    if (fault !== undefined) return fault;
    this.#seq += 1;
    this.#prev = hash;
    this.#previousType = event.type;
    return undefined;
  }

  /** What the event's type demands of its place, and the signatures. */
  #checkPlace(event: RecordingEvent): RecordingFault | undefined {
    if ((event.seq === 0) !== (event.type === "session.start")) {
      return this.#at("forged", event.seq === 0 ? "The log does not begin with session.start." : "session.start stands inside the log.");
    }
    if (event.type === "session.start") this.#agent = event.agent;
    if (event.type === "seal" && this.#previousType !== "session.end") return this.#at("forged", "The seal does not follow session.end.");
    if (this.#previousType === "session.end" && event.type !== "seal")
      return this.#at("forged", "An event other than the seal follows session.end.");
    if (event.type !== "checkpoint" && event.type !== "seal") return undefined;
    if (event.agent !== this.#agent) return this.#at("signature", `The ${event.type} is by another agent than the recording.`);
    if (!this.#o.verifySignature(event.agent, signedText(event.type, event.session, event.seq, event.prev), event.signature)) {
      const since = this.#proven === 0 ? "the beginning" : `event ${this.#proven}`;
      return this.#at(
        "signature",
        `The ${event.type}'s signature does not fit: something since ${since} was changed and the hashes computed anew.`,
      );
    }
    this.#proven = event.seq + 1;
    if (event.type === "checkpoint") this.#checkpoints += 1;
    else this.#sealed = true;
    return undefined;
  }

  #lookFor(text: string): void {
    if (this.#found === undefined || this.#found.left === 0) return;
    this.#found.left -= 1;
    const event = parse(text);
    if (event !== undefined && event.seq >= this.#found.from && event.seq < this.#found.to) this.#found.seen += 1;
  }
}

function parse(text: string): RecordingEvent | undefined {
  try {
    const parsed = RecordingEvent.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** Verifies a log that is in memory as one text. */
export function verifyRecording(log: string, options: VerifyOptions): Verification {
  const verifier = new RecordingVerifier(options);
  const complete = log === "" || log.endsWith("\n");
  const lines = log.split("\n");
  if (complete) lines.pop();
  for (const line of lines) verifier.line(line);
  return verifier.finish(complete);
}
