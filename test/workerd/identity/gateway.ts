/** What the tests of this room share: a bundle as data, requests as clients send them, and proofs of a client's key. */
import { base64url, calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from "jose";
import type { IdentityDeclaration, IssuerConfig } from "../../../policy/types.ts";
import type { ActiveBundle } from "../../../worker/identity/caller.ts";

export const ORIGIN = "https://gate.test";
/** Random per call, so that no two tests share an identity's object. */
export const freshName = (stem = "ci"): string => `${stem}-${crypto.randomUUID()}`;

export function identity(
  issuer: string,
  overrides: Partial<Omit<IdentityDeclaration, "match">> & { claims?: IdentityDeclaration["match"][number]["claims"] } = {},
): IdentityDeclaration {
  const { claims = { repository_id: ["7070"] }, ...declared } = overrides;
  return {
    name: freshName(),
    kind: "non-human",
    owner: "mira@example.com",
    purpose: "test",
    groups: [],
    hold: "wait",
    chat: [],
    file: "identities/test.yaml",
    ...declared,
    match: [{ issuer, claims, allow_weak_match: false }],
  };
}

export function bundle(issuers: readonly IssuerConfig[], identities: readonly IdentityDeclaration[]): ActiveBundle {
  return {
    version: 1,
    policy: {
      gateway: {
        audience: ORIGIN,
        issuers,
        session_max_s: 3600,
        sessions_per_identity: 4,
        policy_max_stale_s: 600,
        retention_days: 30,
        channels: [],
        approval_ttl_max_s: 3600,
      },
      identities: new Map(identities.map((each) => [each.name, each])),
    },
  };
}

export const bearer = (token: string, url = `${ORIGIN}/v1/whoami`): Request =>
  new Request(url, { headers: { authorization: `Bearer ${token}` } });

export interface ClientKey {
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
  readonly jkt: string;
  readonly alg: string;
}

export async function clientKey(alg = "ES256"): Promise<ClientKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  return { privateKey, jwk, jkt: await calculateJwkThumbprint(jwk), alg };
}

export interface ProofOptions {
  readonly now: number;
  readonly method?: string;
  readonly url?: string;
  readonly credential?: string;
  /** Replaces; `undefined` leaves the claim out. */
  readonly claims?: Record<string, unknown>;
  readonly header?: Record<string, unknown>;
}

export async function proof(key: ClientKey, options: ProofOptions): Promise<string> {
  const { now, method = "GET", url = `${ORIGIN}/v1/whoami`, credential, claims = {}, header = {} } = options;
  const ath = credential === undefined ? undefined : await sha256(credential);
  const payload = { jti: crypto.randomUUID(), htm: method, htu: url, iat: Math.floor(now / 1000), ath, ...claims };
  return new SignJWT(Object.fromEntries(Object.entries(payload).filter(([, value]) => value !== undefined)))
    .setProtectedHeader({ typ: "dpop+jwt", alg: key.alg, jwk: key.jwk, ...header })
    .sign(key.privateKey);
}

export const withCredential = (credential: string, dpop: string, url = `${ORIGIN}/v1/whoami`, method = "GET"): Request =>
  new Request(url, { method, headers: { authorization: `DPoP ${credential}`, dpop } });

async function sha256(text: string): Promise<string> {
  return base64url.encode(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
}
