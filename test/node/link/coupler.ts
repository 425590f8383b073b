/**
 * A small gateway for tests: joins a connector's and an agent's socket as SessionDO does (both upgrades are held until
 * the other side is there), passes messages without reading them, and cuts on command. A slow side slows the other
 * down, as the native coupling does.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocketServer, type WebSocket } from "ws";
import { RESUME_HEADER, SESSION_HEADER } from "../../../protocol/api.ts";
import { ERRORS, type ErrorCode } from "../../../protocol/errors.ts";
import { mintSecret, mintSessionId } from "../../../protocol/ids.ts";

interface Held {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

type Side = "runner" | "agent";
const random = (bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => crypto.getRandomValues(bytes);

export class Coupler {
  readonly session: string = mintSessionId(random);
  readonly secret: string = mintSecret(random);
  /** Set: every upgrade of that side is refused with this. */
  refuse: { runner?: ErrorCode; agent?: ErrorCode } = {};
  /** Sees every message; false swallows it. */
  tap: (from: Side, data: Buffer, binary: boolean) => boolean = () => true;
  joins = 0;
  readonly resumes: (string | undefined)[] = [];
  /** Of the connector's first request. */
  headers: IncomingMessage["headers"] = {};
  readonly #http: Server = createServer((_, response) => response.writeHead(404).end());
  readonly #ws: WebSocketServer = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  readonly #held = new Map<Side, Held>();
  #joined: Record<Side, WebSocket> | undefined;
  onHeld: (side: Side) => void = () => {};

  async listen(): Promise<void> {
    this.#http.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => this.#arrive({ request, socket, head }));
    this.#ws.on("headers", (headers, request) => {
      headers.push(`${SESSION_HEADER}: ${this.session}`);
      if (request.url?.endsWith("/connect") !== true) return;
      this.headers = request.headers;
      headers.push(`${RESUME_HEADER}: ${this.secret}`);
    });
    await new Promise<void>((resolve) => {
      this.#http.listen(0, "127.0.0.1", resolve);
    });
  }

  get origin(): string {
    return `ws://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** Both sides lose their socket without a word, and whatever is under way with it. */
  cut(): void {
    const joined = this.#joined;
    this.#joined = undefined;
    joined?.runner.terminate();
    joined?.agent.terminate();
  }

  /** Closes one side's socket with a code. */
  closeSide(side: Side, code: number): void {
    this.#joined?.[side].close(code);
  }

  /** Injects a message to one side. */
  send(to: Side, data: string | Uint8Array): void {
    this.#joined?.[to].send(data);
  }

  async close(): Promise<void> {
    this.cut();
    for (const held of this.#held.values()) held.socket.destroy();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  /** Refuses an upgrade that is held. */
  refuseHeld(side: Side, code: ErrorCode): void {
    const held = this.#held.get(side);
    this.#held.delete(side);
    if (held !== undefined) this.#refuse(held.socket, code);
  }

  #arrive(held: Held): void {
    held.socket.on("error", () => held.socket.destroy());
    const side: Side = held.request.url?.endsWith("/agent") === true ? "agent" : "runner";
    if (held.request.url?.endsWith("/resume") === true) this.resumes.push(held.request.headers.authorization);
    const code = this.refuse[side];
    if (code !== undefined) {
      this.#refuse(held.socket, code);
      return;
    }
    const before = this.#held.get(side);
    if (before !== undefined) this.#refuse(before.socket, "conflict");
    this.#held.set(side, held);
    this.onHeld(side);
    const { runner, agent } = { runner: this.#held.get("runner"), agent: this.#held.get("agent") };
    if (runner === undefined || agent === undefined) return;
    this.#held.clear();
    this.cut();
    const joined: Partial<Record<Side, WebSocket>> = {};
    const got = (side: Side, socket: WebSocket): void => {
      joined[side] = socket;
      if (joined.runner !== undefined && joined.agent !== undefined) this.#join({ runner: joined.runner, agent: joined.agent });
    };
    this.#ws.handleUpgrade(runner.request, runner.socket, runner.head, (socket) => got("runner", socket));
    this.#ws.handleUpgrade(agent.request, agent.socket, agent.head, (socket) => got("agent", socket));
  }

  #join(joined: Record<Side, WebSocket>): void {
    this.#joined = joined;
    this.joins += 1;
    const pipe = (from: Side, source: WebSocket, sink: WebSocket): void => {
      source.on("error", () => {});
      source.on("message", (data: Buffer, binary) => {
        if (!this.tap(from, data, binary)) return;
        source.pause();
        sink.send(data, { binary }, () => source.resume());
      });
      source.on("close", (code) => {
        if (code === 1006) sink.terminate();
        else sink.close(code === 1005 ? 1000 : code);
      });
    };
    pipe("runner", joined.runner, joined.agent);
    pipe("agent", joined.agent, joined.runner);
  }

  #refuse(socket: Duplex, code: ErrorCode): void {
    const { status, sentence } = ERRORS[code];
    const body = JSON.stringify({ type: `https://sallyport.dev/errors#${code}`, title: sentence, status, code });
    socket.end(
      `HTTP/1.1 ${status} Refused\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    );
  }
}
