/**
 * The receiving half of one stream: takes DATA in order, trims what it has already, and grants credit as the
 * application consumes. It guarantees that the application gets each byte once and that no more than STREAM_WINDOW
 * bytes are received and not consumed. It holds no bytes itself.
 */
import { STREAM_WINDOW } from "../limits.ts";

/** Bytes consumed since the last WINDOW that make it worth another frame. */
const GRANT_AFTER = STREAM_WINDOW / 2;
/** DATA frames since the last WINDOW: bounds the peer's retransmission list where frames are small. */
const ACK_AFTER_FRAMES = 128;

export class ReceiveSide {
  #received = 0;
  #consumed = 0;
  #limit = STREAM_WINDOW;
  #fin = false;
  #frames = 0;

  get received(): number {
    return this.#received;
  }

  get limit(): number {
    return this.#limit;
  }

  get fin(): boolean {
    return this.#fin;
  }

  /** Everything, FIN included, has been received and consumed. */
  get done(): boolean {
    return this.#fin && this.#consumed === this.#received;
  }

  /**
   * Takes one DATA frame. Returns the new part of its payload (empty for a duplicate), or what is wrong with it.
   * `fin` is then true once, with the frame that ends the stream.
   */
  data(offset: number, payload: Uint8Array, fin: boolean): { readonly fresh: Uint8Array; readonly fin: boolean } | string {
    const end = offset + payload.length;
    if (offset > this.#received) return `DATA at ${offset} leaves a gap after ${this.#received}`;
    if (end > this.#limit) return `DATA up to ${end} exceeds its credit of ${this.#limit}`;
    if (this.#fin && end > this.#received) return "DATA after FIN";
    if (fin && end < this.#received) return `FIN at ${end} after ${this.#received} bytes`;
    const fresh = offset === this.#received ? payload : payload.subarray(this.#received - offset);
    this.#frames += 1;
    if (end > this.#received) this.#received = end;
    const first = fin && !this.#fin;
    if (first) this.#fin = true;
    return { fresh, fin: first };
  }

  /** The application has taken `count` bytes. */
  consume(count: number): void {
    if (count < 0 || this.#consumed + count > this.#received) throw new Error(`consumed ${count} bytes that were never received`);
    this.#consumed += count;
  }

  /** Whether a WINDOW is worth sending now. After FIN no credit is needed: only DONE is worth a frame. */
  get windowDue(): boolean {
    if (this.#fin) return this.done;
    return this.#consumed + STREAM_WINDOW - this.#limit >= GRANT_AFTER || this.#frames >= ACK_AFTER_FRAMES;
  }

  /** Raises the limit to what may be granted now: call when a WINDOW or a hello is about to say so. */
  grant(): void {
    this.#limit = this.#consumed + STREAM_WINDOW;
    this.#frames = 0;
  }
}
