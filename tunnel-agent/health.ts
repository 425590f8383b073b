/**
 * The agent's own HTTP server, on loopback unless configured otherwise: `GET /healthz` (200 ok, 503 degraded, with
 * the reasons) and `GET /metrics`. It tells names, counts and ages; no credential, no command, no address of a target.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Metrics, Readings } from "./metrics.ts";

export interface Health extends Readings {
  /** Why everything is denied, if it is. */
  readonly policyReason: string | undefined;
  readonly spoolMax: number;
  readonly draining: boolean;
}

/** From this share of its cap on, the spool is a reason for concern. */
const SPOOL_WARNING = 0.8;

/** Reasons why the agent is not well; empty: ok. */
export function ailments(health: Health): string[] {
  const reasons: string[] = [];
  if (!health.connected) reasons.push("The control socket to the gateway is down.");
  if (health.policyReason !== undefined) reasons.push(health.policyReason);
  if (health.spoolBytes >= health.spoolMax) reasons.push("The spool is full: nothing can be recorded, so nothing runs.");
  else if (health.spoolBytes >= health.spoolMax * SPOOL_WARNING) reasons.push("The spool is nearly full.");
  if (health.draining) reasons.push("The agent is shutting down.");
  return reasons;
}

export class ListenError extends Error {
  override name = "ListenError";
}

export interface HealthServer {
  /** host:port; the port is the real one where 0 was configured. */
  readonly address: string;
  close(): Promise<void>;
}

/** `listen`: host:port, IPv6 in brackets. Rejects with ListenError, a sentence, when the address cannot be used. */
export async function serveHealth(listen: string, read: () => Health, metrics: Metrics): Promise<HealthServer> {
  const colon = listen.lastIndexOf(":");
  const host = listen.slice(0, colon);
  const server = createServer((request, response) => {
    const path = request.method === "GET" ? request.url : undefined;
    if (path === "/healthz") {
      const health = read();
      const reasons = ailments(health);
      const { sessions, connected, policyVersion, policyAge, spoolBytes, spoolMax, backlog } = health;
      const body = {
        status: reasons.length === 0 ? "ok" : "degraded",
        reasons,
        sessions,
        control: { connected },
        policy: { version: policyVersion, age_s: Number.isFinite(policyAge) ? Math.round(policyAge) : null },
        spool: { bytes: spoolBytes, max_bytes: spoolMax, backlog_segments: backlog.segments },
      };
      response.writeHead(reasons.length === 0 ? 200 : 503, { "content-type": "application/json" }).end(`${JSON.stringify(body)}\n`);
    } else if (path === "/metrics") {
      metrics.text().then(
        (text) => response.writeHead(200, { "content-type": metrics.contentType }).end(text),
        () => response.writeHead(500).end(),
      );
    } else response.writeHead(404).end();
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 5_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      const code = "code" in error ? String(error.code) : error.message;
      reject(new ListenError(`health.listen ${listen} cannot be used (${code}): write another port in agent.yaml`));
    });
    server.listen(Number(listen.slice(colon + 1)), host.replace(/^\[|\]$/g, ""), resolve);
  });
  const { port } = server.address() as AddressInfo;
  return { address: `${host}:${port}`, close: () => close(server) };
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
