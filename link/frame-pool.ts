/**
 * Buffers for long frames, used again once they have left the process: allocating and clearing 64 KiB for each frame
 * costs ten times what filling it does, and the collector's time besides.
 */
import { MAX_FRAME } from "../protocol/stream/frame.ts";

/** Frames shorter than this come from Node's own pool. */
const LONG = 16 * 1024;
/** Buffers kept: what a socket's queue holds at once (session-link.ts), and a little. */
const KEPT = 8;

export class FramePool {
  readonly #free: ArrayBuffer[] = [];
  readonly #ours = new WeakSet<ArrayBufferLike>();

  /** `bytes` of memory with anything in it. */
  allocate(bytes: number): Uint8Array {
    if (bytes < LONG || bytes > MAX_FRAME) return Buffer.allocUnsafe(bytes);
    let buffer = this.#free.pop();
    if (buffer === undefined) {
      buffer = new ArrayBuffer(MAX_FRAME);
      this.#ours.add(buffer);
    }
    return new Uint8Array(buffer, 0, bytes);
  }

  /** The frame has been sent, or never will be: nobody reads it any more. Others' memory is left alone. */
  release(frame: Uint8Array): void {
    if (this.#free.length < KEPT && this.#ours.has(frame.buffer)) this.#free.push(frame.buffer as ArrayBuffer);
  }

  /** Whether release() of it is worth a callback. */
  owns(message: string | Uint8Array): message is Uint8Array {
    return typeof message !== "string" && message.length >= LONG && this.#ours.has(message.buffer);
  }
}
