/** Makes recordings as an agent writes them: chained, hashed as written, sealed with its key. */
import { base64url, type CryptoKey } from "jose";
import { FIRST_PREV, signedText, type NewEvent } from "../../../protocol/recording/event.ts";

async function sha256(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export interface Recorded {
  readonly session: string;
  readonly agent: string;
  readonly key: CryptoKey;
  readonly identity?: string;
  readonly target?: string;
}

const WORKLOAD = { provider: "github", issuer: "https://issuer.test", subject: "repo:shop" } as const;

export class RecordingWriter {
  readonly #of: Recorded;
  #seq = 0;
  #prev = FIRST_PREV;
  #commands = 0;

  constructor(of: Recorded) {
    this.#of = of;
  }

  /** One line, with its newline. `more` replaces fields, to make bad ones; the hash fits all the same. */
  async line(event: NewEvent, more: Record<string, unknown> = {}): Promise<string> {
    const { session } = this.#of;
    const text = JSON.stringify({ v: 1, session, seq: this.#seq, at: 2000 + this.#seq, prev: this.#prev, ...event, ...more }).slice(0, -1);
    this.#prev = await sha256(text);
    this.#seq += 1;
    return `${text},"hash":"${this.#prev}"}\n`;
  }

  start(more: Record<string, unknown> = {}): Promise<string> {
    const { agent, identity = "orders", target = "orders-db" } = this.#of;
    const facts = {
      target,
      protocol: "postgres",
      site: "north",
      agent,
      identity,
      workload: WORKLOAD,
      bundle: 1,
      deadline: 9_000_000_000_000,
    };
    return this.line({ type: "session.start", ...facts }, more);
  }

  command(text: string, more: Record<string, unknown> = {}): Promise<string> {
    const fixed = { stream: 1, via: "simple", digest: "d".repeat(64), bundle: 1, decision: "allow" as const, policies: ["p1"] };
    const effects = [{ action: "pg:select", resource: "orders-db/public.orders" }];
    return this.line({ type: "command", command: this.#commands++, text, effects, ...fixed }, more);
  }

  outcome(command: number, more: Record<string, unknown> = {}): Promise<string> {
    return this.line({ type: "outcome", command, status: "ok", tag: "SELECT 2", rows: 2, ms: 1.5 }, more);
  }

  end(): Promise<string> {
    return this.line({ type: "session.end", code: "session_closed", message: "The session ended." });
  }

  async signed(type: "checkpoint" | "seal", more: { key?: CryptoKey; agent?: string } = {}): Promise<string> {
    const { session, agent, key } = this.#of;
    const text = new TextEncoder().encode(signedText(type, session, this.#seq, this.#prev));
    const signature = base64url.encode(new Uint8Array(await crypto.subtle.sign("Ed25519", more.key ?? key, text)));
    return this.line({ type, agent: more.agent ?? agent, signature });
  }
}
