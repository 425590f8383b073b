/** A client's WebSocket in tests: what arrives is queued, its close is a promise. */
export interface Closed {
  readonly code: number;
  readonly reason: string;
}

export class Peer {
  readonly closed: Promise<Closed>;
  readonly #socket: WebSocket;
  readonly #queue: (string | Uint8Array)[] = [];
  #wake: () => void = () => undefined;
  #over: Closed | null = null;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.accept();
    socket.addEventListener("message", ({ data }) => {
      this.#queue.push(typeof data === "string" ? data : new Uint8Array(data as ArrayBuffer));
      this.#notify();
    });
    this.closed = new Promise((resolve) => {
      socket.addEventListener("close", ({ code, reason }) => {
        this.#over = { code, reason };
        this.#notify();
        resolve(this.#over);
      });
    });
  }

  send(data: string | Uint8Array): void {
    this.#socket.send(data);
  }

  close(code = 1000, reason = ""): void {
    this.#socket.close(code, reason);
  }

  /** The next message; throws when the socket closes first. */
  async next(): Promise<string | Uint8Array> {
    for (;;) {
      const first = this.#queue.shift();
      if (first !== undefined) return first;
      await this.#more();
    }
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = () => undefined;
    wake();
  }

  async #more(): Promise<void> {
    if (this.#over !== null) throw new Error(`closed with ${this.#over.code} ${this.#over.reason} before a message came`);
    await new Promise<void>((resolve) => {
      const before = this.#wake;
      this.#wake = () => {
        before();
        resolve();
      };
    });
  }

  /** The first control message of this type, or that fits, read or yet to come; others stay where they are. */
  async message(fits: string | ((message: Record<string, unknown>) => boolean)): Promise<{ type: string }> {
    for (;;) {
      for (const [at, text] of this.#queue.entries()) {
        const message = typeof text === "string" ? (JSON.parse(text) as { type: string }) : { type: "binary" };
        if (typeof fits === "string" ? message.type !== fits : !fits(message)) continue;
        this.#queue.splice(at, 1);
        return message;
      }
      await this.#more();
    }
  }

  /** Messages that have arrived and were not read. */
  unread(): readonly (string | Uint8Array)[] {
    return [...this.#queue];
  }
}
