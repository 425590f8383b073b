/**
 * One stream of a session as a Node Duplex. Credit is granted when bytes move on into Node's own buffer (one high-water
 * mark), so a reader that stops stops the peer after STREAM_WINDOW plus that. Nothing is delayed: a write goes to the
 * socket, and data to a reader that waits, in the same tick.
 */
import { Duplex } from "node:stream";
import type { ResetCode, StreamMeta } from "../protocol/stream/control.ts";
import type { LinkStream } from "./types.ts";

/** What a stream needs of its session. */
export interface StreamPort {
  /** False: beyond the peer's credit; `credited()` will be called. */
  write(id: number, chunks: readonly Uint8Array[]): boolean;
  fin(id: number): void;
  reset(id: number, code: ResetCode): void;
  consumed(id: number, count: number): void;
}

/** Above what one read of a socket brings, so that a pipe is not paused for every chunk. */
const HIGH_WATER = 128 * 1024;

type Callback = (error?: Error | null) => void;

export class SessionStream extends Duplex implements LinkStream {
  readonly streamId: number;
  readonly meta: StreamMeta;
  readonly #port: StreamPort;
  /** Received, and not yet asked for. */
  #queue: Uint8Array[] = [];
  #wanted = false;
  #finReceived = false;
  #eof = false;
  #written: Callback | undefined;
  /** The session has ended: no more comes, and what is written goes nowhere. */
  #failure: Error | undefined;

  constructor(id: number, meta: StreamMeta, port: StreamPort) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER });
    this.streamId = id;
    this.meta = meta;
    this.#port = port;
  }

  // ── called by the session ──

  deliver(bytes: Uint8Array): void {
    if (this.destroyed) return;
    if (this.#wanted && this.#queue.length === 0) this.#pass(bytes);
    else this.#queue.push(bytes);
  }

  deliverFin(): void {
    this.#finReceived = true;
    this.#pump();
  }

  /** A blocked write is within credit. */
  credited(): void {
    const done = this.#written;
    this.#written = undefined;
    done?.();
  }

  /** The peer has reset the stream. */
  resetByPeer(code: ResetCode): void {
    this.destroy(Object.assign(new Error(`the peer reset the stream (${code})`), { code: "ECONNRESET" }));
  }

  /** The session has ended: what has arrived can still be read. */
  sessionEnded(failure: Error): void {
    if (this.destroyed || this.#failure !== undefined) return;
    this.#failure = failure;
    this.credited();
    if (this.#finReceived) return;
    if (this.#queue.length === 0 && this.readableLength === 0) {
      this.destroy(failure);
      return;
    }
    this.once("end", () => this.destroy(failure));
    this.#pump();
  }

  // ── Duplex ──

  override _read(): void {
    this.#wanted = true;
    this.#pump();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Callback): void {
    this.#send([chunk], done);
  }

  override _writev(chunks: { chunk: Uint8Array; encoding: BufferEncoding }[], done: Callback): void {
    this.#send(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _final(done: Callback): void {
    if (this.#failure === undefined) this.#port.fin(this.streamId);
    done();
  }

  override _destroy(error: Error | null, done: Callback): void {
    this.#queue = [];
    this.#written = undefined;
    if (this.#failure === undefined && !(this.readableEnded && this.writableFinished)) {
      // Leaving an async iteration or aborting a signal is the reader's own will.
      this.#port.reset(this.streamId, error === null || error.name === "AbortError" ? "cancelled" : "internal");
    }
    done(error);
  }

  #send(chunks: readonly Uint8Array[], done: Callback): void {
    if (this.#failure !== undefined || this.#port.write(this.streamId, chunks)) done();
    else this.#written = done;
  }

  #pump(): void {
    while (this.#wanted) {
      const bytes = this.#queue.shift();
      if (bytes === undefined) break;
      this.#pass(bytes);
    }
    if (this.#eof || this.#queue.length > 0 || !(this.#finReceived || this.#failure !== undefined)) return;
    this.#eof = true;
    this.push(null);
  }

  #pass(bytes: Uint8Array): void {
    // A reader may ask for more within push(): its wish must outlive push()'s answer.
    this.#wanted = false;
    if (this.push(bytes)) this.#wanted = true;
    this.#port.consumed(this.streamId, bytes.length);
  }
}
