/**
 * The documents an issuer serves, judged: OpenID Connect Discovery 1.0 section 3 and JWK Set (RFC 7517 section 5). Pure.
 * Of a key set only public signature keys with a `kid` are kept, so that nothing else can ever verify a token:
 * symmetric keys, encryption keys, private members and unnamed keys do not survive.
 */
import type { JWK } from "jose";
import * as z from "zod";
import { err, ok, type Result } from "../../protocol/result.ts";

/** JWS algorithms that an issuer may be configured with, and a DPoP proof may use. Never `none`, never HMAC (GW-03). */
export const ASYMMETRIC_ALGORITHMS: readonly string[] = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
];

const ASYMMETRIC_TYPES: readonly string[] = ["RSA", "EC", "OKP"];
const MAX_KEYS = 100;

/** Public members of RSA, EC and OKP keys (RFC 7518 section 6, RFC 8037 section 2), and what selects a key. */
const PublicKey = z.object({
  kty: z.string(),
  kid: z.string().min(1).max(512),
  alg: z.string().max(32).optional(),
  use: z.string().max(32).optional(),
  key_ops: z.array(z.string().max(32)).max(16).optional(),
  crv: z.string().max(32).optional(),
  x: z.string().max(256).optional(),
  y: z.string().max(256).optional(),
  n: z.string().max(4096).optional(),
  e: z.string().max(64).optional(),
});

export interface PublicKeySet {
  readonly keys: readonly (JWK & { readonly kid: string })[];
}

export const isAsymmetric = (key: JWK): boolean => ASYMMETRIC_TYPES.includes(key.kty ?? "");

/** Accepts any document with a `keys` array; keys that are not ours to use are dropped, none left is an error. */
export function parseKeySet(document: unknown): Result<PublicKeySet, string> {
  const set = z.object({ keys: z.array(z.unknown()).max(MAX_KEYS) }).safeParse(document);
  if (!set.success) return err(`not a JWK Set of at most ${MAX_KEYS} keys`);
  const keys: (JWK & { kid: string })[] = [];
  for (const candidate of set.data.keys) {
    const key = PublicKey.safeParse(candidate);
    if (!key.success || !ASYMMETRIC_TYPES.includes(key.data.kty)) continue;
    if (key.data.use !== undefined && key.data.use !== "sig") continue;
    keys.push(withoutAbsent(key.data));
  }
  return keys.length === 0 ? err("the JWK Set has no public signature key with a kid") : ok({ keys });
}

function withoutAbsent(key: z.infer<typeof PublicKey>): JWK & { kid: string } {
  return Object.fromEntries(Object.entries(key).filter(([, value]) => value !== undefined)) as unknown as JWK & { kid: string };
}

/** The document's `issuer` must be the one asked for (section 4.3), else another tenant's keys could be served. */
export function parseDiscovery(document: unknown, issuer: string): Result<string, string> {
  const parsed = z.object({ issuer: z.string(), jwks_uri: z.string().max(2048) }).safeParse(document);
  if (!parsed.success) return err("the discovery document has no issuer or no jwks_uri");
  if (parsed.data.issuer !== issuer) return err("the discovery document is of another issuer");
  return ok(parsed.data.jwks_uri);
}

/** Section 4.1: a trailing slash is removed first. */
export const discoveryUrl = (issuer: string): string => `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
