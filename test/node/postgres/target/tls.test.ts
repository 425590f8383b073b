/** TLS to the target: what is verified, and that nothing is sent to a target that does not pass. A real server behind a TLS front. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { errorOf, firstColumn, RawClient, startupPacket, V3_0 } from "../raw-client.ts";
import { startGateway } from "../support.ts";

const file = (name: string): string => new URL(`../../../vectors/postgres/tls/${name}`, import.meta.url).pathname;
const context = createSecureContext({ key: readFileSync(file("server.key")), cert: readFileSync(file("server.pem")) });

let postgres: PostgresServer;
beforeAll(async () => {
  postgres = await startPostgres();
}, 60_000);
afterAll(() => postgres.stop());

/** Answers SSLRequest with these bytes; after an `S` alone it speaks TLS and passes everything on to the real server. */
async function front(answer: string): Promise<{ port: number; seen: () => number; close: () => void }> {
  let seen = 0;
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("data", () => {
      socket.write(answer);
      if (answer !== "S") {
        socket.on("data", (bytes) => (seen += bytes.length));
        return;
      }
      const secured = new TLSSocket(socket, { isServer: true, secureContext: context, ALPNProtocols: ["postgresql"] });
      const upstream = connect(postgres.port, "127.0.0.1");
      secured.on("error", () => upstream.destroy()).on("data", (bytes) => (seen += bytes.length));
      upstream.on("error", () => secured.destroy());
      secured.pipe(upstream).pipe(secured);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { port: (server.address() as AddressInfo).port, seen: () => seen, close };
}

async function tried(config: Record<string, unknown>, answer = "S") {
  const target = await front(answer);
  const gateway = await startGateway({ postgres, config: { address: `127.0.0.1:${target.port}`, tls: "verify-full", ...config } });
  const client = await RawClient.open(gateway.port);
  client.send(startupPacket(V3_0, ["user", "u"]));
  const greeting = await client.until("Z");
  const error = errorOf(greeting);
  const rows = error === undefined ? firstColumn(await client.query("select 1")) : [];
  client.destroy();
  await gateway.stop();
  target.close();
  return { error, rows, seen: target.seen() };
}

const ca = file("ca.pem");

describe("lets in", () => {
  test.each([
    ["verify-full with the CA and the certificate's name", { ca, server_name: "db.test" }],
    ["verify-ca with another name", { tls: "verify-ca", ca }],
    ["require without a CA", { tls: "require" }],
  ])("%s", async (_what, config) => {
    expect(await tried(config)).toMatchObject({ error: undefined, rows: ["1"] });
  });
});

describe("sends nothing to, and tells the client no more than 08001", () => {
  test.each([
    ["a certificate of another name", { ca }, "S"],
    ["a certificate of an unknown CA", { server_name: "db.test" }, "S"],
    ["verify-ca and an unknown CA", { tls: "verify-ca" }, "S"],
    ["a target without TLS", { ca }, "N"],
    ["bytes before the handshake (CVE-2021-23222)", { ca }, "SR"],
    ["an answer that is none", { ca }, "E"],
    ["a CA file that cannot be read", { ca: "/nonexistent/ca.pem" }, "S"],
  ])("%s", async (_what, config, answer) => {
    const { error, seen } = await tried(config, answer);
    expect(error).toMatchObject({ S: "FATAL", C: "08001", M: "sallyport: the target could not be reached, or did not accept the agent" });
    expect(seen).toBe(0);
  });
});

test("a target that is down, or refuses the password: 08001, without its words", async () => {
  for (const config of [{ address: "127.0.0.1:1" }, { user: "nobody-like-that" }]) {
    const gateway = await startGateway({ postgres, config });
    const client = await RawClient.open(gateway.port);
    client.send(startupPacket(V3_0, ["user", "u"]));
    const error = errorOf(await client.untilClosed());
    expect(error).toMatchObject({ S: "FATAL", C: "08001" });
    expect(JSON.stringify(error)).not.toContain("nobody-like-that");
    await gateway.stop();
  }
});
