/** Where a request may carry its token, and the form of a token request: everything else is refused by name. */
import { describe, expect, test } from "vitest";
import { readPresented } from "../../../worker/identity/presented.ts";
import { ACCESS_TOKEN_TYPE, GRANT_TYPE, readTokenRequest } from "../../../worker/identity/token-request.ts";

function presented(headers: Record<string, string>, url = "https://gate.test/v1/whoami"): string {
  const answer = readPresented(new Request(url, { headers }));
  return answer.ok ? answer.value.scheme : answer.error.code;
}

describe("the Authorization header", () => {
  test("Bearer, and DPoP with a proof, in any case of the scheme", () => {
    expect(presented({ authorization: "Bearer a.b.c" })).toBe("bearer");
    expect(presented({ authorization: "bearer a.b.c" })).toBe("bearer");
    expect(presented({ authorization: "DPoP sallyport~x~y", dpop: "a.b.c" })).toBe("dpop");
    expect(presented({ authorization: "dpop sallyport~x~y", dpop: "a.b.c" })).toBe("dpop");
  });

  test.each([
    ["absent", {}, "token_missing"],
    ["empty", { authorization: "" }, "token_missing"],
    ["another scheme", { authorization: "Basic dTpw" }, "token_invalid"],
    ["no scheme", { authorization: "a.b.c" }, "token_invalid"],
    ["no token", { authorization: "Bearer" }, "token_invalid"],
    ["two tokens", { authorization: "Bearer a b" }, "token_invalid"],
    ["two headers joined", { authorization: "Bearer a.b.c, Bearer d.e.f" }, "token_invalid"],
    ["characters of no token", { authorization: 'Bearer "a"' }, "token_invalid"],
    ["a proof beside Bearer", { authorization: "Bearer a.b.c", dpop: "d.e.f" }, "token_invalid"],
    ["DPoP without a proof", { authorization: "DPoP x" }, "proof_invalid"],
    ["two proofs", { authorization: "DPoP x", dpop: "a.b.c, d.e.f" }, "proof_invalid"],
    ["too large", { authorization: `Bearer ${"a".repeat(20_000)}` }, "too_large"],
    ["a proof too large", { authorization: "DPoP x", dpop: "a".repeat(20_000) }, "too_large"],
  ])("%s", (_name, headers, code) => {
    expect(presented(headers)).toBe(code);
  });
});

test("a token in the query is refused, with a header or without", () => {
  for (const name of ["access_token", "id_token", "token", "subject_token"]) {
    const url = `https://gate.test/v1/whoami?${name}=a.b.c`;
    expect(presented({}, url)).toBe("bad_request");
    expect(presented({ authorization: "Bearer a.b.c" }, url)).toBe("bad_request");
  }
  expect(presented({ authorization: "Bearer a.b.c" }, "https://gate.test/v1/history?limit=5")).toBe("bearer");
});

describe("the token request", () => {
  const good = { grant_type: GRANT_TYPE, subject_token: "t", subject_token_type: "urn:ietf:params:oauth:token-type:jwt" };
  const read = (form: Record<string, string> | string): string => {
    const answer = readTokenRequest(new URLSearchParams(form), "https://gate.test");
    return answer.ok ? answer.value.kind : answer.error;
  };

  test("exchange and renewal", () => {
    expect(read(good)).toBe("exchange");
    expect(read({ ...good, subject_token_type: ACCESS_TOKEN_TYPE, audience: "https://gate.test" })).toBe("renewal");
  });

  test("what is missing, unknown, empty, repeated or of another kind is named", () => {
    expect(read("")).toContain("grant_type must be");
    expect(read({ ...good, resource: "x" })).toContain('"resource" is not known');
    expect(read({ ...good, audience: "" })).toBe("audience is empty");
    expect(read({ ...good, audience: "https://other.test" })).toContain("audience is not");
    expect(read(`${new URLSearchParams(good)}&subject_token=u`)).toBe("subject_token is given twice");
    expect(read({ grant_type: GRANT_TYPE, subject_token_type: good.subject_token_type })).toBe("subject_token is missing");
    expect(read({ ...good, subject_token_type: "jwt" })).toContain("subject_token_type must be one of");
    expect(read({ ...good, requested_token_type: "x" })).toContain("requested_token_type must be");
  });

  test("no error repeats the token", () => {
    for (const more of [{ resource: "x" }, { audience: "" }, { grant_type: "x" }])
      expect(read({ ...good, subject_token: "s3cret", ...more })).not.toContain("s3cret");
  });
});
