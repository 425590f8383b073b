/**
 * The edge as an agent sees it: a real HTTP and WebSocket server on loopback that speaks protocol/agent-control.ts,
 * enrols agents, verifies their tokens, pairs a connector's socket with the agent's, and keeps segments. It decides
 * nothing; the true edge is tested in workerd and end to end.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { importJWK, jwtVerify } from "jose";
import { WebSocketServer, type WebSocket } from "ws";
import { AgentToEdge, bundleDigestText, type BundleFiles, type Dispatch, type EdgeToAgent } from "../../../../protocol/agent-control.ts";
import { DIAL_HEADER, EnrolRequest, RESUME_HEADER, SESSION_HEADER } from "../../../../protocol/api.ts";
import { mintAgentId, mintSecret, mintSessionId, type Random } from "../../../../protocol/ids.ts";

const random: Random = (bytes) => crypto.getRandomValues(bytes);

export interface Pair {
  readonly session: string;
  /** What the agent must present when it dials back. */
  dialSecret: string;
  readonly resumeSecret: string;
  connector: WebSocket | undefined;
  agent: WebSocket | undefined;
  /** Set: sockets are refused with 410 and this code. */
  refuse?: string;
}

export interface GatewayOptions {
  /** Enrolment tokens that count, once each. */
  readonly tokens?: readonly string[];
  readonly port?: number;
}

export class TestGateway {
  readonly origin: string;
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({ noServer: true });
  readonly #tokens: Set<string>;
  readonly keys = new Map<string, Record<string, string>>();
  readonly sessions = new Map<string, Pair>();
  /** Everything that agents said on control sockets, and its raw text. */
  readonly messages: AgentToEdge[] = [];
  raw = "";
  /** session/number → body. */
  readonly segments = new Map<string, Buffer>();
  /** Headers of every request, for looking for what should not be there. */
  requests: { readonly method: string; readonly path: string; readonly authorization: string }[] = [];
  readonly jtis = new Set<string>();
  control: WebSocket | undefined;
  bundle: { version: number; digest: string; files: BundleFiles } | undefined;
  /** Answers an upload instead of storing it. */
  uploadStatus: number | undefined;
  enrolStatus: number | undefined;
  #waiting: (() => void)[] = [];
  /** What a socket said while its pair was missing. */
  readonly #early = new WeakMap<WebSocket, [Buffer, boolean][]>();

  private constructor(server: Server, tokens: readonly string[]) {
    this.#server = server;
    this.#tokens = new Set(tokens);
    this.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("request", (request, response) => void this.#request(request, response));
    server.on("upgrade", (request, socket, head) => void this.#upgrade(request, socket, head));
  }

  static async start({ tokens = ["enrolment-token-1"], port = 0 }: GatewayOptions = {}): Promise<TestGateway> {
    const server = createServer();
    await new Promise<void>((resolve) => {
      server.listen(port, "127.0.0.1", resolve);
    });
    return new TestGateway(server, tokens);
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate();
    this.control?.terminate();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  send(message: EdgeToAgent): void {
    this.control?.send(JSON.stringify(message));
  }

  push(version: number, files: BundleFiles, digest = createHash("sha256").update(bundleDigestText(files)).digest("hex")): void {
    this.bundle = { version, digest, files };
    this.send({ type: "bundle", ...this.bundle });
  }

  /** Cuts the control socket; what it had not read yet is lost. */
  cutControl(): void {
    const socket = this.control;
    this.control = undefined;
    socket?.terminate();
  }

  /** Waits until `condition` holds; it is looked at after everything that happens here. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const deadline = performance.now() + 10_000;
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`it did not happen: ${what}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 20);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  heard<T extends AgentToEdge["type"]>(type: T): Extract<AgentToEdge, { type: T }>[] {
    return this.messages.filter((message): message is Extract<AgentToEdge, { type: T }> => message.type === type);
  }

  /** The whole recording as uploaded so far. */
  recording(session: string): string {
    const parts: Buffer[] = [];
    for (let n = 0; this.segments.has(`${session}/${n}`); n += 1) parts.push(this.segments.get(`${session}/${n}`) ?? Buffer.alloc(0));
    return Buffer.concat(parts).toString("utf8");
  }

  dispatchOf(pair: Pair, over: Partial<Dispatch> = {}): Dispatch {
    return {
      type: "dispatch",
      session: pair.session,
      target: "orders-db",
      identity: "orders-ci",
      workload: { provider: "github", issuer: "https://token.actions.githubusercontent.com", subject: "repo:1" },
      dial_secret: pair.dialSecret,
      started_at: Date.now(),
      deadline: Date.now() + 3_600_000,
      bundle: this.bundle?.version ?? 1,
      policies: ["p"],
      approvals: [],
      hold: "wait",
      redial: false,
      ...over,
    };
  }

  newPair(): Pair {
    const pair = {
      session: mintSessionId(random),
      dialSecret: mintSecret(random),
      resumeSecret: mintSecret(random),
      connector: undefined,
      agent: undefined,
    };
    this.sessions.set(pair.session, pair);
    return pair;
  }

  // ── what agents and connectors ask ──

  #happened(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async #request(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    this.#note(request);
    const answer = (status: number, value: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
      this.#happened();
    };
    const problem = (status: number, code: string): void =>
      answer(status, { type: "about:blank", title: `Refused: ${code}.`, status, code, ref: "ref_1" });
    const segment = /^\/v1\/agent\/sessions\/([^/]+)\/segments\/(\d+)$/.exec(request.url ?? "");
    if (request.url === "/v1/agents/enrol") {
      if (this.enrolStatus !== undefined) return problem(this.enrolStatus, this.enrolStatus >= 500 ? "internal" : "enrolment_invalid");
      const { token, name, public_key } = EnrolRequest.parse(JSON.parse(body.toString()));
      if (!this.#tokens.delete(token)) return problem(401, "enrolment_invalid");
      const agent = mintAgentId(random);
      this.keys.set(agent, public_key);
      return answer(201, { agent, site: "dc1", name });
    }
    if (segment === null) return problem(404, "not_found");
    if ((await this.#authenticate(request)) === null) return problem(401, "agent_unknown");
    if (this.uploadStatus !== undefined) return problem(this.uploadStatus, "internal");
    this.segments.set(`${segment[1]}/${segment[2]}`, body);
    answer(200, { stored: true, events: 1 });
  }

  #note(request: IncomingMessage): void {
    this.requests.push({ method: request.method ?? "", path: request.url ?? "", authorization: request.headers.authorization ?? "" });
  }

  /** The agent's id, when its token is good and new. */
  async #authenticate(request: IncomingMessage): Promise<string | null> {
    const token = (request.headers.authorization ?? "").replace("Bearer ", "");
    try {
      const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { iss: string; jti: string };
      const key = await importJWK(this.keys.get(claims.iss) ?? {}, "EdDSA");
      const { payload } = await jwtVerify(token, key, {
        issuer: claims.iss,
        subject: claims.iss,
        audience: this.origin,
        algorithms: ["EdDSA"],
      });
      if ((payload.exp ?? 0) - (payload.iat ?? 0) > 60 || payload.jti === undefined || this.jtis.has(payload.jti)) return null;
      this.jtis.add(payload.jti);
      return claims.iss;
    } catch {
      return null;
    }
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    this.#note(request);
    const refuse = (status: number, code: string): void => {
      const body = JSON.stringify({ type: "about:blank", title: "Refused.", status, code });
      socket.end(
        `HTTP/1.1 ${status} Refused\r\ncontent-type: application/problem+json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
      );
      this.#happened();
    };
    const accept = (done: (socket: WebSocket) => void, headers: string[] = []): void => {
      if (headers.length > 0) this.#sockets.once("headers", (lines: string[]) => lines.push(...headers));
      this.#sockets.handleUpgrade(request, socket, head, done);
    };
    const path = request.url ?? "";
    const session = /^\/v1\/sessions\/([^/]+)\/(agent|resume)$/.exec(path);
    if (path === "/v1/agent/control") {
      const agent = await this.#authenticate(request);
      if (agent === null) refuse(401, "agent_unknown");
      else accept((ws) => this.#control(ws, agent));
    } else if (session !== null) {
      const pair = this.sessions.get(session[1] ?? "");
      if (pair === undefined) refuse(404, "not_found");
      else if (pair.refuse !== undefined) refuse(410, pair.refuse);
      else if (session[2] === "resume") accept((ws) => this.#join(pair, "connector", ws));
      else if ((await this.#authenticate(request)) === null || request.headers[DIAL_HEADER] !== pair.dialSecret)
        refuse(401, "agent_unknown");
      else accept((ws) => this.#join(pair, "agent", ws));
    } else if (path.endsWith("/connect")) {
      const pair = this.newPair();
      const target = path.split("/")[3] ?? "";
      this.send(this.dispatchOf(pair, { target }));
      accept((ws) => this.#join(pair, "connector", ws), [`${SESSION_HEADER}: ${pair.session}`, `${RESUME_HEADER}: ${pair.resumeSecret}`]);
    } else refuse(404, "not_found");
  }

  #control(socket: WebSocket, agent: string): void {
    this.control = socket;
    socket.on("message", (data: Buffer) => {
      if (this.control !== socket) return;
      const text = data.toString();
      if (text === "ping") {
        socket.send("pong");
        return;
      }
      this.raw += text;
      const message = AgentToEdge.parse(JSON.parse(text));
      this.messages.push(message);
      if (message.type === "hello" && this.bundle !== undefined) this.send({ type: "bundle", ...this.bundle });
      this.#happened();
    });
    socket.on("close", () => {
      if (this.control === socket) this.control = undefined;
      this.#happened();
    });
    this.send({ type: "welcome", agent, site: "dc1", gateway: this.origin, now: Date.now() });
    this.#happened();
  }

  /** Pairs the two sockets of a session and passes messages on unread, as SessionDO does. A half whose other is missing waits. */
  #join(pair: Pair, side: "connector" | "agent", socket: WebSocket): void {
    const other = side === "agent" ? "connector" : "agent";
    pair[side]?.terminate();
    pair[side] = socket;
    const early: [Buffer, boolean][] = [];
    socket.on("message", (data: Buffer, binary: boolean) => {
      const peer = pair[other];
      if (peer === undefined || peer.readyState !== peer.OPEN) early.push([data, binary]);
      else peer.send(data, { binary });
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      if (pair[side] !== socket) return;
      pair[side] = undefined;
      pair[other]?.close();
      this.#happened();
    });
    this.#early.set(socket, early);
    const peer = pair[other];
    const missed = peer === undefined ? undefined : this.#early.get(peer);
    for (const [data, binary] of missed?.splice(0) ?? []) socket.send(data, { binary });
    this.#happened();
  }
}
