/**
 * Native coupling: one end of a WebSocketPair to each 101, neither accepted, so the runtime pumps between the two
 * clients itself: fast, with real backpressure, and memory that does not grow with a slow reader.
 *
 * What it cannot do: see a byte, a close or a loss, end one coupling
 * alone, or hibernate while coupled. Only `ctx.abort()` ends a coupling: it ends the instance and every socket and
 * request of it, both clients see 1006, and what is in storage stays; so storage is synced first.
 */
import type { Coupling, JoinedEnds } from "./coupling.ts";

export class NativeCoupling implements Coupling {
  readonly #ctx: DurableObjectState;
  #joined = false;

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx;
  }

  found(): number | null {
    return null;
  }

  join(): JoinedEnds {
    this.#joined = true;
    const pair = new WebSocketPair();
    return { runner: pair[0], agent: pair[1] };
  }

  async drop(): Promise<void> {
    await this.#abort("the old coupling ends: redial");
  }

  async cut(reason: string): Promise<void> {
    await this.#abort(`the session is over: ${reason}`);
  }

  message(): null {
    return null;
  }

  closed(): null {
    return null;
  }

  async #abort(why: string): Promise<void> {
    if (!this.#joined) return;
    await this.#ctx.storage.sync();
    this.#ctx.abort(why);
  }
}
