/**
 * A token issuer for tests: keys made and tokens signed here with jose, discovery and key set served by the real HTTP server of
 * test/support/issuer-server.ts. Each has its own tenant there, so tests do not meet.
 */
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from "jose";
import { inject } from "vitest";
import type { IssuerConfig } from "../../../policy/types.ts";
import { defaultClaims, type Provider } from "../../../protocol/provider-claims.ts";
import type { Workload } from "../../../protocol/workload.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Provided by test/support/issuer-server.ts. */
    readonly issuerServer: string;
  }
}

export const AUDIENCE = "https://gate.test";

interface Route {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly delay?: number;
}

export interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicJwk: JWK;
}

export async function makeKey(kid: string, alg = "RS256"): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}

export interface TokenOptions {
  readonly now: number;
  readonly claims?: Record<string, unknown>;
  readonly header?: Record<string, unknown>;
  readonly key?: SigningKey;
}

export class TestIssuer {
  readonly provider: Provider;
  readonly iss: string;
  readonly #control: string;
  key: SigningKey;

  constructor(provider: Provider, tenant: string, key: SigningKey) {
    this.provider = provider;
    this.iss = `${inject("issuerServer")}/${tenant}`;
    this.#control = `${inject("issuerServer")}/control/${tenant}`;
    this.key = key;
  }

  config(overrides: Partial<IssuerConfig> = {}): IssuerConfig {
    const algorithms = ["RS256", "ES256"];
    return { issuer: this.iss, provider: this.provider, algorithms, audience: AUDIENCE, max_token_age_s: 600, ...overrides };
  }

  /** Serves this key set; `routes` replaces or adds answers. */
  async serve(keys: readonly JWK[] = [this.key.publicJwk], routes: Record<string, Route> = {}): Promise<void> {
    await this.#put({
      routes: {
        "/.well-known/openid-configuration": { body: JSON.stringify({ issuer: this.iss, jwks_uri: `${this.iss}/keys` }) },
        "/keys": { body: JSON.stringify({ keys }) },
        ...routes,
      },
    });
  }

  async goDown(): Promise<void> {
    await this.#put({ down: true, routes: {} });
  }

  async hits(path: string): Promise<number> {
    const answer: { hits: Record<string, number> } = await (await fetch(this.#control)).json();
    return answer.hits[path] ?? 0;
  }

  /** A token of the provider's usual claims, as the issuer signs it; `undefined` in `claims` leaves one out. */
  token({ now, claims = {}, header = {}, key = this.key }: TokenOptions): Promise<string> {
    const nowS = Math.floor(now / 1000);
    const registered = { iss: this.iss, aud: AUDIENCE, iat: nowS, nbf: nowS, exp: nowS + 300, jti: crypto.randomUUID() };
    const payload = Object.entries({ ...defaultClaims(this.provider), ...registered, ...claims }).filter(
      ([, value]) => value !== undefined,
    );
    return new SignJWT(Object.fromEntries(payload))
      .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: "JWT", ...header })
      .sign(key.privateKey);
  }

  async #put(script: unknown): Promise<void> {
    await fetch(this.#control, { method: "PUT", body: JSON.stringify(script) });
  }
}

/** An issuer that serves its key. */
export async function startIssuer(provider: Workload["provider"] = "github", alg = "RS256"): Promise<TestIssuer> {
  const issuer = new TestIssuer(provider, crypto.randomUUID(), await makeKey(`key-${crypto.randomUUID()}`, alg));
  await issuer.serve();
  return issuer;
}
