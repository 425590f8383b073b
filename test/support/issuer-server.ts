/**
 * A real HTTP server on loopback for token issuers of tests in workerd, started once by vitest in Node. Its tenants are
 * scripted over HTTP, since the tests run in another process: what each path answers, and whether the tenant is down.
 *
 *   PUT /control/<tenant>   { down?, routes: { "/path": { status?, headers?, body?, delay? } } }
 *   GET /control/<tenant>   { hits: { "/path": n } }
 *   GET /<tenant>/path      as scripted; 404 otherwise; while down the socket is cut
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    readonly issuerServer: string;
  }
}

interface Route {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  /** ms before the answer. */
  readonly delay?: number;
}

interface Tenant {
  readonly down: boolean;
  readonly routes: Record<string, Route>;
  readonly hits: Record<string, number>;
}

const tenants = new Map<string, Tenant>();

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, first = "", second = "", ...rest] = new URL(request.url ?? "/", "http://localhost").pathname.split("/");
  if (first === "control") {
    if (request.method === "PUT") {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const script = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { down?: boolean; routes: Record<string, Route> };
      tenants.set(second, { down: script.down ?? false, routes: script.routes, hits: tenants.get(second)?.hits ?? {} });
    }
    response.end(JSON.stringify({ hits: tenants.get(second)?.hits ?? {} }));
    return;
  }
  const tenant = tenants.get(first);
  const path = `/${[second, ...rest].join("/")}`;
  if (tenant !== undefined) tenant.hits[path] = (tenant.hits[path] ?? 0) + 1;
  if (tenant?.down === true) {
    request.socket.destroy();
    return;
  }
  const route = tenant?.routes[path];
  if (route?.delay !== undefined) await wait(route.delay);
  response.writeHead(route === undefined ? 404 : (route.status ?? 200), { "content-type": "application/json", ...route?.headers });
  response.end(route?.body ?? "");
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  project.provide("issuerServer", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
}
