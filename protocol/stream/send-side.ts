/**
 * The sending half of one stream: bytes written by the application and not yet acknowledged by the peer, in order,
 * with four offsets:
 *
 *     acked ≤ sent ≤ limit,  sent ≤ written
 *
 * `sent` falls back to what the peer has when a new socket takes over (rewind), so first transmission and
 * retransmission are one path. It guarantees that no byte beyond `limit` is sent, and keeps no byte below `acked` but those of
 * a chunk that is acknowledged in part. Chunks are owned: whoever wrote them must not touch them again.
 */
import { MAX_FRAME_PAYLOAD, STREAM_WINDOW } from "../limits.ts";
import { beginData, DATA_HEADER, type Allocate } from "./frame.ts";

const EMPTY = new Uint8Array(0);

export class SendSide {
  readonly #stream: number;
  /** Chunks from #first on are kept; the slots before it are spent. */
  #chunks: Uint8Array[] = [];
  #first = 0;
  /** Offset of chunk #first's first byte. */
  #start = 0;
  /** Where `sent` stands: chunk, and bytes within it. */
  #next = 0;
  #within = 0;
  #acked = 0;
  #sent = 0;
  /** The most that was ever sent on any socket: no peer can have received more. */
  #reached = 0;
  #written = 0;
  #limit = STREAM_WINDOW;
  #fin: "open" | "written" | "sent" = "open";
  #finReached = false;
  #done = false;

  constructor(stream: number) {
    this.#stream = stream;
  }

  /** The peer has received and consumed everything, FIN included. */
  get done(): boolean {
    return this.#done;
  }

  /** More was written than the peer has granted. */
  get blocked(): boolean {
    return this.#written > this.#limit;
  }

  /** Bytes kept for the peer: unsent or unacknowledged. */
  get held(): number {
    return this.#written - this.#acked;
  }

  get finished(): boolean {
    return this.#fin !== "open";
  }

  /** A FIN was once sent, so the peer may have finished with the stream. */
  get finReached(): boolean {
    return this.#finReached;
  }

  write(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#written += chunk.length;
  }

  /** No more writes: FIN follows the last byte. */
  finish(): void {
    if (this.#fin === "open") this.#fin = "written";
  }

  /** Whether nextFrame() has one. */
  get sendable(): boolean {
    return this.#sent === this.#written ? this.#fin === "written" : this.#sent < this.#limit;
  }

  /** The next DATA frame that credit allows, or undefined. */
  nextFrame(allocate: Allocate): Uint8Array | undefined {
    const length = Math.min(this.#written - this.#sent, this.#limit - this.#sent, MAX_FRAME_PAYLOAD);
    const fin = this.#fin === "written" && this.#sent + length === this.#written;
    if (length === 0 && !fin) return undefined;
    const frame = beginData(this.#stream, this.#sent, length, fin, allocate);
    this.#fill(frame, length);
    this.#sent += length;
    if (this.#sent > this.#reached) this.#reached = this.#sent;
    if (fin) {
      this.#fin = "sent";
      this.#finReached = true;
    }
    return frame;
  }

  #fill(frame: Uint8Array, length: number): void {
    let at = DATA_HEADER;
    const end = DATA_HEADER + length;
    while (at < end) {
      const chunk = this.#chunks[this.#next] ?? EMPTY;
      const take = Math.min(chunk.length - this.#within, end - at);
      frame.set(this.#within === 0 && take === chunk.length ? chunk : chunk.subarray(this.#within, this.#within + take), at);
      at += take;
      this.#within += take;
      if (this.#within === chunk.length) {
        this.#next += 1;
        this.#within = 0;
      }
    }
  }

  /** Applies a WINDOW; returns what is wrong with it. */
  window(ack: number, limit: number, done: boolean): string | undefined {
    if (ack > this.#sent) return `WINDOW acknowledges ${ack} of ${this.#sent} sent`;
    if (done && !(this.#fin === "sent" && ack === this.#written)) return "WINDOW says DONE before the end";
    const wrong = this.#progress(ack, limit);
    if (wrong === undefined && done) this.#done = true;
    return wrong;
  }

  /** Applies the peer's hello: what it has, from where to go on. Returns what is wrong with it. */
  resume(received: number, limit: number, fin: boolean): string | undefined {
    if (received > this.#reached) return `hello claims ${received} of ${this.#reached} sent`;
    if (fin && !(this.#finReached && received === this.#written)) return "hello claims a FIN that was not sent";
    const wrong = this.#progress(received, limit);
    if (wrong !== undefined) return wrong;
    this.#sent = received;
    this.#next = this.#first;
    this.#within = received - this.#start;
    if (this.#fin !== "open") this.#fin = fin ? "sent" : "written";
    return undefined;
  }

  /** The peer has never seen the stream: all goes again. */
  rewind(): string | undefined {
    return this.resume(0, STREAM_WINDOW, false);
  }

  #progress(ack: number, limit: number): string | undefined {
    if (ack < this.#acked) return `acknowledgement falls from ${this.#acked} to ${ack}`;
    if (limit < this.#limit) return `credit falls from ${this.#limit} to ${limit}`;
    // A generous peer would make us keep without bound what it does not acknowledge.
    if (limit > Math.max(ack + STREAM_WINDOW, this.#limit)) return `credit of ${limit - ack} bytes, limit ${STREAM_WINDOW}`;
    this.#acked = ack;
    this.#limit = limit;
    this.#release();
    return undefined;
  }

  #release(): void {
    for (;;) {
      const chunk = this.#chunks[this.#first];
      if (chunk === undefined || this.#start + chunk.length > this.#acked) break;
      this.#chunks[this.#first] = EMPTY;
      this.#first += 1;
      this.#start += chunk.length;
    }
    if (this.#first < 64 || this.#first * 2 < this.#chunks.length) return;
    this.#chunks.splice(0, this.#first);
    this.#next = Math.max(0, this.#next - this.#first);
    this.#first = 0;
  }
}
