/**
 * Real sockets, cut at random while tens of megabytes move both ways and one reader is slow: every byte arrives once,
 * and what is queued stays within the window.
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterEach, describe, expect, it } from "vitest";
import type { LinkStream } from "../../../link/types.ts";
import { STREAM_WINDOW } from "../../../protocol/limits.ts";
import type { Coupler } from "./coupler.ts";
import { META, rig, type Rig } from "./rig.ts";

const MB = 1024 * 1024;
let current: Rig | undefined;
afterEach(async () => {
  await current?.close();
  current = undefined;
});

/** `total` pseudo-random bytes in chunks of odd sizes, and their digest. */
function source(total: number, seed: number): { readonly stream: Readable; digest(): string } {
  const hash = createHash("sha256");
  let state = seed;
  let left = total;
  const stream = new Readable({
    read() {
      if (left === 0) {
        this.push(null);
        return;
      }
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      const chunk = Buffer.alloc(Math.min(left, 1 + (state % 90_000)), state & 255);
      chunk.writeUInt8((state >>> 8) & 255, 0);
      left -= chunk.length;
      hash.update(chunk);
      this.push(chunk);
    },
  });
  return { stream, digest: () => hash.digest("hex") };
}

/** Cuts both sockets each time some random number of bytes has passed, often soon after a hello. */
function cutAtRandom(coupler: Coupler, most: number): { readonly cuts: () => number } {
  let cuts = 0;
  const next = (): number => (Math.random() < 0.2 ? Math.random() * 500 : Math.random() * most);
  let left = next();
  coupler.tap = (_, data) => {
    left -= data.length;
    if (left > 0) return true;
    left = next();
    cuts += 1;
    coupler.cut();
    return false;
  };
  return { cuts: () => cuts };
}

async function drain(stream: LinkStream, pauseEvery: number): Promise<{ digest: string; bytes: number }> {
  const hash = createHash("sha256");
  let bytes = 0;
  let next = pauseEvery;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
    if (bytes < next) continue;
    next += pauseEvery;
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  return { digest: hash.digest("hex"), bytes };
}

describe("a session whose sockets are cut", () => {
  it("moves 64 MB both ways, byte-exact, with a slow reader and bounded queues", async () => {
    const size = 32 * MB;
    const up = source(size, 7);
    const down = source(size, 11);
    let atAgent: Promise<{ digest: string; bytes: number }> | undefined;
    const served: Promise<unknown>[] = [];
    const link = (current = await rig((stream) => {
      atAgent = drain(stream, 256 * 1024);
      served.push(pipeline(down.stream, stream, { end: true }));
    }));
    const stream = link.session.open(META);
    let most = 0;
    const watching = setInterval(() => (most = Math.max(most, link.session.held, link.agent.held)), 1);
    const { cuts } = cutAtRandom(link.coupler, 4 * MB);
    const [, atConnector] = await Promise.all([pipeline(up.stream, stream, { end: true }), drain(stream, 2 * MB)]);
    await Promise.all(served);
    clearInterval(watching);
    expect(await atAgent).toEqual({ digest: up.digest(), bytes: size });
    expect(atConnector).toEqual({ digest: down.digest(), bytes: size });
    expect(cuts()).toBeGreaterThan(8);
    expect(link.coupler.joins).toBeGreaterThan(8);
    // The window, and one chunk that was written beyond it.
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(STREAM_WINDOW + 128 * 1024 + 90_000);
    expect(new Set(link.coupler.resumes)).toEqual(new Set([`Resume ${link.coupler.secret}`]));
  });

  it("goes on with many streams at once", async () => {
    const link = (current = await rig((stream) => {
      stream.on("error", () => {});
      stream.pipe(stream);
    }));
    cutAtRandom(link.coupler, 12 * MB);
    const echoes = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        const from = source(1 * MB + index * 7_919, index + 1);
        const stream = link.session.open(META);
        const [, back] = await Promise.all([pipeline(from.stream, stream, { end: true }), drain(stream, 512 * 1024)]);
        return { same: back.digest === from.digest(), bytes: back.bytes };
      }),
    );
    expect(echoes).toEqual(Array.from({ length: 8 }, (_, index) => ({ same: true, bytes: 1 * MB + index * 7_919 })));
  });

  it("stops a peer whose reader has stopped, and goes on when it reads again", async () => {
    const size = 8 * MB;
    const down = source(size, 3);
    const link = (current = await rig((stream) => {
      stream.on("error", () => {});
      void pipeline(down.stream, stream, { end: false }).catch(() => {});
    }));
    const stream = link.session.open(META);
    let before = -1;
    // Until nothing moves any more: the window is full.
    while (link.agent.held === 0 || link.agent.held !== before) {
      before = link.agent.held;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(link.agent.held).toBeGreaterThanOrEqual(STREAM_WINDOW);
    expect(link.agent.held).toBeLessThanOrEqual(STREAM_WINDOW + 128 * 1024 + 90_000);
    expect(down.stream.readableEnded).toBe(false);
    link.coupler.cut();
    let bytes = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes === size) break;
    }
    expect(bytes).toBe(size);
  });
});
