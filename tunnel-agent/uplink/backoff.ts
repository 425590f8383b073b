/** Exponential backoff with jitter: a fleet that lost its gateway does not come back in step. Pure. */
export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
}

/** Delay in ms before attempt `attempts` + 1 (`attempts` ≥ 1); between half and the whole of the step. `random` in [0, 1). */
export function backoffDelay(attempts: number, { baseMs, maxMs }: Backoff, random: () => number): number {
  const step = Math.min(maxMs, baseMs * 2 ** Math.min(attempts - 1, 30));
  return step / 2 + (random() * step) / 2;
}
