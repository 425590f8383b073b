/**
 * The connector's own key and its DPoP proofs (RFC 9449). The key is made here and bound to the session credential, so a
 * credential that leaks is of no use without it.
 */
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, SignJWT, type CryptoKey, type JWK } from "jose";
import { createHash, randomUUID } from "node:crypto";

const ALGORITHM = "ES256";

export interface ProofKey {
  readonly publicJwk: JWK;
  /** Only for the credential store, which keeps it 0600. */
  readonly privateJwk: JWK;
  /** RFC 7638 thumbprint. */
  readonly thumbprint: string;
  readonly sign: CryptoKey;
}

export async function makeProofKey(): Promise<ProofKey> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true });
  return restoreProofKey(await exportJWK(privateKey));
}

export async function restoreProofKey(privateJwk: JWK): Promise<ProofKey> {
  const { kty, crv, x, y } = privateJwk;
  const publicJwk = { kty, crv, x, y } as JWK;
  return {
    publicJwk,
    privateJwk,
    thumbprint: await calculateJwkThumbprint(publicJwk),
    sign: (await importJWK(privateJwk, ALGORITHM)) as CryptoKey,
  };
}

/** One proof for one request. `url` without query or fragment (section 4.2); `credential` adds `ath`. `now` in ms. */
export function prove(
  key: ProofKey,
  request: { readonly method: string; readonly url: URL; readonly credential?: string | undefined; readonly now: number },
): Promise<string> {
  const { method, url, credential, now } = request;
  const claims = {
    jti: randomUUID(),
    htm: method,
    htu: url.origin + url.pathname,
    ...(credential === undefined ? {} : { ath: createHash("sha256").update(credential).digest("base64url") }),
  };
  return new SignJWT(claims)
    .setProtectedHeader({ alg: ALGORITHM, typ: "dpop+jwt", jwk: key.publicJwk })
    .setIssuedAt(Math.floor(now / 1000))
    .sign(key.sign);
}
