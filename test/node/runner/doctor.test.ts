/** What doctor says of a token, by reading it. Tokens are real JWTs, signed by nobody who matters. */
import { SignJWT, type JWTPayload } from "jose";
import { describe, expect, it } from "vitest";
import { readToken } from "../../../runner/doctor/token.ts";

const AUDIENCE = "https://gate.example.com";
const NOW = Date.parse("2026-11-22T08:00:00Z");
const S = NOW / 1000;

const token = (claims: JWTPayload): Promise<string> =>
  new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode("no key that matters, but long enough"));

async function statuses(claims: JWTPayload): Promise<Record<string, string>> {
  return Object.fromEntries(readToken(await token(claims), AUDIENCE, NOW).map(({ check, status }) => [check, status]));
}

describe("a token", () => {
  it("is fine when it is for the gateway and fresh", async () => {
    expect(await statuses({ aud: [AUDIENCE, "other"], iat: S - 10, exp: S + 290 })).toEqual({ audience: "ok", age: "ok", claims: "ok" });
  });

  it.each([
    ["for another audience", { aud: "https://github.com/shop", iat: S }, { audience: "warn" }],
    ["for nobody", { iat: S }, { audience: "warn" }],
    ["from the future", { aud: AUDIENCE, iat: S + 120 }, { age: "fail" }],
    ["expired", { aud: AUDIENCE, iat: S - 400, exp: S - 100 }, { age: "fail" }],
    ["older than a gateway takes", { aud: AUDIENCE, iat: S - 3600, exp: S + 3600 }, { age: "warn" }],
    ["of no age", { aud: AUDIENCE }, { age: "fail" }],
  ])("is not when it is %s", async (_, claims, expected) => {
    expect(await statuses(claims)).toMatchObject(expected);
  });

  it("that is none is said to be none, and not shown", () => {
    const [finding] = readToken("hunter2", AUDIENCE, NOW);
    expect(finding).toMatchObject({ check: "token", status: "fail" });
    expect(finding?.message).not.toContain("hunter2");
  });

  it("shows the claims that identities are matched on, and nothing else", async () => {
    const made = await token({ aud: AUDIENCE, iat: S, iss: "https://ci", sub: "repo:x", repository_id: "741", secret_thing: "hush" });
    const claims = readToken(made, AUDIENCE, NOW).find(({ check }) => check === "claims");
    expect(claims?.message).toBe("the token says iss=https://ci, sub=repo:x, repository_id=741");
  });
});
