/**
 * The writer's end of the hash chain of protocol/recording/event.ts: turns events into lines and keeps the place
 * in the chain. No I/O: a line counts only once `accept` is called, after it is in the spool, so that a failed
 * write leaves the chain where the file is. It does not validate events: the recorder's types do.
 */
import * as crypto from "node:crypto";
import { FIRST_PREV, signedText, type NewEvent } from "../../protocol/recording/event.ts";

/** One call where Node has it (from 20.12 and 21.7 on): half the time of an object, and every event pays it. */
const sha256: (text: string) => string =
  typeof crypto.hash === "function"
    ? (text) => crypto.hash("sha256", text, "hex")
    : (text) => crypto.createHash("sha256").update(text).digest("hex");

/**
 * Characters that JSON lets stand but that readers and terminals act on: line ends that are not \n (U+0085, U+2028,
 * U+2029), C1 controls, changes of writing direction. Escaped, one event is one line to every reader, and a log can be looked at.
 */
const ACTIVE = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;
const escapeActive = (json: string): string =>
  json.replace(ACTIVE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Signs text with the agent's Ed25519 key; base64url. */
export type Sign = (text: string) => string;

export interface Line {
  /** With its newline. */
  readonly bytes: Buffer;
  readonly hash: string;
}

export class EventChain {
  readonly #session: string;
  readonly #head: string;
  readonly #redact: (json: string) => string;
  #seq: number;
  #prev: string;

  /** Goes on after an existing log when `seq` and `prev` are given. `redact`: takes known credentials out of an event's JSON. */
  constructor(session: string, seq = 0, prev: string = FIRST_PREV, redact: (json: string) => string = (json) => json) {
    this.#session = session;
    this.#head = `{"v":1,"session":${JSON.stringify(session)},"seq":`;
    this.#seq = seq;
    this.#prev = prev;
    this.#redact = redact;
  }

  /** The place of the next event. */
  get seq(): number {
    return this.#seq;
  }

  /** `at`: ms since the epoch. */
  line(event: NewEvent, at: number): Line {
    const text = `${this.#head}${this.#seq},"at":${at},"prev":"${this.#prev}",${escapeActive(this.#redact(JSON.stringify(event))).slice(1, -1)}`;
    const hash = sha256(text);
    return { bytes: Buffer.from(`${text},"hash":"${hash}"}\n`), hash };
  }

  /** A checkpoint or seal for the chain as it stands. */
  signed(kind: "checkpoint" | "seal", agent: string, sign: Sign, at: number): Line {
    return this.line({ type: kind, agent, signature: sign(signedText(kind, this.#session, this.#seq, this.#prev)) }, at);
  }

  /** The line is in the log. */
  accept(line: Line): void {
    this.#seq += 1;
    this.#prev = line.hash;
  }
}
