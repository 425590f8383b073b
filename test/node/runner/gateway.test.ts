/** The gateway as a client sees it, over real HTTP: addresses, proofs, answers that are none, and what is said of them. */
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import * as z from "zod";
import { answerOf, ask } from "../../../runner/ask.ts";
import { CommandFailed } from "../../../runner/exit.ts";
import { audienceOf, gatewayAddress, openGateway } from "../../../runner/gateway.ts";
import { verifyProof } from "../../../worker/identity/dpop.ts";

const TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqb2IifQ.c2ln";
const Answer = z.object({ value: z.number() });
const closers: (() => Promise<void>)[] = [];
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sallyport-gateway-"));
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  rmSync(directory, { recursive: true, force: true });
});

async function serve(handler: RequestListener): Promise<URL> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  closers.push(
    () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  );
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/thing`);
}

const failureOf = async (work: Promise<unknown>): Promise<CommandFailed> => {
  const failure: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(CommandFailed);
  return failure as CommandFailed;
};

describe("the address", () => {
  it.each([
    ["https://gate.example.com/", "https://gate.example.com"],
    ["https://gate.example.com:8443", "https://gate.example.com:8443"],
    ["http://localhost:8787", "http://localhost:8787"],
    ["http://127.0.0.1:8787", "http://127.0.0.1:8787"],
    ["http://[::1]:8787", "http://[::1]:8787"],
  ])("%s is taken", (text, origin) => {
    expect(gatewayAddress(text, {})).toBe(origin);
    expect(gatewayAddress(undefined, { SALLYPORT_GATEWAY: text })).toBe(origin);
  });

  it.each([
    ["", "SALLYPORT_GATEWAY"],
    ["gate.example.com", "not an address"],
    ["http://gate.example.com", "must begin with https://"],
    ["http://127.0.0.1.example.com", "must begin with https://"],
    ["http://localhost.example.com", "must begin with https://"],
    ["ftp://127.0.0.1", "must begin with https://"],
  ])("%j is refused, with what to write", (text, says) => {
    expect(() => gatewayAddress(text, {})).toThrow(says);
  });

  it("is the audience, unless another is chosen", () => {
    expect(audienceOf("https://g", {})).toBe("https://g");
    expect(audienceOf("https://g", { SALLYPORT_AUDIENCE: "" })).toBe("https://g");
    expect(audienceOf("https://g", { SALLYPORT_AUDIENCE: "https://a" })).toBe("https://a");
  });
});

describe("an answer", () => {
  const get = async (handler: RequestListener) => answerOf(await ask(await serve(handler)), Answer);

  it("in its shape is given", async () => {
    expect(await get((_, response) => response.end('{"value":7,"more":1}'))).toEqual({ value: 7 });
  });

  it("that is a refusal carries the code, the policies and the reference", async () => {
    const problem = { type: "about:blank", title: "Denied.", status: 403, code: "denied", policies: ["p1"], ref: "ref_9" };
    const failure = await failureOf(get((_, response) => response.writeHead(403).end(JSON.stringify(problem))));
    expect(failure).toMatchObject({ name: "GatewayRefused", status: 77, message: "Denied. (policy p1) [denied; reference ref_9]" });
  });

  it.each([
    ["of another shape", 200, '{"value":"7"}', 76, "malformed"],
    ["that is no JSON", 200, "<html>sign in</html>", 76, "malformed"],
    ["of something else", 502, "<html>bad gateway</html>", 76, "not as a Sallyport gateway does"],
    ["with a code that nobody knows", 403, '{"type":"x","title":"x","status":403,"code":"novel"}', 76, "not as a Sallyport gateway does"],
    ["that leads elsewhere", 302, "", 76, "not as a Sallyport gateway does"],
  ])("%s is said to be that", async (_, status, body, exit, says) => {
    const failure = await failureOf(get((request, response) => response.writeHead(status, { location: "http://127.0.0.1:1/" }).end(body)));
    expect(failure.status).toBe(exit);
    expect(failure.message).toContain(says);
  });

  it("that is cut short is said to be that", async () => {
    const failure = await failureOf(
      get((_, response) => {
        response.writeHead(200, { "content-length": "100" }).write('{"value"');
        setTimeout(() => response.socket?.destroy(), 20);
      }),
    );
    expect(failure.status).toBe(69);
    expect(failure.message).toContain("was lost while it answered");
  });

  it("that never comes names the errno", async () => {
    const url = await serve(() => {});
    await closers.pop()?.();
    const failure = await failureOf(ask(url));
    expect(failure).toMatchObject({ status: 69, message: `the gateway ${url.origin} could not be reached (ECONNREFUSED)` });
  });
});

describe("a client", () => {
  it("proves its key for each request, bound to method, address and credential", async () => {
    const seen: {
      readonly method: string;
      readonly url: string;
      readonly authorization: string;
      readonly dpop: string;
      readonly body: string;
    }[] = [];
    const url = await serve((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        const { method = "", headers } = request;
        seen.push({ method, url: request.url ?? "", authorization: headers.authorization ?? "", dpop: String(headers["dpop"]), body });
        const issued = { issued_token_type: "urn:ietf:params:oauth:token-type:access_token", token_type: "DPoP", expires_in: 900 };
        const exchanged = { access_token: "sallyport~orders-ci~secret", identity: "orders-ci", ...issued };
        response.end(JSON.stringify(request.url === "/v1/token" ? exchanged : { value: seen.length }));
      });
    });
    const gateway = openGateway(url.origin, { SALLYPORT_TOKEN: TOKEN, XDG_RUNTIME_DIR: directory });
    expect(gateway.identity).toBeUndefined();
    expect(await gateway.request("/v1/can", Answer, { method: "POST", body: { target: "t" } })).toEqual({ value: 2 });
    expect(await gateway.request("/v1/sessions", Answer, { query: { limit: 2, cursor: undefined } })).toEqual({ value: 3 });
    expect(gateway.identity).toBe("orders-ci");
    const [token, can, sessions] = seen;
    expect(token).toMatchObject({ method: "POST", authorization: "" });
    expect(token?.body).toContain(`subject_token=${TOKEN}`);
    expect(can).toMatchObject({ url: "/v1/can", authorization: "DPoP sallyport~orders-ci~secret", body: '{"target":"t"}' });
    expect(sessions).toMatchObject({ method: "GET", url: "/v1/sessions?limit=2" });
    const expected = { method: "GET", url: `${url.origin}/v1/sessions`, credential: "sallyport~orders-ci~secret", now: Date.now() };
    expect(await verifyProof(sessions?.dpop ?? "", expected)).toMatchObject({ ok: true });
    // The negative controls: it is a proof for nothing else.
    for (const other of [{ method: "POST" }, { url: `${url.origin}/v1/can` }, { credential: "sallyport~other" }]) {
      expect(await verifyProof(sessions?.dpop ?? "", { ...expected, ...other })).toMatchObject({ ok: false });
    }
    expect(new Set(seen.map(({ dpop }) => dpop)).size).toBe(3);
  });

  it("shows no token when it is refused", async () => {
    const url = await serve((_, response) => {
      const problem = { type: "about:blank", title: "Not accepted.", status: 401, code: "token_invalid", ref: "ref_1" };
      response.writeHead(401).end(JSON.stringify(problem));
    });
    const gateway = openGateway(url.origin, { SALLYPORT_TOKEN: TOKEN, XDG_RUNTIME_DIR: directory });
    const failure = await failureOf(gateway.open("/v1/whoami"));
    expect(failure).toMatchObject({ status: 77, message: "Not accepted. [token_invalid; reference ref_1]" });
  });
});
