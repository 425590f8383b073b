/** Resumption converges: whatever the network did, once it is quiet both ends talk again, and nothing chases its tail. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ResumeWorld } from "./resume-world.ts";

/** Longest that a quiet network may need: silence noticed after 40 s, a wait of 10 s, a redial, and again. */
const SETTLE_MS = 58_000;
const QUIET_MS = 120_000;

const DISASTERS: readonly ((world: ResumeWorld) => void)[] = [
  (world) => world.cut("runner"),
  (world) => world.cut("agent"),
  (world) => world.halfOpen("runner"),
  (world) => world.halfOpen("agent"),
  (world) => world.silence(),
  (world) => world.restart(),
  (world) => world.controlDown(world.between(0, 15_000)),
];

function live(seed: number, disasters: readonly { readonly kind: number; readonly pause: number }[]): ResumeWorld {
  const world = new ResumeWorld(seed);
  world.runUntil(5_000);
  expect(world.talking()).toBe(true);
  for (const { kind, pause } of disasters) {
    DISASTERS[kind % DISASTERS.length]?.(world);
    world.runUntil(world.now + pause);
  }
  return world;
}

const disasters = fc.array(fc.record({ kind: fc.nat(DISASTERS.length - 1), pause: fc.nat(6_000) }), { minLength: 1, maxLength: 8 });

test("after any disasters, in any timing, both ends are on one coupling again, and stay there", () => {
  fc.assert(
    fc.property(fc.integer(), disasters, (seed, happened) => {
      const world = live(seed, happened);
      world.runUntil(world.now + SETTLE_MS);
      expect(world.record.phase.kind).toBe("active");
      expect(world.talking()).toBe(true);
      const { joins } = world;
      world.runUntil(world.now + QUIET_MS);
      expect(world.talking()).toBe(true);
      expect(world.joins).toBe(joins);
      expect(world.drops).toBeLessThanOrEqual(world.joins);
    }),
    { numRuns: 400 },
  );
});

test.each([...DISASTERS.keys()])("disaster %i alone costs a few joins at most", (kind) => {
  for (let seed = 0; seed < 100; seed += 1) {
    const world = live(seed, [{ kind, pause: 0 }]);
    world.runUntil(world.now + SETTLE_MS);
    expect(world.talking()).toBe(true);
    expect(world.joins).toBeLessThanOrEqual(4);
  }
});
