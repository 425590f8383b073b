/** Framing: the same messages and the same passing bytes wherever the stream is cut. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameReader, type FrameHandler, type Handling, type Verdict } from "../../../../tunnel-agent/protocols/postgres/codec/framing.ts";
import { message } from "../raw-client.ts";

/** Passes upper-case types, drops lower-case ones, streams `d`, skips `s`, halts at `!`. */
class Log implements FrameHandler {
  readonly seen: string[] = [];
  readonly passed: Buffer[] = [];
  reader: FrameReader | undefined;
  waiting = false;
  #part = "";

  head(type: number, length: number): Handling {
    const letter = String.fromCharCode(type);
    if (letter === "!") return "halt";
    if (letter === "s") {
      this.seen.push(`skip ${length}`);
      return "skip";
    }
    return letter === "d" || letter === "D" ? "stream" : "assemble";
  }
  message(type: number, body: Buffer): Verdict {
    const letter = String.fromCharCode(type);
    this.seen.push(`${letter} ${body.toString("latin1")}`);
    if (letter >= "a") {
      this.reader?.flush();
      this.passed.push(Buffer.from(`<${letter}>`));
      return "drop";
    }
    return "pass";
  }
  part(type: number, bytes: Buffer, from: number, to: number, first: boolean, last: boolean): boolean {
    this.#part = (first ? "" : this.#part) + bytes.toString("latin1", from, to);
    if (last) this.seen.push(`${String.fromCharCode(type)} ${this.#part}`);
    return !this.#part.includes("bad");
  }
  paused(): boolean {
    return this.waiting;
  }
  forward(bytes: Buffer): void {
    this.passed.push(Buffer.from(bytes));
  }
  badLength(type: number): void {
    this.seen.push(`length of ${String.fromCharCode(type)}`);
  }
}

function read(chunks: readonly Buffer[]): { seen: string[]; passed: string } {
  const log = new Log();
  const reader = new FrameReader(log);
  log.reader = reader;
  for (const chunk of chunks) reader.push(chunk);
  return { seen: log.seen, passed: Buffer.concat(log.passed).toString("latin1") };
}

const STREAM = Buffer.concat([
  message("A", "one"),
  message("B"),
  message("x", "mine"),
  message("D", "stream of bytes"),
  message("s", "skipped"),
  message("C", "two"),
  message("d", ""),
  message("y"),
  message("Z", "end"),
]);

describe("splits", () => {
  const whole = read([STREAM]);

  test("a stream in one piece", () => {
    expect(whole.seen).toEqual(["A one", "B ", "x mine", "D stream of bytes", "skip 7", "C two", "d ", "y ", "Z end"]);
    const passed = [
      message("A", "one"),
      message("B"),
      "<x>",
      message("D", "stream of bytes"),
      message("C", "two"),
      message("d", ""),
      "<y>",
    ];
    expect(whole.passed).toBe([...passed, message("Z", "end")].map((part) => part.toString("latin1")).join(""));
  });

  test("cut in two at every point", () => {
    for (let at = 0; at <= STREAM.length; at++) expect(read([STREAM.subarray(0, at), STREAM.subarray(at)])).toEqual(whole);
  });

  test("byte by byte", () => {
    expect(read([...STREAM].map((byte) => Buffer.from([byte])))).toEqual(whole);
  });

  test("cut anywhere, any messages", () => {
    const part = fc
      .tuple(fc.constantFrom("A", "B", "D", "d", "s", "x", "Z"), fc.string({ maxLength: 20 }))
      .map(([type, body]) => message(type, Buffer.from(body, "latin1")));
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), fc.array(fc.nat(7), { minLength: 1 }), (parts, sizes) => {
        const bytes = Buffer.concat(parts);
        const chunks: Buffer[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = (sizes[i % sizes.length] ?? 0) + 1;
          chunks.push(bytes.subarray(at, at + size));
          at += size;
        }
        expect(read(chunks)).toEqual(read([bytes]));
      }),
    );
  });
});

test("a body above 64 KiB streams in pieces, one below is gathered", () => {
  const run = (size: number) => {
    const log = new Log();
    const reader = new FrameReader(log);
    const bytes = message("D", Buffer.alloc(size, 0x78));
    reader.push(bytes.subarray(0, 100));
    const before = log.passed.length;
    reader.push(bytes.subarray(100));
    expect(Buffer.concat(log.passed)).toEqual(bytes);
    return before;
  };
  expect(run(64 * 1024)).toBe(0);
  expect(run(64 * 1024 + 1)).toBe(1);
});

test("a large assembled body is whole, however it comes", () => {
  const body = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i % 251));
  const bytes = message("A", body);
  for (const size of [1000, 65_536, 65_537, 199_999]) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
    expect(read(chunks).passed).toBe(bytes.toString("latin1"));
  }
});

test("after a halt, a bad length or a refused part nothing is read and nothing of it passes", () => {
  const good = message("A", "one");
  expect(read([Buffer.concat([good, message("!"), message("B")])])).toEqual({ seen: ["A one"], passed: good.toString("latin1") });
  expect(read([Buffer.concat([good, Buffer.from("B\0\0\0\u0003"), message("B")])]).seen).toEqual(["A one", "length of B"]);
  expect(read([Buffer.concat([good, Buffer.from("B\u00ff\u00ff\u00ff\u00ff", "latin1")])]).seen).toEqual(["A one", "length of B"]);
  const refused = read([Buffer.concat([good, message("D", "bad row"), message("B")])]);
  expect(refused).toEqual({ seen: ["A one", "D bad row"], passed: good.toString("latin1") });
});

test("a paused reader keeps what comes, in order, and goes on", () => {
  const log = new Log();
  const reader = new FrameReader(log);
  log.waiting = true;
  for (const byte of STREAM) reader.push(Buffer.from([byte]));
  expect(log.seen).toEqual([]);
  expect(reader.backlog).toBe(STREAM.length);
  log.waiting = false;
  reader.resume();
  expect(log.seen).toEqual(read([STREAM]).seen);
  expect(reader.backlog).toBe(0);
});
