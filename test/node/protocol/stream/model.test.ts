/**
 * Two machines over a transport that loses everything in flight at random points, against the obvious model: what the
 * application at one end wrote is what the other end gets, once, in order, up to a reset.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { STREAM_WINDOW } from "../../../../protocol/limits.ts";
import { joined, META, Wire, type End } from "./wire.ts";

type Side = "opener" | "acceptor";
type Op =
  | { op: "open" }
  | { op: "write"; side: Side; pick: number; size: number }
  | { op: "fin"; side: Side; pick: number }
  | { op: "reset"; side: Side; pick: number }
  | { op: "consume"; side: Side; pick: number; part: number }
  | { op: "deliver"; side: Side; count: number }
  | { op: "cut" }
  | { op: "connect" };

const side = fc.constantFrom<Side>("opener", "acceptor");
const pick = fc.nat(1000);
const size = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 60_000, max: 70_000 }), fc.constant(400_000));
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 2, arbitrary: fc.constant<Op>({ op: "open" }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant("write" as const), side, pick, size }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("fin" as const), side, pick }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("reset" as const), side, pick }) },
  {
    weight: 5,
    arbitrary: fc.record({ op: fc.constant("consume" as const), side, pick, part: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  { weight: 8, arbitrary: fc.record({ op: fc.constant("deliver" as const), side, count: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 2, arbitrary: fc.constant<Op>({ op: "cut" }) },
  { weight: 4, arbitrary: fc.constant<Op>({ op: "connect" }) },
);

/** What one end's application did with one stream. */
interface Written {
  bytes: Buffer[];
  fin: boolean;
  reset: boolean;
  /** A write was refused: a well-behaved application waits. */
  waiting: boolean;
  drains: number;
}

let counter = 0;
function pattern(size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let i = 0; i < size; i += 1) bytes[i] = (counter = (counter * 31 + 7) % 65_521) & 255;
  return bytes;
}

class Model {
  readonly wire = new Wire();
  readonly written: Record<Side, Map<number, Written>> = { opener: new Map(), acceptor: new Map() };

  end(side: Side): End {
    return this.wire[side];
  }

  /** A stream that this end knows. */
  choose(side: Side, pick: number): { id: number; mine: Written } | undefined {
    const ids = side === "opener" ? [...this.written.opener.keys()] : [...this.wire.acceptor.seen.keys()];
    const id = ids[pick % ids.length];
    if (id === undefined) return undefined;
    let mine = this.written[side].get(id);
    if (mine === undefined) this.written[side].set(id, (mine = { bytes: [], fin: false, reset: false, waiting: false, drains: 0 }));
    return { id, mine };
  }

  /** The stream is over for this end's application. */
  gone(side: Side, id: number, mine: Written): boolean {
    return mine.reset || (this.end(side).seen.get(id)?.resets.length ?? 0) > 0;
  }

  run(op: Op): void {
    switch (op.op) {
      case "open": {
        const id = this.wire.opener.machine.open(META);
        if (id !== undefined) this.written.opener.set(id, { bytes: [], fin: false, reset: false, waiting: false, drains: 0 });
        return;
      }
      case "cut":
        if (this.wire.up) this.wire.cut();
        return;
      case "connect":
        if (!this.wire.up) this.wire.connect();
        return;
      case "deliver":
        if (this.wire.up) this.wire.deliver(op.side, op.count);
        return;
      default:
        this.act(op);
    }
  }

  act(op: Extract<Op, { side: Side; pick: number }>): void {
    const chosen = this.choose(op.side, op.pick);
    if (chosen === undefined) return;
    const { id, mine } = chosen;
    const { machine } = this.end(op.side);
    if (this.gone(op.side, id, mine)) return;
    const seen = this.end(op.side).of(id);
    if (mine.waiting && seen.drains > mine.drains) {
      mine.waiting = false;
      mine.drains = seen.drains;
    }
    switch (op.op) {
      case "write": {
        if (mine.fin || mine.waiting) return;
        const bytes = pattern(op.size);
        mine.bytes.push(bytes);
        mine.waiting = !machine.write(id, [bytes]);
        return;
      }
      case "fin":
        if (!mine.fin) machine.fin(id);
        mine.fin = true;
        return;
      case "reset":
        mine.reset = true;
        machine.reset(id, "cancelled");
        return;
      case "consume": {
        const count = Math.floor(seen.unconsumed * op.part);
        seen.unconsumed -= count;
        machine.consumed(id, count);
        return;
      }
      default:
        return;
    }
  }

  /** Nothing that arrived was not written, nothing twice, nothing out of order; memory within its bound. */
  check(): void {
    for (const side of ["opener", "acceptor"] as const) {
      const peer = side === "opener" ? "acceptor" : "opener";
      expect(this.end(side).ended).toBeUndefined();
      for (const [id, seen] of this.end(side).seen) {
        expect(seen.unconsumed).toBeLessThanOrEqual(STREAM_WINDOW);
        const written = this.written[peer].get(id);
        const sent = joined(written?.bytes ?? []);
        const got = joined(seen.bytes);
        expect(got.equals(sent.subarray(0, got.length))).toBe(true);
        expect(seen.fins).toBeLessThanOrEqual(written?.fin === true ? 1 : 0);
        if (seen.fins === 1) expect(got.length).toBe(sent.length);
        expect(seen.resets.length).toBeLessThanOrEqual(written?.reset === true ? 1 : 0);
      }
      const open = this.end(side).machine.streamCount;
      expect(this.end(side).machine.held).toBeLessThanOrEqual(open * (STREAM_WINDOW + 400_000));
    }
  }

  /** Connect, deliver and consume everything, end every stream: both ends must agree and forget all. */
  finish(): void {
    if (!this.wire.up) this.wire.connect();
    for (let round = 0; round < 50; round += 1) {
      this.wire.settle();
      let moved = false;
      for (const side of ["opener", "acceptor"] as const) {
        for (const [id, seen] of this.end(side).seen) {
          if (seen.unconsumed === 0) continue;
          moved = true;
          this.end(side).machine.consumed(id, seen.unconsumed);
          seen.unconsumed = 0;
        }
      }
      if (!moved) break;
    }
    this.check();
    for (const [id, mine] of this.written.opener) {
      const theirs = this.written.acceptor.get(id);
      const cutShort = mine.reset || theirs?.reset === true;
      if (cutShort) continue;
      for (const [from, to] of [
        ["opener", "acceptor"],
        ["acceptor", "opener"],
      ] as const) {
        const written = this.written[from].get(id);
        const seen = this.end(to).seen.get(id);
        expect(joined(seen?.bytes ?? []).equals(joined(written?.bytes ?? []))).toBe(true);
        expect(seen?.fins ?? 0).toBe(written?.fin === true ? 1 : 0);
      }
    }
    for (const side of ["opener", "acceptor"] as const) {
      for (const id of this.wire.acceptor.seen.keys()) if (this.written[side].get(id)?.fin !== true) this.end(side).machine.fin(id);
    }
    this.wire.settle();
    expect(this.wire.opener.machine.streamCount).toBe(0);
    expect(this.wire.acceptor.machine.streamCount).toBe(0);
    expect(this.wire.opener.machine.held + this.wire.acceptor.machine.held).toBe(0);
  }
}

describe("two machines over a lossy transport", () => {
  it("deliver every byte once and in order, whatever is cut", () => {
    fc.assert(
      fc.property(fc.array(op, { minLength: 1, maxLength: 200, size: "max" }), (ops) => {
        const model = new Model();
        model.wire.connect();
        for (const step of ops) model.run(step);
        model.check();
        model.finish();
      }),
      { numRuns: 150 },
    );
  });
});
