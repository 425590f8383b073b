/** The frame codec: vectors byte for byte, at every truncation, with every kind of damage, and round trips at the limits. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_FRAME_PAYLOAD } from "../../../../protocol/limits.ts";
import {
  beginData,
  DATA_HEADER,
  decodeFrame,
  encodeReset,
  encodeWindow,
  MAX_FRAME,
  type Frame,
} from "../../../../protocol/stream/frame.ts";

const MAX = Number.MAX_SAFE_INTEGER;

function data(stream: number, offset: number, payload: Uint8Array, fin: boolean): Uint8Array {
  const frame = beginData(stream, offset, payload.length, fin);
  frame.set(payload, DATA_HEADER);
  return frame;
}

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));

const VECTORS: { hex: string; frame: Frame }[] = [
  { hex: "01 00 00000001 0000000000000000 51", frame: { type: "data", stream: 1, fin: false, offset: 0, payload: bytes("51") } },
  { hex: "01 01 00000007 0000000000000005", frame: { type: "data", stream: 7, fin: true, offset: 5, payload: bytes("") } },
  {
    hex: "01 01 ffffffff 001ffffffffffffd abcd",
    frame: { type: "data", stream: 0xffffffff, fin: true, offset: MAX - 2, payload: bytes("abcd") },
  },
  {
    hex: "02 00 00000002 0000000000000400 0000000000100400",
    frame: { type: "window", stream: 2, done: false, ack: 1024, limit: 1_049_600 },
  },
  { hex: "02 01 00000002 001fffffffffffff 001fffffffffffff", frame: { type: "window", stream: 2, done: true, ack: MAX, limit: MAX } },
  { hex: "03 00 00000009 0001", frame: { type: "reset", stream: 9, answer: false, code: "cancelled" } },
  { hex: "03 01 00000009 0003", frame: { type: "reset", stream: 9, answer: true, code: "internal" } },
];

function encode(frame: Frame): Uint8Array {
  switch (frame.type) {
    case "data":
      return data(frame.stream, frame.offset, frame.payload, frame.fin);
    case "window":
      return encodeWindow(frame.stream, frame.ack, frame.limit, frame.done);
    case "reset":
      return encodeReset(frame.stream, frame.code, frame.answer);
    default:
      throw new Error("unknown frame");
  }
}

/** `bytes` with one byte changed. */
function changed(from: Uint8Array, at: number, value: number): Uint8Array {
  const copy = from.slice();
  copy[at] = value;
  return copy;
}

function refusal(frame: Uint8Array): string {
  const decoded = decodeFrame(frame);
  if (decoded.ok) throw new Error("was accepted");
  return decoded.error;
}

describe("frames", () => {
  it.each(VECTORS)("$frame.type $hex", ({ hex, frame }) => {
    expect(Buffer.from(encode(frame)).toString("hex")).toBe(hex.replaceAll(" ", ""));
    expect(decodeFrame(bytes(hex))).toEqual({ ok: true, value: frame });
  });

  it.each(VECTORS)("refuses every truncation and every lengthening of $hex", ({ hex, frame }) => {
    const whole = bytes(hex);
    for (let length = 0; length < whole.length; length += 1) {
      const cut = decodeFrame(whole.subarray(0, length));
      // DATA has no length of its own: a message is a whole frame, so a cut one is only seen in its header.
      if (frame.type === "data" && length > DATA_HEADER)
        expect(cut).toEqual({ ok: true, value: { ...frame, payload: frame.payload.subarray(0, length - DATA_HEADER) } });
      else if (frame.type === "data" && length === DATA_HEADER && frame.fin) expect(cut.ok).toBe(true);
      else expect(cut.ok, `${length} bytes`).toBe(false);
    }
    if (frame.type !== "data") expect(decodeFrame(Buffer.concat([whole, Buffer.alloc(1)])).ok).toBe(false);
  });

  it("refuses unknown types, flags and codes, and stream 0", () => {
    for (const { hex } of VECTORS) {
      const whole = bytes(hex);
      for (const type of [0, 4, 0x7f, 0xff]) expect(refusal(changed(whole, 0, type))).toContain("unknown type");
      for (const flags of [2, 3, 0x80, 0xff]) expect(refusal(changed(whole, 1, flags))).toContain("unknown flags");
      const zero = whole.slice();
      zero.fill(0, 2, 6);
      expect(refusal(zero)).toBe("frame for stream 0");
    }
    for (const code of ["0000", "0004", "0100", "ffff"]) expect(refusal(bytes(`0300 00000001 ${code}`))).toContain("unknown code");
  });

  it("refuses offsets beyond 2^53−1, also by adding the payload", () => {
    expect(refusal(bytes("0100 00000001 0020000000000000 00"))).toContain("exceeds");
    expect(refusal(bytes("0100 00000001 001fffffffffffff 00"))).toContain("exceeds");
    expect(refusal(bytes("0100 00000001 ffffffffffffffff 00"))).toContain("exceeds");
    expect(refusal(bytes("0200 00000001 0020000000000000 0020000000000000"))).toContain("exceed");
    expect(refusal(bytes("0200 00000001 0000000000000000 0020000000000000"))).toContain("exceed");
    expect(refusal(bytes("0200 00000001 0000000000000002 0000000000000001"))).toContain("below");
  });

  it("refuses DATA that carries nothing, or more than its limit", () => {
    expect(refusal(bytes("0100 00000001 0000000000000000"))).toContain("neither payload nor FIN");
    expect(decodeFrame(data(1, 0, new Uint8Array(MAX_FRAME_PAYLOAD), false)).ok).toBe(true);
    expect(data(1, 0, new Uint8Array(MAX_FRAME_PAYLOAD), false).length).toBe(MAX_FRAME);
    expect(refusal(data(1, 0, new Uint8Array(MAX_FRAME_PAYLOAD + 1), false))).toContain("limit");
  });

  it("round-trips, and never throws on noise", () => {
    const stream = fc.integer({ min: 1, max: 0xffffffff });
    const frame: fc.Arbitrary<Frame> = fc.oneof(
      fc
        .record({
          type: fc.constant("data" as const),
          stream,
          fin: fc.boolean(),
          offset: fc.nat({ max: MAX - 300 }),
          payload: fc.uint8Array({ maxLength: 300 }),
        })
        .filter(({ fin, payload }) => fin || payload.length > 0),
      fc
        .record({ stream, done: fc.boolean(), a: fc.nat({ max: MAX }), b: fc.nat({ max: MAX }) })
        .map(({ stream, done, a, b }) => ({ type: "window" as const, stream, done, ack: Math.min(a, b), limit: Math.max(a, b) })),
      fc.record({
        type: fc.constant("reset" as const),
        stream,
        answer: fc.boolean(),
        code: fc.constantFrom("cancelled", "refused", "internal"),
      }),
    );
    fc.assert(
      fc.property(frame, (frame) => {
        const decoded = decodeFrame(encode(frame));
        if (!decoded.ok) throw new Error(decoded.error);
        expect({ ...decoded.value }).toEqual({ ...frame });
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (noise) => void decodeFrame(noise)),
      { numRuns: 2000 },
    );
  });
});
