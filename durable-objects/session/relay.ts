/**
 * JavaScript relay: the object accepts both sockets with the hibernation API and forwards each message. An idle
 * session costs nothing, and the object sees closes and can end each socket; it is slower than the native coupling.
 *
 * A socket's tags are its role and its generation, so a woken instance finds the peer again without memory.
 * `send` knows no backpressure: the end-to-end credit of the streams bounds what is queued. The tripwire is for
 * peers that ignore it: past RELAY_BUFFER_MAX both sockets are cut with 1013, which is resumable, so an innocent
 * session with many stalled streams loses no byte either.
 */
import { SERVICE_RESTART, SESSION_OVER, TRY_AGAIN_LATER, type Coupling, type JoinedEnds } from "./coupling.ts";

/** Bytes queued towards one peer. */
export const RELAY_BUFFER_MAX = 32 * 1024 * 1024;

type Role = "runner" | "agent";
const other = (role: Role): Role => (role === "runner" ? "agent" : "runner");

interface Attachment {
  readonly role: Role;
  readonly generation: number;
}

/** Codes that a peer may be sent (RFC 6455 section 7.4.1); 1005, 1006 and 1015 only ever name the absence of one. */
const sendable = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (code >= 3000 && code <= 4999);

/** A close frame holds at most 123 bytes of reason. */
function shortReason(reason: string): string {
  const bytes = new TextEncoder().encode(reason);
  return bytes.byteLength <= 123 ? reason : new TextDecoder().decode(bytes.subarray(0, 120)).replace(/\uFFFD+$/u, "");
}

export class RelayCoupling implements Coupling {
  readonly #ctx: DurableObjectState;
  /** Only to be quick: an instance that was hibernated finds peers by their tags again. */
  readonly #peers = new WeakMap<WebSocket, WebSocket>();

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx;
  }

  found(): number | null {
    const open = this.#open();
    const generations = open.map((socket) => this.#attachment(socket).generation);
    return generations.length === 0 ? null : Math.max(...generations);
  }

  join(generation: number): JoinedEnds {
    // Whatever is left of an older generation is half-open or about to be dropped by its owner.
    this.#closeAll(SERVICE_RESTART, "replaced by a redial");
    return { runner: this.#accept("runner", generation), agent: this.#accept("agent", generation) };
  }

  drop(): Promise<void> {
    this.#closeAll(SERVICE_RESTART, "redial");
    return Promise.resolve();
  }

  cut(reason: string): Promise<void> {
    this.#closeAll(SESSION_OVER, reason);
    return Promise.resolve();
  }

  message(socket: WebSocket, data: string | ArrayBuffer): number | null {
    const peer = this.#peer(socket);
    if (peer === null) {
      socket.close(SERVICE_RESTART, "the other side is gone: redial");
      return this.#attachment(socket).generation;
    }
    peer.send(data);
    if (((peer as { bufferedAmount?: number }).bufferedAmount ?? 0) <= RELAY_BUFFER_MAX) return null;
    this.#closeAll(TRY_AGAIN_LATER, "more was sent than the other side takes");
    return this.#attachment(socket).generation;
  }

  closed(socket: WebSocket, code: number, reason: string): number | null {
    const peer = this.#peer(socket);
    if (peer !== null) {
      if (sendable(code)) peer.close(code, shortReason(reason));
      else peer.close(SERVICE_RESTART, "the other side was lost: redial");
    }
    return this.#attachment(socket).generation;
  }

  #accept(role: Role, generation: number): WebSocket {
    const pair = new WebSocketPair();
    this.#ctx.acceptWebSocket(pair[1], [role, `generation:${generation}`]);
    pair[1].serializeAttachment({ role, generation } satisfies Attachment);
    return pair[0];
  }

  #peer(socket: WebSocket): WebSocket | null {
    const known = this.#peers.get(socket);
    if (known !== undefined) return known.readyState === WebSocket.READY_STATE_OPEN ? known : null;
    const { role, generation } = this.#attachment(socket);
    const peer = this.#open(`generation:${generation}`).find((each) => this.#attachment(each).role === other(role));
    if (peer !== undefined) this.#peers.set(socket, peer);
    return peer ?? null;
  }

  #open(tag?: string): WebSocket[] {
    return this.#ctx.getWebSockets(tag).filter((socket) => socket.readyState === WebSocket.READY_STATE_OPEN);
  }

  #attachment(socket: WebSocket): Attachment {
    return socket.deserializeAttachment() as Attachment;
  }

  #closeAll(code: number, reason: string): void {
    for (const socket of this.#open()) socket.close(code, shortReason(reason));
  }
}
