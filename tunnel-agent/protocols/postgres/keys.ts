/**
 * Cancel keys that the gateway hands out (PG-11). A key finds a connection only within its own session, is compared in
 * constant time, and never leaves a trace at the target: the target's real key stays here.
 */
import { randomBytes, randomInt, timingSafeEqual } from "node:crypto";

export interface CancelKey {
  readonly pid: number;
  readonly key: Buffer;
}

/** Key bytes: 4 in protocol 3.0 and 3.1; 3.2 allows up to 256. */
const KEY_BYTES_3_0 = 4;
const KEY_BYTES_3_2 = 32;
const MAX_PID = 2 ** 31 - 1;

interface Entry extends CancelKey {
  readonly cancel: () => void;
}

export class CancelKeys {
  readonly #sessions = new Map<string, Set<Entry>>();

  /** `release` when the connection ends. */
  issue(session: string, minor: number, cancel: () => void): CancelKey & { readonly release: () => void } {
    const entry: Entry = { pid: randomInt(1, MAX_PID), key: randomBytes(minor >= 2 ? KEY_BYTES_3_2 : KEY_BYTES_3_0), cancel };
    const entries = this.#sessions.get(session) ?? new Set();
    this.#sessions.set(session, entries.add(entry));
    const release = (): void => {
      entries.delete(entry);
      if (entries.size === 0 && this.#sessions.get(session) === entries) this.#sessions.delete(session);
    };
    return { pid: entry.pid, key: entry.key, release };
  }

  /** True when it was somebody's key; the peer must not be told. Looks at every key of the session, whichever fits. */
  cancel(session: string, pid: number, key: Buffer): boolean {
    let found: Entry | null = null;
    for (const entry of this.#sessions.get(session) ?? []) {
      const same = entry.key.length === key.length && timingSafeEqual(entry.key, key);
      if (same && entry.pid === pid) found = entry;
    }
    found?.cancel();
    return found !== null;
  }
}
