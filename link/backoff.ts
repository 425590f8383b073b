/**
 * When to redial. A socket that drops is usually a deploy or a host move, so the first try is nearly at once, with
 * enough jitter that a thousand runners do not come in the same instant; then exponentially, half of it random.
 */
export interface LinkTiming {
  /** How long a session without a socket is kept, ms. */
  readonly resumeWindowMs: number;
  /** Most delay of the first redial; delay of the second; most delay of any, ms. */
  readonly firstMs: number;
  readonly baseMs: number;
  readonly maxMs: number;
  /** A socket that was live for this long ends a series of failures, ms. */
  readonly stableMs: number;
  /** How often liveness is looked at, ms. */
  readonly tickMs: number;
}

/** Delay in ms before the redial after `failures` failures in a row. `random` in [0, 1). */
export function redialDelay(failures: number, timing: LinkTiming, random: () => number): number {
  if (failures === 0) return random() * timing.firstMs;
  const step = Math.min(timing.maxMs, timing.baseMs * 2 ** Math.min(failures - 1, 20));
  return step / 2 + (random() * step) / 2;
}
