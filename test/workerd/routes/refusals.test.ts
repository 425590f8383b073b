/** Refusals: audited with their reason, answered without it, and standing even when the audit cannot be written. */
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { REFERENCE_HEADER, type RefusalRow } from "../../../protocol/api.ts";
import { ERRORS } from "../../../protocol/errors.ts";
import { problemResponse, refuseRequest } from "../../../worker/refusal.ts";
import { startGateway, type Gateway } from "./gateway.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterEach(() => {
  vi.restoreAllMocks();
});

const audited = (ref: string | undefined) => env.DB.prepare("SELECT * FROM refusals WHERE ref = ?").bind(ref).first<RefusalRow>();
const everything = async (): Promise<string> => JSON.stringify((await env.DB.prepare("SELECT * FROM refusals").all()).results);

describe("a refusal", () => {
  it("tells the client its code, sentence and reference, and the audit the reason", async () => {
    const response = await gateway.fetch("GET", "/v1/commands?q=secret-words", { as: "orders" });
    expect(response.status).toBe(403);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    const body = await response.json<{ ref: string }>();
    expect(body).toEqual({
      type: "urn:sallyport:error:denied",
      title: ERRORS.denied.sentence,
      status: 403,
      code: "denied",
      ref: expect.stringMatching(/^ref_[0-9a-z]{16}$/),
    });
    expect(response.headers.get(REFERENCE_HEADER)).toBe(body.ref);
    expect(await audited(body.ref)).toMatchObject({
      code: "denied",
      identity: "orders",
      path: "/v1/commands",
      reason: expect.stringMatching(/session:read/),
    });
    expect(await everything()).not.toContain("secret-words");
  });

  it("never holds a token, wherever it was sent", async () => {
    const token = await gateway.token("orders");
    const tampered = `${token.slice(0, -8)}AAAAAAAA`;
    await gateway.refused("GET", "/v1/whoami", { as: `Bearer ${tampered}` });
    await gateway.refused("GET", `/v1/whoami?access_token=${token}`);
    await gateway.refused("GET", `/v1/sessions/${token}`, { as: "orders" });
    await gateway.refused("POST", "/v1/agents/enrol", { json: { token, name: "Not A Name", public_key: {} } });
    await refuseRequest({ method: "GET", url: `https://gate.test/${token}` }, env, "denied", {
      reason: `because of ${token}`,
      subject: token,
    });
    const [header = "", payload = "", signature = ""] = token.split(".");
    expect(header.length * payload.length * signature.length).toBeGreaterThan(0);
    for (const part of [payload, signature]) expect(await everything()).not.toContain(part.slice(0, 20));
    // The control: the records are there, with the token blotted out.
    expect(await everything()).toContain("because of [token]");
  });

  it("is one capped record whatever the names in it hold (GW-22)", async () => {
    const hostile = 'main\n{"code":"allowed"}\r\u001b[31m\u0000\u202e' + "x".repeat(5000);
    const response = await refuseRequest({ method: "GET", url: `https://gate.test/${encodeURIComponent(hostile)}` }, env, "denied", {
      reason: hostile,
      identity: hostile,
      subject: hostile,
      policies: Array.from({ length: 100 }, () => hostile),
    });
    const row = await audited(response.headers.get(REFERENCE_HEADER) ?? "");
    const text = Object.values(row ?? {}).join("");
    expect(text).not.toMatch(/[\u0000-\u001f\u007f\u202e]/);
    expect(row?.subject).toMatch(/^main\\u000a\{"code":"allowed"\}\\u000d\\u001b\[31m\\u0000\\u202ex/);
    expect(row?.subject?.length).toBeLessThanOrEqual(512);
    expect(text.length).toBeLessThan(16_000);
  });

  it("says how to authenticate (RFC 9110 section 11.6.1)", () => {
    expect(problemResponse("token_missing", null).headers.get("www-authenticate")).toBe("Bearer");
    expect(problemResponse("token_invalid", null).headers.get("www-authenticate")).toBe('Bearer error="invalid_token"');
    expect(problemResponse("proof_invalid", null).headers.get("www-authenticate")).toBe('DPoP error="invalid_dpop_proof"');
    expect(problemResponse("denied", null).headers.get("www-authenticate")).toBeNull();
  });
});

describe("when D1 fails", () => {
  it("a refusal stands though it cannot be audited, and the log has the record", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => undefined);
    await env.DB.prepare("ALTER TABLE refusals RENAME TO refusals_gone").run();
    try {
      const problem = await gateway.refused("GET", "/v1/commands", { as: "orders" });
      expect(problem).toMatchObject({ status: 403, code: "denied" });
      const record = JSON.parse(String(log.mock.calls[0]?.[0])) as Record<string, unknown>;
      expect(record).toMatchObject({ level: "error", refusal: { ref: problem.ref, code: "denied", identity: "orders" } });
    } finally {
      await env.DB.prepare("ALTER TABLE refusals_gone RENAME TO refusals").run();
    }
  });

  it("the client learns `internal` and a reference, the log the exception", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => undefined);
    await env.DB.prepare("ALTER TABLE commands RENAME TO commands_gone").run();
    try {
      const response = await gateway.fetch("GET", "/v1/history", { as: "orders" });
      const body = await response.json<{ ref: string }>();
      expect(body).toEqual({
        type: "urn:sallyport:error:internal",
        title: ERRORS.internal.sentence,
        status: 500,
        code: "internal",
        ref: body.ref,
      });
      expect(JSON.parse(String(log.mock.calls[0]?.[0]))).toMatchObject({
        ref: body.ref,
        error: { message: expect.stringMatching(/commands/) },
      });
      expect(await audited(body.ref)).toMatchObject({ code: "internal", reason: "unexpected: Error" });
    } finally {
      await env.DB.prepare("ALTER TABLE commands_gone RENAME TO commands").run();
    }
  });
});

describe("every answer", () => {
  it("carries the defensive headers and no CORS, whatever it is", async () => {
    const answers = [
      await gateway.fetch("GET", "/v1/healthz", { headers: { origin: "https://evil.test" } }),
      await gateway.fetch("OPTIONS", "/v1/sessions", { headers: { origin: "https://evil.test", "access-control-request-method": "GET" } }),
      await gateway.fetch("GET", "/nowhere"),
      await gateway.fetch("GET", "/v1/whoami"),
      await gateway.fetch("GET", "/v1/whoami", { as: "orders" }),
    ];
    expect(answers.map((answer) => answer.status)).toEqual([200, 404, 404, 401, 200]);
    for (const answer of answers) {
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      expect(answer.headers.get("cache-control")).toMatch(/no-store/);
      expect(answer.headers.get("content-security-policy")).toMatch(/default-src 'none'/);
      expect(answer.headers.get("strict-transport-security")).not.toBeNull();
      expect(answer.headers.get("access-control-allow-origin")).toBeNull();
    }
    expect(await answers[2]?.json()).toMatchObject({ code: "not_found", status: 404 });
  });
});

describe("bodies", () => {
  const path = "/v1/agents/enrol";
  it("of another type, not JSON, of another shape, or too large are refused, without repeating what was sent", async () => {
    const json = { "content-type": "application/json" };
    expect(await gateway.refused("POST", path, { body: "{}", headers: { "content-type": "text/plain" } })).toMatchObject({
      code: "bad_request",
      detail: "Send content-type: application/json.",
    });
    expect(
      (await gateway.refused("POST", path, { body: "{}", headers: { "content-type": "application/json; charset=latin1" } })).code,
    ).toBe("bad_request");
    expect((await gateway.refused("POST", path, { body: "{", headers: json })).code).toBe("bad_request");
    expect((await gateway.refused("POST", path, { body: new Uint8Array([0x22, 0xff, 0x22]), headers: json })).code).toBe("bad_request");
    const shape = await gateway.refused("POST", path, { json: { token: 7, name: "secret-name" } });
    expect(shape.detail).toMatch(/token: .*public_key: /);
    expect(shape.detail).not.toMatch(/secret-name/);
    expect(await gateway.refused("POST", path, { json: "x".repeat(65 * 1024) })).toMatchObject({ status: 413, code: "too_large" });
  });

  it("are not read beyond the limit, whatever length they claim", async () => {
    let pulled = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled += 1;
        if (pulled > 1000) controller.close();
        else controller.enqueue(new Uint8Array(16 * 1024).fill(0x20));
      },
    });
    const answer = await gateway.refused("POST", path, { body, headers: { "content-type": "application/json" } });
    expect(answer).toMatchObject({ status: 413, code: "too_large" });
    expect(pulled).toBeLessThan(100);
  });
});
