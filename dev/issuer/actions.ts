/**
 * GitHub Actions' token endpoint, as a job sees it: `GET $ACTIONS_ID_TOKEN_REQUEST_URL&audience=AUD` with the job's
 * request token as bearer answers `{"value": "<JWT>"}`. The demo and the end-to-end tests play CI jobs with it.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface ActionsEndpoint {
  /** What GitHub sets in a job's environment. */
  readonly env: Readonly<Record<"GITHUB_ACTIONS" | "ACTIONS_ID_TOKEN_REQUEST_URL" | "ACTIONS_ID_TOKEN_REQUEST_TOKEN", string>>;
  /** Tokens handed out so far. */
  readonly issued: number;
  stop(): Promise<void>;
}

/** `mint` signs a token of the job for an audience. */
export async function serveActionsEndpoint(mint: (audience: string) => Promise<string>): Promise<ActionsEndpoint> {
  const requestToken = randomBytes(24).toString("base64url");
  const expected = Buffer.from(`bearer ${requestToken}`);
  let issued = 0;
  const server = createServer((request, response) => {
    const presented = Buffer.from((request.headers.authorization ?? "").replace(/^bearer/i, "bearer"));
    if (presented.length !== expected.length || !timingSafeEqual(presented, expected)) {
      response.writeHead(401).end();
      return;
    }
    const audience = new URL(request.url ?? "/", "http://localhost").searchParams.get("audience") ?? "https://github.com/shop";
    issued += 1;
    mint(audience).then(
      (value) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ value })),
      () => response.writeHead(500).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    env: {
      GITHUB_ACTIONS: "true",
      ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${port}/token?api-version=2.0`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: requestToken,
    },
    get issued() {
      return issued;
    },
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
