/**
 * A scripted transport for two SessionMachines: messages wait in a queue each way until the test delivers them, and a
 * cut loses whatever is still waiting. Each end records what its application would have seen.
 */
import type { ResetCode, StreamMeta } from "../../../../protocol/stream/control.ts";
import type { ReadyFacts, SessionEvent } from "../../../../protocol/stream/events.ts";
import { SessionMachine } from "../../../../protocol/stream/machine.ts";

export const READY: ReadyFacts = { target: "orders-db", protocol: "postgres", database: "shop", user: "ci" };
export const META: StreamMeta = { kind: "tcp", auth: { method: "trust" } };

export interface Seen {
  bytes: Uint8Array[];
  unconsumed: number;
  fins: number;
  resets: ResetCode[];
  drains: number;
}

export class End {
  readonly machine: SessionMachine;
  readonly seen = new Map<number, Seen>();
  readonly readies: ReadyFacts[] = [];
  readonly queue: (string | Uint8Array)[] = [];
  ended: Extract<SessionEvent, { type: "ended" }> | undefined;
  lives = 0;

  constructor(machine: SessionMachine) {
    this.machine = machine;
  }

  of(stream: number): Seen {
    let seen = this.seen.get(stream);
    if (seen === undefined) this.seen.set(stream, (seen = { bytes: [], unconsumed: 0, fins: 0, resets: [], drains: 0 }));
    return seen;
  }

  /** Moves what the machine wants to send into the queue towards the peer. */
  flush(): void {
    this.queue.push(...this.machine.takeOutput());
  }

  take(message: string | Uint8Array): void {
    for (const event of this.machine.receive(message)) this.#note(event);
    this.flush();
  }

  #note(event: SessionEvent): void {
    switch (event.type) {
      case "live":
        this.lives += 1;
        return;
      case "ready":
        this.readies.push(event.ready);
        return;
      case "open":
        this.of(event.stream);
        return;
      case "data": {
        const seen = this.of(event.stream);
        seen.bytes.push(event.bytes.slice());
        seen.unconsumed += event.bytes.length;
        return;
      }
      case "fin":
        this.of(event.stream).fins += 1;
        return;
      case "reset":
        this.of(event.stream).resets.push(event.code);
        return;
      case "drain":
        this.of(event.stream).drains += 1;
        return;
      case "ended":
        this.ended = event;
        return;
      default:
        throw new Error("unknown event");
    }
  }
}

export class Wire {
  readonly opener = new End(new SessionMachine({ role: "opener" }));
  readonly acceptor = new End(new SessionMachine({ role: "acceptor", ready: READY }));
  up = false;
  #now = 0;

  connect(): void {
    this.up = true;
    for (const end of [this.opener, this.acceptor]) {
      end.queue.length = 0;
      end.machine.connected((this.#now += 1));
      end.flush();
    }
  }

  cut(): void {
    this.up = false;
    for (const end of [this.opener, this.acceptor]) {
      end.machine.disconnected();
      end.queue.length = 0;
    }
  }

  /** Delivers up to `count` messages from one end to the other. */
  deliver(from: "opener" | "acceptor", count: number): number {
    const [source, target] = from === "opener" ? [this.opener, this.acceptor] : [this.acceptor, this.opener];
    source.flush();
    const messages = source.queue.splice(0, count);
    for (const message of messages) target.take(message);
    return messages.length;
  }

  /** Until nothing moves any more. */
  settle(): void {
    while (this.deliver("opener", 1e9) + this.deliver("acceptor", 1e9) > 0);
  }
}

export function joined(chunks: readonly Uint8Array[]): Buffer {
  return Buffer.concat(chunks);
}
