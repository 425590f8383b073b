/**
 * The site's hibernating sockets: found by agent and connection number, which an attachment on each survives
 * hibernation with. Sending on one that is closing is a `false`, never an exception.
 */

/** Attached to a socket; at most 16,384 bytes. */
export interface Line {
  readonly agent: string;
  readonly name: string;
  readonly site: string;
  /** Public origin of the gateway, as the agent reached it. */
  readonly gateway: string;
  readonly connection: number;
  /** Highest bundle version sent on it. */
  readonly bundle: number;
}

export class ControlSockets {
  readonly #ctx: DurableObjectState;

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx;
  }

  /** Accepts one end; the other is for the 101. */
  accept(line: Line): WebSocket {
    const pair = new WebSocketPair();
    this.#ctx.acceptWebSocket(pair[1], [line.agent]);
    pair[1].serializeAttachment(line);
    return pair[0];
  }

  line(socket: WebSocket): Line {
    return socket.deserializeAttachment() as Line;
  }

  has(agent: string, connection: number): boolean {
    return this.#find(agent, connection) !== null;
  }

  /** Of the agent's enrolment; null: no such connection. */
  site(agent: string, connection: number): string | null {
    const socket = this.#find(agent, connection);
    return socket === null ? null : this.line(socket).site;
  }

  sendOn(agent: string, connection: number, text: string): boolean {
    const socket = this.#find(agent, connection);
    if (socket === null) return false;
    try {
      socket.send(text);
      return true;
    } catch {
      return false;
    }
  }

  /** Versions only grow on one connection (GW-27): a slower reader of D1 cannot bring an older one after a push. */
  sendBundle(agent: string, connection: number, version: number, text: string): boolean {
    const socket = this.#find(agent, connection);
    if (socket === null) return false;
    const line = this.line(socket);
    if (line.bundle >= version || !this.sendOn(agent, connection, text)) return false;
    socket.serializeAttachment({ ...line, bundle: version } satisfies Line);
    return true;
  }

  close(agent: string, connection: number, code: number, reason: string): void {
    this.#find(agent, connection)?.close(code, reason.slice(0, 120));
  }

  closeAll(agent: string, code: number, reason: string): void {
    for (const socket of this.#ctx.getWebSockets(agent)) socket.close(code, reason);
  }

  /** ms since the epoch; null: no ping on this connection yet. */
  pingedAt(agent: string, connection: number): number | null {
    const socket = this.#find(agent, connection);
    return socket === null ? null : (this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? null);
  }

  #find(agent: string, connection: number): WebSocket | null {
    const open = this.#ctx.getWebSockets(agent).filter((socket) => socket.readyState === WebSocket.READY_STATE_OPEN);
    return open.find((socket) => this.line(socket).connection === connection) ?? null;
  }
}
