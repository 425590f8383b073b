/** Each provider's adapter on realistic claim sets: what becomes of them in the vocabulary, and which are refused by default (GW-07). */
import { describe, expect, test } from "vitest";
import type { IdentityDeclaration } from "../../../policy/types.ts";
import { defaultClaims, usualIssuer, type Provider } from "../../../protocol/provider-claims.ts";
import { matchIdentity } from "../../../worker/identity/match.ts";
import { readWorkload } from "../../../worker/identity/providers/adapter.ts";
import { ADAPTERS } from "../../../worker/identity/providers/index.ts";
import vectors from "../../vectors/identity/providers.json" with { type: "json" };

type Claims = Record<string, unknown>;
type Pins = Record<string, readonly string[]>;

const PROVIDERS = Object.keys(ADAPTERS) as Provider[];

function tokenClaims(provider: Provider, changes: Claims): Claims {
  const claims = { iss: usualIssuer(provider), ...defaultClaims(provider), ...changes };
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== "(absent)"));
}

function declare(provider: Provider, claims: Pins, more: Partial<IdentityDeclaration> = {}): IdentityDeclaration {
  const match = [{ issuer: usualIssuer(provider), claims, allow_weak_match: false }];
  return {
    name: "ci",
    kind: "non-human",
    owner: "mira",
    purpose: "test",
    groups: [],
    hold: "wait",
    chat: [],
    file: "identities/ci.yaml",
    ...more,
    match,
  };
}

/** "ok", or why not. */
function judge(provider: Provider, claims: Claims, identity: IdentityDeclaration): string {
  const workload = readWorkload(ADAPTERS[provider], claims);
  if (!workload.ok) return workload.error;
  const matched = matchIdentity([identity], claims, workload.value);
  return matched.ok ? "ok" : matched.error;
}

describe.each(PROVIDERS)("%s", (provider) => {
  test("an ordinary job's claims read into the vocabulary", () => {
    const workload = readWorkload(ADAPTERS[provider], tokenClaims(provider, {}));
    expect(workload).toEqual({ ok: true, value: { provider, issuer: usualIssuer(provider), ...vectors.workloads[provider] } });
  });

  test("a token without a required claim, or without sub, is no token of the provider", () => {
    for (const name of [...ADAPTERS[provider].required.filter((name) => !name.startsWith("/")), "sub", "iss"]) {
      for (const value of ["(absent)", "", null, ["x"]]) {
        expect(readWorkload(ADAPTERS[provider], tokenClaims(provider, { [name]: value })).ok, `${name} = ${JSON.stringify(value)}`).toBe(
          false,
        );
      }
    }
  });

  test("a value too long for the vocabulary is refused, not cut", () => {
    expect(readWorkload(ADAPTERS[provider], tokenClaims(provider, { sub: "x".repeat(2049) })).ok).toBe(false);
  });
});

describe.each(vectors.cases)("$provider: $name", ({ provider, changes, match, expected, environment }) => {
  test(`→ ${expected}`, () => {
    const identity = declare(provider as Provider, match as Pins, environment === undefined ? {} : { environment });
    const said = judge(provider as Provider, tokenClaims(provider as Provider, changes), identity);
    if (expected === "ok") expect(said).toBe("ok");
    else expect(said).toContain(expected);
  });
});
